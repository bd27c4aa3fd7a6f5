"""`hotfolder models list|pull|verify|rm|link`."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from hotfolder.cli import table
from hotfolder.cli.card import card
from hotfolder.config import loading
from hotfolder.config.root import find_root_if_any
from hotfolder.config.settings import Settings
from hotfolder.errors import ExitCode, HotfolderError, ModelMissing, UsageError
from hotfolder.executors.limits import machine_memory
from hotfolder.models import records
from hotfolder.models.entry import FIRST, ModelEntry
from hotfolder.models.link import link
from hotfolder.models.pull import Puller, remove
from hotfolder.models.registry import ENCODER, Catalogue, ModelFile, usual_folder
from hotfolder.printable import printable

#: How much of a device's memory a model's weights may take.
_SHARE = 0.9


def run_list(given: Path | None, *, as_json: bool) -> None:
    settings = loading.load(find_root_if_any(given))
    catalogue, device = settings.catalogue(), device_memory()
    wanted = {name for _, name in settings.models_needed()}
    rows = [_row(entry, catalogue, device, wanted) for entry in catalogue.entries()]
    if as_json:
        table.write_json({"folder": str(usual_folder()), "device_memory_mb": device, "models": rows})
        return
    cells = [
        (
            ("* " if row["in_use"] else "  ") + row["name"], row["kind"], row["installed"],
            _size(row["bytes"]), {True: "yes", False: "no", None: "?"}[row["fits"]],
            row["licence"] + (" (gated)" if row["gated"] else ""),
        )
        for row in rows
    ]  # fmt: skip
    table.show(("  name", "kind", "here", "size", "fits", "licence"), cells)
    sys.stdout.write(f"\n* named in the configuration. Models lie in {usual_folder()} and in the hub's cache.\n")


def _row(entry: ModelEntry, catalogue: Catalogue, device: int | None, wanted: set[str]) -> dict[str, Any]:
    record = records.read(usual_folder(), entry.name)
    size: int | None
    try:
        files = catalogue.find(entry)
        if not entry.files and entry.encoder:  # it is nothing but another way to read that
            catalogue.resolve(entry.encoder, ENCODER)
        state = "built in" if entry.builtin else record.origin if record else "yes"
        size = sum(file.size for file in record.files) if record else _bytes_of(files)
    except ModelMissing:
        state, size = "no", entry.size
    return {
        "name": entry.name, "kind": entry.kind, "family": entry.family, "installed": state, "bytes": size or None,
        "licence": entry.licence, "gated": entry.gated, "fits": _fits(entry, device), "in_use": entry.name in wanted,
        "pullable": entry.is_pullable, "about": entry.about, "source": entry.source,
    }  # fmt: skip


def _fits(entry: ModelEntry, device: int | None) -> bool | None:
    """Whether the weights fit the device at the smallest precision that is known; None where that is not."""
    if entry.builtin or entry.read_by == "clip_prompt":
        return True
    if device is None or not entry.memory_mb:
        return None
    return min(entry.memory_mb.values()) <= _SHARE * device


def _bytes_of(files: Sequence[ModelFile]) -> int:
    return sum(file.path.stat().st_size for file in files)


def _size(size: int | None) -> str:
    if not size:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def device_memory() -> int:
    """MiB of the largest GPU, else of the machine."""
    found = card()
    return (machine_memory() if found is None else found.memory) >> 20


def run_pull(given: Path | None, names: Sequence[str], *, as_json: bool) -> ExitCode:
    """Fetches models, and those that they need; without names, those that the configuration names."""
    settings = loading.load(find_root_if_any(given))
    wanted = list(names) or [name for _, name in settings.models_needed() if not os.path.isabs(name)]  # noqa: PTH117
    done = _pull(settings, wanted, quiet=as_json)
    if as_json:
        table.write_json({"models": done})
    elif not any("error" in each for each in done):
        sys.stdout.write("everything is here\n")
    failed = [each for each in done if "error" in each]
    return (
        ExitCode.DONE if not failed else ExitCode.FAILURE if len(failed) == len(done) else ExitCode.PARTLY_FAILED
    )


def pull_missing(settings: Settings, alive: Callable[[], None]) -> None:
    """Fetches what the configuration names and is not here; `alive` hears of progress. Raises what fetching raises."""
    catalogue = settings.catalogue()
    for _, name in settings.models_needed():
        for entry in catalogue.needs(name) if catalogue.entry(name) else ():
            if not _is_here(catalogue, entry) and entry.is_pullable:
                with _Bars() as bars:

                    def report(name: str, done: int, total: int, bars: _Bars = bars) -> None:
                        alive()
                        bars.show(name, done, total)

                    Puller(settings.models.mirror, report).pull(entry)


def _pull(settings: Settings, names: Sequence[str], *, quiet: bool) -> list[dict[str, Any]]:
    catalogue = settings.catalogue()
    entries = {entry.name: entry for name in names for entry in catalogue.needs(name)}
    done: list[dict[str, Any]] = []
    with _Bars() as bars:
        puller = Puller(settings.models.mirror, bars.show)
        for entry in entries.values():
            if _is_here(catalogue, entry):
                done.append({"name": entry.name, "state": "here already"})
            else:
                try:
                    folder = puller.pull(entry)
                    done.append({"name": entry.name, "state": "fetched", "folder": str(folder), **_commit(entry)})
                except HotfolderError as error:
                    done.append({"name": entry.name, "error": error.info().told()})
            _say(done[-1], sys.stderr if quiet else sys.stdout)
    return done


def _commit(entry: ModelEntry) -> dict[str, str]:
    """Of a model that no commit was named of: the one that was fetched, and will be from now on."""
    record = records.read(usual_folder(), entry.name) if entry.revision == FIRST else None
    return {"revision": record.revision} if record is not None else {}


def _say(done: dict[str, Any], stream: Any) -> None:
    if "error" in done:
        sys.stderr.write(f"error: {done['error']['message']}\n")
        if done["error"]["fix"]:
            sys.stderr.write(f"  fix: {done['error']['fix']}\n")
    else:
        where = f": {done['folder']}" if "folder" in done else ""
        pinned = f" (commit {done['revision'][:12]}, which is pinned now)" if "revision" in done else ""
        stream.write(f"{done['name']}: {done['state']}{where}{pinned}\n")


def _is_here(catalogue: Catalogue, entry: ModelEntry) -> bool:
    try:
        catalogue.find(entry)
    except ModelMissing:
        return False
    return True


class _Bars:
    """A bar for the file that is being fetched; without a terminal, a line now and then."""

    _EVERY = 5.0

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            TimeRemainingColumn(), console=self._console, transient=True,
        )  # fmt: skip
        self._tasks: dict[str, Any] = {}
        self._said = time.monotonic()

    def __enter__(self) -> _Bars:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def show(self, name: str, done: int, total: int) -> None:
        if self._console.is_terminal:
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=total or None)
            self._progress.update(self._tasks[name], completed=done)
        elif time.monotonic() - self._said >= self._EVERY:
            self._said = time.monotonic()
            sys.stderr.write(f"{name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB\n")


def run_verify(given: Path | None, names: Sequence[str], *, as_json: bool) -> ExitCode:
    """Reads every file of the models that are here, and compares it with what is pinned or was noted."""
    catalogue = loading.load(find_root_if_any(given)).catalogue()
    entries = [entry for name in names for entry in catalogue.needs(name)] or catalogue.entries()
    found: list[dict[str, Any]] = []
    for entry in entries:
        try:
            files = catalogue.find(entry)
        except ModelMissing as error:
            if names:
                found.append({"name": entry.name, "state": "missing", "fix": error.fix})
            continue
        damaged = [str(file.path) for file in files if file.is_damaged()]
        unpinned = [file for file in files if file.sha256 is None]
        state = "damaged" if damaged else "no sha256 is known for it" if unpinned else "ok"
        fix = how_to_mend(entry) if damaged else ""
        found.append({"name": entry.name, "state": state, "files": damaged, "fix": fix})
    if as_json:
        table.write_json({"models": found})
    else:
        for each in found:
            sys.stdout.write(f"{each['name']}: {each['state']}{''.join(f' {f}' for f in each.get('files', ()))}\n")
            if each["fix"]:
                sys.stdout.write(f"  fix: {each['fix']}\n")
    bad = any(each["state"] in ("damaged", "missing") for each in found)
    return ExitCode.FAILURE if bad else ExitCode.DONE


def how_to_mend(entry: ModelEntry) -> str:
    """What to do about a model whose files are damaged."""
    record = records.read(usual_folder(), entry.name)
    if record is not None and record.origin == "linked":
        return f"mend it in {record.folder}, then: hotfolder models link {shlex.quote(str(record.folder))}"
    return f"hotfolder models rm {entry.name}, then hotfolder models pull {entry.name}"


def run_rm(given: Path | None, names: Sequence[str], *, as_json: bool) -> None:
    """Raises UsageError for what was not put here by hotfolder."""
    catalogue = loading.load(find_root_if_any(given)).catalogue()
    removed: list[dict[str, Any]] = []
    for name in names:
        entry = catalogue.entry(name)
        if entry is None or entry.builtin:
            raise UsageError(f"'{name}' is {'built in' if entry else 'no model'}", "see: hotfolder models list")
        removed.append({"name": name, "bytes": remove(entry)})
        if not as_json:
            sys.stdout.write(f"{name}: removed, {_size(removed[-1]['bytes']) or '0 MB'} are free again\n")
    if as_json:
        table.write_json({"removed": removed})


def run_link(given: Path | None, place: Path, kind: str | None, *, as_json: bool) -> ExitCode:
    """Makes the models of another program's folder, or one file, known. Exit 1 when none of them can be used."""
    catalogue = loading.load(find_root_if_any(given)).catalogue()
    found = []
    for each in link(place, catalogue, kind):
        found.append({"path": str(each.path), "name": each.name or None, "what": each.what})
        if not as_json:
            sys.stdout.write(
                f"{printable(each.name or 'passed over')}: {printable(str(each.path))} ({each.what})\n"
            )
    if as_json:
        table.write_json({"found": found})
    elif not found:
        sys.stdout.write(f"there are no models below {place}\n")
    return ExitCode.DONE if any(each["name"] for each in found) else ExitCode.FAILURE
