"""systemd, its units and the journal."""
