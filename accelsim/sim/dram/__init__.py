"""Off-chip memory: a simple bandwidth model and a command-level timing model behind one interface."""
