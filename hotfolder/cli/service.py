"""`hotfolder service install|uninstall|status|logs`."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.acting import acting_on
from hotfolder.config import loading
from hotfolder.errors import ExitCode, HotfolderError, UsageError
from hotfolder.system.units import system_unit, unit_path, user_unit

#: Properties of a unit that `status` shows.
_SHOWN = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "MainPID", "NRestarts", "StatusText",
    "ActiveEnterTimestamp", "MemoryCurrent", "FragmentPath",
)  # fmt: skip

#: Looks at a unit that was just started, half a second apart.
_TRIES = 20


def _command() -> str:
    """This very program, by its absolute path."""
    beside = Path(sys.executable).with_name("hotfolder")
    found = str(beside) if beside.is_file() else shutil.which("hotfolder")
    if found is None:
        raise UsageError("the command 'hotfolder' is not installed", "install it: uv tool install .")
    return str(Path(found).absolute())


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise UsageError(f"user {os.getuid()} has no name on this machine", "say --user NAME") from None


class Manager:
    """systemctl, of the user or of the machine."""

    def __init__(self, *, system: bool, user: str | None, name: str) -> None:
        self.system = system
        self._scope = [] if system else ["--user"]
        self.unit = f"{name}@{user or _user()}.service" if system else f"{name}.service"

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Raises HotfolderError where there is no systemd."""
        tool = shutil.which("systemctl")
        if tool is None:
            raise HotfolderError("there is no systemctl on this machine", "start 'hotfolder run' by other means")
        try:
            return subprocess.run([tool, *self._scope, *words], capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            raise HotfolderError(f"systemctl {words[0]} does not come to an end", "try again later") from None

    def properties(self) -> dict[str, str]:
        told = self.call("show", self.unit, f"--property={','.join(_SHOWN)}")
        if told.returncode:
            raise HotfolderError(f"systemd does not answer: {told.stderr.strip()}", "is it running for this user?")
        return dict(line.split("=", 1) for line in told.stdout.splitlines() if "=" in line)


def run_install(
    given: Path | None, *, system: bool, user: str | None, name: str, start: bool, as_json: bool
) -> ExitCode:
    """Writes the unit, has systemd check it, and starts it unless told not to.

    Raises UsageError for a root that is none or whose configuration is wrong, HotfolderError where it cannot be
    written.
    """
    root = acting_on(given, trusted=True).root
    loading.load(root)  # what would not start is not installed
    manager = Manager(system=system, user=user, name=name)
    text = (system_unit if system else user_unit)(_command(), str(root))
    path = unit_path(name, system=system)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.{os.getpid()}")
        staged.write_text(text, encoding="utf-8")
        staged.rename(path)
    except OSError as error:
        hint = "run it as root: sudo hotfolder service install --system" if system else "may you write there?"
        raise HotfolderError(f"{path} cannot be written: {error.strerror}", hint) from None
    problems = verify(path, system=system)
    steps = [
        ("daemon-reload",),
        ("enable", manager.unit),
        *([("restart", "--no-block", manager.unit)] if start else []),
    ]
    trouble = ""
    for words in steps:
        try:
            told = manager.call(*words)
        except HotfolderError as error:
            trouble = f"{error.message} ({error.fix})"
            break
        if told.returncode:
            trouble = f"systemctl {' '.join(words)}: {told.stderr.strip()}"
            break
    if start and not trouble:
        trouble = _comes_up(manager)
    if as_json:
        table.write_json(
            {"unit": manager.unit, "path": str(path), "problems": problems, "started": start and not trouble,
             "trouble": trouble or None}
        )  # fmt: skip
    else:
        sys.stdout.write(f"written: {path}\n")
        says = ["there is no such tool here"] if problems is None else problems or ["nothing to object"]
        sys.stdout.writelines(f"systemd-analyze verify: {line}\n" for line in says)
        if trouble:
            sys.stderr.write(f"error: {trouble}\n  fix: log in to a session with systemd, then: systemctl ")
            sys.stderr.write(f"{'' if system else '--user '}enable --now {manager.unit}\n")
        else:
            sys.stdout.write(
                f"{manager.unit} is {'running' if start else 'enabled'}; see: hotfolder service status\n"
            )
    return ExitCode.FAILURE if trouble or problems else ExitCode.DONE


def _comes_up(manager: Manager) -> str:
    """What goes wrong within the first seconds of a start; a start that takes longer is no trouble."""
    for _ in range(_TRIES):
        state = manager.properties().get("ActiveState", "")
        if state == "active":
            return ""
        if state == "failed":
            return f"{manager.unit} does not start; see: hotfolder service logs"
        time.sleep(0.5)
    return ""


def verify(path: Path, *, system: bool) -> list[str] | None:
    """What `systemd-analyze verify` has against a unit; None where there is no such tool."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        return None
    scope = [] if system else ["--user"]
    # It wants a place for sockets that it does not use.
    environ = {"XDG_RUNTIME_DIR": tempfile.gettempdir(), **os.environ}
    words = [tool, *scope, "--man=no", "verify", str(path)]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environ)
    lines = told.stderr.strip().splitlines()
    # Not of other units that this one leads to.
    ours = [line for line in lines if path.name.split("@")[0].removesuffix(".service") in line]
    return ours or (lines if told.returncode else [])


def run_uninstall(*, system: bool, user: str | None, name: str, as_json: bool) -> None:
    """Stops the service and takes its unit away. Raises UsageError where there is none."""
    manager = Manager(system=system, user=user, name=name)
    path = unit_path(name, system=system)
    if not path.exists():
        raise UsageError(f"{path} is not there", "hotfolder service install writes it")
    trouble = ""
    try:
        told = manager.call("disable", "--now", manager.unit)
        trouble = told.stderr.strip() if told.returncode else ""
        runs = bool(trouble) and manager.properties().get("ActiveState") == "active"
    except HotfolderError as error:
        trouble, runs = error.message, False
    if runs:
        raise HotfolderError(f"{manager.unit} still runs, so its unit stays: {trouble}", "may you stop it?")
    path.unlink()
    if not trouble:
        manager.call("daemon-reload")
    if as_json:
        table.write_json({"unit": manager.unit, "path": str(path), "trouble": trouble or None})
    elif trouble:
        sys.stdout.write(f"{path} is removed; systemd did not hear of it: {trouble}\n")
    else:
        sys.stdout.write(f"{manager.unit} is stopped, {path} removed; your root and its files are untouched\n")


def run_status(*, system: bool, user: str | None, name: str, as_json: bool) -> ExitCode:
    """Exit 0 when it is active, 3 (as systemctl) becomes 1 when not."""
    found = Manager(system=system, user=user, name=name).properties()
    if as_json:
        table.write_json({"unit": name, **found})
    else:
        sys.stdout.writelines(f"{key:<22}{value}\n" for key, value in found.items() if value)
    return ExitCode.DONE if found.get("ActiveState") == "active" else ExitCode.FAILURE


def run_logs(*, system: bool, user: str | None, name: str, follow: bool, lines: int) -> ExitCode:
    """journalctl for the unit; its exit code."""
    tool = shutil.which("journalctl")
    if tool is None:
        raise HotfolderError("there is no journalctl on this machine", "the log goes to stderr of 'hotfolder run'")
    manager = Manager(system=system, user=user, name=name)
    scope: Sequence[Any] = ["--unit", manager.unit] if system else ["--user", "--unit", manager.unit]
    words = [tool, *scope, "--lines", str(lines), *(["--follow"] if follow else ["--no-pager"])]
    try:
        return ExitCode.DONE if subprocess.call(words) == 0 else ExitCode.FAILURE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
