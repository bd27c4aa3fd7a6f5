"""What is still made for claims that do not count any more: a node that was cut off goes on with what it had."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable

from hotfolder.folders.layout import Layout
from hotfolder.types import Job, State

#: Nobody makes anything for them any more, unless for an older claim.
_ENDED = (State.DONE, State.FAILED, State.CANCELLED)


def clear_old_claims(layout: Layout, find: Callable[[int], tuple[Job, State] | None]) -> None:
    """Removes from staging what belongs to older claims of a job; what the last one made may wait for its place.

    `find` gives a job and its state by its id.
    """
    with contextlib.suppress(OSError):  # of the disk: the next look, or the next start
        for folder in list(layout.staging.iterdir()):
            found = find(int(folder.name)) if folder.name.isdigit() else None
            if found is None:
                continue
            job, state = found
            for claim in list(folder.iterdir()):
                if claim.name.isdigit() and int(claim.name) < job.claim:
                    shutil.rmtree(claim, ignore_errors=True)
            if state in _ENDED:  # else somebody may just be making a folder in it
                with contextlib.suppress(OSError):
                    folder.rmdir()
