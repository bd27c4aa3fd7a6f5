"""Files through an executor without a queue, for commands that answer at once."""
