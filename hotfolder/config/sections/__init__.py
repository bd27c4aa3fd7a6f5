"""The sections of hotfolder.toml: what each key is, what it may be, what it is without being set."""
