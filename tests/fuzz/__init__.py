"""Mutated Identity headers through the whole verification: only our verdicts, and none that says more than was signed."""
