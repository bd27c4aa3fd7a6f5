"""What daemon and worker say to each other, beside the records of hotfolder.types."""

#: To the worker: end after the image in work.
STOP = "stop"
#: To the worker: ("cancel", job ids), which are left.
CANCEL = "cancel"
#: From the worker: its libraries are there, it works.
READY = "ready"
#: From the worker: ("finished", batch id).
FINISHED = "finished"
