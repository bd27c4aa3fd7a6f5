"""Pure decisions: no I/O, and the clock is an argument."""
