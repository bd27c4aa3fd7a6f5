"""Simulated persons for `tools.evaluate_taste`."""
