"""Folders: layout, what lies in them, and moving files without losing any."""
