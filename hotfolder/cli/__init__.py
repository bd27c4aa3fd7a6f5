"""The command line: parse, call, map errors to exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from hotfolder.errors import EnvironmentTrouble, ExitCode, HotfolderError, UsageError
from hotfolder.files.trouble import explain, is_full
from hotfolder.printable import SafeFormatter


def main() -> NoReturn:
    """The `hotfolder` command. A command line that is not understood ends with 2, after a word on its usage."""
    _have_streams()
    _speak_utf8()
    if logging.lastResort is not None:  # of commands that keep no log
        logging.lastResort.setFormatter(SafeFormatter("%(message)s"))
    try:
        from typer.exceptions import TyperException

        from hotfolder.cli.app import app
    except KeyboardInterrupt:  # nothing was begun; later a command says itself what becomes of what it has begun
        sys.exit(ExitCode.INTERRUPTED)
    code: int | None = None
    try:  # by its name also for python -m hotfolder; what is not understood it tells itself, unless that is to be JSON
        code = app(prog_name="hotfolder", standalone_mode=not _wants_json())
    except TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "hotfolder")
        sys.exit(_tell(UsageError(error.format_message(), f"see: {command} --help")))
    except HotfolderError as error:
        sys.exit(_tell(error))
    except OSError as error:
        sys.exit(_tell(_explain(error)))
    sys.exit(code or ExitCode.DONE)


def _wants_json() -> bool:
    return "--json" in sys.argv


def _have_streams() -> None:
    """A caller may have closed some: what is opened first would take their numbers, and be written to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _speak_utf8() -> None:
    """Names of files are bytes, in UTF-8 wherever they are text: whatever the locale is, they are read and shown so.

    Else a name would be another one for each locale, and no command would know what the daemon has recorded.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # $PYTHONIOENCODING may still have its way
            stream.reconfigure(errors="backslashreplace")


def _explain(error: OSError) -> HotfolderError:
    """What the disk, or its permissions, did not allow."""
    if error.filename is None and isinstance(error, FileNotFoundError) and _is_nowhere():
        return EnvironmentTrouble("the folder that you are in is not there any more", "cd to another one")
    if is_full(error):
        return explain(error)
    where = error.filename2 or error.filename or "the disk"
    fix = "is it the right one, and may this user do that? See: hotfolder doctor"
    return EnvironmentTrouble(f"{where}: {error.strerror or error}", fix)


def _is_nowhere() -> bool:
    try:
        Path.cwd()
    except OSError:
        return True
    return False


def _tell(error: HotfolderError) -> ExitCode:
    """An error for a person on stderr, and for a script on stdout."""
    if _wants_json():
        told = error.told()
        if error.others:
            told["mistakes"] = [each.told() for each in error.each]
        with contextlib.suppress(OSError):  # it may be the very stream that is full, or closed
            sys.stdout.write(json.dumps({"schema_version": 1, "error": told}) + "\n")
    with contextlib.suppress(OSError):
        for each in error.each:
            sys.stderr.write(f"error: {each.message}\n" + (f"  fix: {each.fix}\n" if each.fix else ""))
    return error.exit_code
