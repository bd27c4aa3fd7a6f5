"""The command line: parse, call, map errors to exit codes."""

from __future__ import annotations

import json
import logging
import sys
from typing import NoReturn

from hotfolder.errors import ExitCode, HotfolderError
from hotfolder.printable import SafeFormatter


def main() -> NoReturn:
    """The `hotfolder` command. A command line that is not understood ends with 2, after a word on its usage."""
    from hotfolder.cli.app import app

    if logging.lastResort is not None:  # of commands that keep no log
        logging.lastResort.setFormatter(SafeFormatter("%(message)s"))
    try:
        app(prog_name="hotfolder")  # also for python -m hotfolder
    except HotfolderError as error:
        sys.exit(_tell(error.kind, error.message, error.fix, error.exit_code))
    sys.exit(ExitCode.DONE)


def _tell(kind: str, message: str, fix: str, code: ExitCode) -> ExitCode:
    """An error for a person on stderr, and for a script on stdout."""
    if "--json" in sys.argv:
        error = {"kind": kind, "message": message, "fix": fix}
        sys.stdout.write(json.dumps({"schema_version": 1, "error": error}) + "\n")
    sys.stderr.write(f"error: {message}\n" + (f"  fix: {fix}\n" if fix else ""))
    return code
