"""Settings: every section, all of them together, reading them, the presets, and what holds in a sub-folder."""
