"""Opening, moving and writing files so that nothing is followed, overwritten or lost."""
