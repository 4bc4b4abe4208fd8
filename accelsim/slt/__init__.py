"""Package slt."""
