"""How far the model is from published silicon, RTL and other simulators: figures with sources, and the comparison."""
