"""Files that ask for images: reading them, their lists of words, and whether what they name is there."""
