"""Unit tests of tests.bench."""
