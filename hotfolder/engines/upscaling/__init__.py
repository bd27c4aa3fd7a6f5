"""Enlarging with super-resolution networks, tile by tile."""
