"""What a daemon is doing, and what people ask of it: files in the private folder."""
