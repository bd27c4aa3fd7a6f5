"""What daemon and worker say to each other, beside the records of hotfolder.types."""

from __future__ import annotations

import contextlib
import zlib
from pathlib import Path

from hotfolder import __version__, types


def _version() -> str:
    """Of this program, and of the records that are sent: a checkout changes without a new number."""
    with contextlib.suppress(OSError):
        return f"{__version__}+{zlib.crc32(Path(types.__file__).read_bytes()):08x}"
    return __version__


#: As it was when this process began.
VERSION = _version()

#: To the worker: end after the image in work.
STOP = "stop"
#: To the worker: ("cancel", job ids), which are left.
CANCEL = "cancel"
#: From the worker: its libraries are there, it works.
READY = "ready"
#: From the worker, instead: (that it is of another version than who started it, which one). It ends then.
OTHER_VERSION = "other version"
#: From the worker: ("finished", batch id).
FINISHED = "finished"
#: To the worker, as an argument: it sees one card alone, which has another name for everybody else.
PINNED = "pinned"
