"""Who runs batches: in this process, or in a child."""
