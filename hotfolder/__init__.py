"""hotfolder: a hot folder for a GPU. Drop prompts and pictures; get the good ones, scored and enlarged."""

__version__ = "0.1.0"
