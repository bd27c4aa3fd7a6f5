"""Decoding and encoding: colour, depth, alpha, orientation, metadata."""
