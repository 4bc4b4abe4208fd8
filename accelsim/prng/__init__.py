"""Bit-exact random sources shared by search, packing and simulation."""
