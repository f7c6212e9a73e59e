"""Unit tests: the layout mirrors the package."""
