"""`hotfolder service install|uninstall|status|logs`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.acting import acting_on, name_root
from hotfolder.config import loading
from hotfolder.config.root import FILE_NAME
from hotfolder.errors import ExitCode, HotfolderError, UsageError
from hotfolder.system.accounts import Account, account
from hotfolder.system.units import (
    drop_in,
    drop_in_path,
    is_ours,
    is_same,
    other_instances,
    root_in,
    system_unit,
    unit_path,
    user_unit,
)

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


class Manager:
    """systemctl, of the user or of the machine."""

    def __init__(self, *, system: bool, user: str | None, name: str) -> None:
        self.system = system
        self._name = name
        self._user = (user or account(None).name) if system else None
        self._scope = [] if system else ["--user"]
        self.unit = f"{name}@{self._user}.service" if system else f"{name}.service"

    def typed(self, command: str) -> str:
        """`hotfolder service COMMAND`, as a person has to type it for this service and no other."""
        scope = f" --system --user {self._user}" if self.system else ""
        name = "" if self._name == "hotfolder" else f" --name {self._name}"
        return f"hotfolder service {command}{scope}{name}"

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
    given: Path | None,
    *,
    system: bool,
    user: str | None,
    name: str,
    start: bool,
    as_json: bool,
    gallery: bool = False,
) -> ExitCode:
    """Writes the unit, has systemd check it, and starts it unless told not to. `gallery`: not the daemon's, but its.

    Raises UsageError for a root that is none, whose configuration is wrong, or that its user may not work on, and
    where the unit is another root's; HotfolderError where it cannot be written.
    """
    name = f"{name}-gallery" if gallery else name
    whose = account(user) if system else None
    root = acting_on(given, trusted=not system, default=whose.home / "hotfolder" if whose else None).root
    loading.load(root)  # what would not start is not installed
    manager = Manager(system=system, user=whose.name if whose else None, name=name)
    path, command = unit_path(name, system=system), _command()
    if whose is not None:
        _check_account(whose, root, command)
        texts = {
            path: system_unit(command, gallery=gallery, name=name),
            drop_in_path(manager.unit): drop_in(manager.unit, str(root)),
        }
    else:
        if not os.access(root, os.W_OK | os.X_OK):
            raise UsageError(
                f"this user may not write to {root}", "as the one who may, or with --system --user NAME"
            )
        texts = {path: user_unit(command, str(root), gallery=gallery, name=name)}
    for each in texts:
        _check_free(each, root)
    for each, text in texts.items():
        _write(each, text, system=system)
    problems = verify(path, system=system)
    trouble = _start(manager, start=start)
    if as_json:
        table.write_json(
            {"root": str(root), "unit": manager.unit, "path": str(path), "problems": problems,
             "started": start and not trouble, "trouble": trouble or None}
        )  # fmt: skip
    else:
        sys.stdout.writelines(f"written: {each}\n" for each in texts)
        says = ["there is no such tool here"] if problems is None else problems or ["nothing to object"]
        sys.stdout.writelines(f"systemd-analyze verify: {line}\n" for line in says)
        if trouble:
            sys.stderr.write(f"error: {trouble}\n  fix: log in to a session with systemd, then: systemctl ")
            sys.stderr.write(f"{'' if system else '--user '}enable --now {manager.unit}\n")
        else:
            sys.stdout.write(
                f"{manager.unit} is {'running' if start else 'enabled'}; see: {manager.typed('status')}\n"
            )
    return ExitCode.FAILURE if trouble or problems else ExitCode.DONE


def _check_account(whose: Account, root: Path, command: str) -> None:
    """Whether the service could run as this user. Raises UsageError, naming what it may not."""
    needed = [(root, "x", "enter"), (root, "w", "write to"), (root / FILE_NAME, "r", "read")]
    needed += [(Path(command), "x", "run"), (Path(os.path.realpath(sys.executable)), "x", "run")]
    for path, need, words in needed:
        if not whose.may(path, need):
            fix = (
                "chown or chmod it"
                if path.is_relative_to(root)
                else "install hotfolder where everybody may run it"
            )
            raise UsageError(f"user '{whose.name}' may not {words} {path}", fix)


def _check_free(path: Path, root: Path) -> None:
    """Raises UsageError where another root's unit lies there, or one that somebody else wrote."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise HotfolderError(f"{path} cannot be read: {error.strerror}", "may you read it?") from None
    named = root_in(text)
    if named is not None and not is_same(named, root):
        raise UsageError(
            f"{path} is there already, for the root {named}",
            "give this one another name: --name NAME; or first: hotfolder service uninstall",
        )
    if not is_ours(text):
        raise UsageError(
            f"{path} is there already, and not by hotfolder",
            "move it away, or give this one another name: --name NAME",
        )


def _write(path: Path, text: str, *, system: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.{os.getpid()}")
        staged.write_text(text, encoding="utf-8")
        staged.rename(path)
    except OSError as error:
        hint = "run it as root: sudo hotfolder service install --system" if system else "may you write there?"
        raise HotfolderError(f"{path} cannot be written: {error.strerror}", hint) from None


def _start(manager: Manager, *, start: bool) -> str:
    """Makes systemd read the unit, and enables it; what went wrong."""
    steps = [
        ("daemon-reload",),
        ("enable", manager.unit),
        *([("restart", "--no-block", manager.unit)] if start else []),
    ]
    for words in steps:
        try:
            told = manager.call(*words)
        except HotfolderError as error:
            return f"{error.message} ({error.fix})"
        if told.returncode:
            return f"systemctl {' '.join(words)}: {told.stderr.strip()}"
    return _comes_up(manager) if start else ""


def _comes_up(manager: Manager) -> str:
    """What goes wrong within the first seconds of a start; a start that takes longer is no trouble."""
    for _ in range(_TRIES):
        state = manager.properties().get("ActiveState", "")
        if state == "active":
            return ""
        if state == "failed":
            return f"{manager.unit} does not start; see: {manager.typed('logs')}"
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
    """Stops the service and takes its unit away; the machine's template stays while others use it.

    Raises UsageError where there is none.
    """
    manager = Manager(system=system, user=account(user if system else None).name if system else None, name=name)
    path = unit_path(name, system=system)
    if not path.exists():
        raise UsageError(f"{path} is not there", "hotfolder service install writes it")
    own = [path]
    others = other_instances(name, manager.unit) if system else []
    if system:
        own = [drop_in_path(manager.unit), *([] if others else [path])]
    roots = (root_in(each.read_text(encoding="utf-8", errors="replace")) for each in own if each.exists())
    root = next((found for found in roots if found), None)
    trouble = ""
    try:
        told = manager.call("disable", "--now", manager.unit)
        trouble = told.stderr.strip() if told.returncode else ""
        runs = bool(trouble) and manager.properties().get("ActiveState") == "active"
    except HotfolderError as error:
        trouble, runs = error.message, False
    if runs:
        raise HotfolderError(f"{manager.unit} still runs, so its unit stays: {trouble}", "may you stop it?")
    for each in own:
        each.unlink(missing_ok=True)
    if system:
        with contextlib.suppress(OSError):  # there may be more in it
            own[0].parent.rmdir()
    if not trouble:
        manager.call("daemon-reload")
    if root is not None:
        name_root(Path(root))
    if as_json:
        table.write_json(
            {"root": root, "unit": manager.unit, "path": str(path), "still_used_by": others,
             "trouble": trouble or None}
        )  # fmt: skip
        return
    removed = " and ".join(str(each) for each in own)
    if trouble:
        sys.stdout.write(f"{removed} is removed; systemd did not hear of it: {trouble}\n")
    else:
        sys.stdout.write(f"{manager.unit} is stopped, {removed} removed; your root and its files are untouched\n")
    if others:
        sys.stdout.write(f"{path} stays: it is also that of {', '.join(others)}\n")


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
