"""The demonstration: it draws its own pictures, so it needs no data and no network."""
