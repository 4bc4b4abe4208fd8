"""Package mapping."""
