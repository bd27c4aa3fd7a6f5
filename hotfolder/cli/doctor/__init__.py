"""`hotfolder doctor`: looks at everything the line stands on, and says how to mend what is wrong."""
