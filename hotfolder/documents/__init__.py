"""What is told of a root as data: printed by commands with `--json`, and shown by the gallery."""
