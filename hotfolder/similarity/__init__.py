"""Which pictures are alike, by numbers that are stored of each: NumPy alone, no model and no file."""
