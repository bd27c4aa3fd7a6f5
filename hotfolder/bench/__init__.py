"""Benchmarks: our way against the plain way, in one run on one machine."""
