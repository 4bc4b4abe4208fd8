"""Package trace."""
