"""accelsim: cycle-approximate simulation of accelerators that regenerate random weights on chip."""

__version__ = "0.1.0"
