"""Package ticket."""
