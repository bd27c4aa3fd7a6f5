"""`python -m hotfolder`."""

from hotfolder.cli import main

main()
