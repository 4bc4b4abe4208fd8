"""Several cores: a network or a batch divided among them, fused layers, pipelines, and what bounds them."""
