"""Error reports beside the files that they are about: written when those fail, removed when they are tried again."""

from __future__ import annotations

import errno
import itertools
import json
import logging

from hotfolder.core import naming
from hotfolder.files.beneath import Beneath
from hotfolder.printable import json_text
from hotfolder.transitions import Change, StaleReport

log = logging.getLogger(__name__)
#: Error reports are a few hundred bytes.
_MOST_REPORT = 4 * 2**20


def write_report(beneath: Beneath, transition: Change) -> None:
    """Beside the file; where its path would be too long, only the log says it. Raises OSError."""
    report = transition.error_report
    if report is not None:
        told = json_text({**report.content, "file": report.beside}) + "\n"
        path = naming.sidecar(report.beside)
        try:
            beneath.write(path, told)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            log.warning("%s is left out, its path would be too long: %s", path, report.content.get("message"))


def remove_report(beneath: Beneath, transition: Change) -> None:
    """Of the file that is named, or of a numbered one: but only one that speaks of these very jobs."""
    stale: StaleReport | None = getattr(transition, "stale_report", None)
    if stale is None:
        return
    for number in itertools.count():
        path = naming.sidecar(naming.numbered(stale.beside, number))
        try:
            with beneath.open(path) as file:
                told = json.loads(file.read(_MOST_REPORT))
        except FileNotFoundError:
            return
        except (ValueError, RecursionError):
            continue  # a person's
        except OSError as error:
            if error.errno == errno.ENOTSUP:  # no regular file
                continue
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                return  # what was a folder is none any more
            raise
        listed = told.get("jobs", ()) if isinstance(told, dict) else ()
        if any(isinstance(job, dict) and job.get("job_id") in stale.job_ids for job in listed):
            beneath.unlink(path)
            return
