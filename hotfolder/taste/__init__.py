"""What a person keeps and rejects, learnt from verdicts: one linear head for each inbox and encoder. NumPy alone."""
