"""What follows from the outcome of a job. No I/O."""
