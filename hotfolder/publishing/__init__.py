"""Carrying out what was decided: journal, moves, one transaction."""
