"""Tickets: what is stored of a strong lottery ticket, how it is packed, written, read and inspected."""
