"""The result of a run: its schema, how it is built, stored, checked and costed again."""
