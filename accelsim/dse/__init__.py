"""Package dse."""
