"""When everything on the chip happens: the chip as one table of stations, its solver, and what became of each cycle."""
