"""Benchmarks. Figures come from runs on the machine at hand; nothing here asserts an absolute time."""
