"""Benchmarks of kache, and the demonstration behind `make try`."""
