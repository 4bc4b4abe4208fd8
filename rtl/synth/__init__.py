"""Synthesis of the units in `rtl/` to open cell libraries, and the rows of the cost tables that come from it."""
