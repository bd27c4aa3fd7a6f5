"""`hotfolder config check` and `hotfolder config show`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hotfolder.cli import table
from hotfolder.config import loading
from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.root import FILE_NAME, find_root
from hotfolder.config.settings import ARRAYS, Settings, sections
from hotfolder.errors import ExitCode, HotfolderError, ModelMissing
from hotfolder.folders.guard import check_folders
from hotfolder.folders.layout import INBOX, Layout
from hotfolder.masking import HIDDEN, masked
from hotfolder.printable import printable

_DEFAULT = "default"


def run_check(given: Path | None, *, as_json: bool) -> ExitCode:
    """Looks for whatever a start, or a reload, would refuse, and for settings of sub-folders that count for nothing.

    Exit 2 where the configuration is wrong, 4 where only a model is missing.
    """
    root = find_root(given)
    problems = list(_problems(root))
    code = ExitCode.DONE
    if problems:
        only_models = all(isinstance(problem, ModelMissing) for problem in problems)
        code = ExitCode.MODEL_MISSING if only_models else ExitCode.USAGE
    if as_json:
        told = [{"where": None, "line": None, "key": None, **each.told()} for each in problems]
        table.write_json({"root": str(root), "good": not problems, "problems": told})
        return code
    for each in problems:
        sys.stdout.write(f"{printable(each.message)}\n" + (f"  fix: {printable(each.fix)}\n" if each.fix else ""))
    if not problems:
        sys.stdout.write(f"{root / FILE_NAME}: nothing to object\n")
    return code


def _problems(root: Path) -> Iterator[HotfolderError]:
    """Of all that can be looked at: where something in the root's file is wrong, the rest of it still says a lot."""
    from hotfolder.cli.run import check_models

    try:
        found = loading.examine(root)
    except HotfolderError as error:
        yield error
        return
    yield from found.mistakes
    layout = Layout(root)
    try:
        check_folders(layout, found.settings.inboxes)
    except HotfolderError as error:
        yield from error.each
    except OSError:  # a folder that is not there yet is made at the start
        pass
    try:
        check_models(found.settings)
    except HotfolderError as error:
        yield from (each for each in error.each if loading.is_certain(each, found.doubtful))
    folders = FolderSettings(root, found.settings, found.doubtful)
    told: set[str] = set()  # what holds in a folder holds in those below it
    for folder in _with_settings(root):
        try:
            folders.of(f"{folder}/x")
        except HotfolderError as error:
            yield from (each for each in error.each if each.message not in told)
            told |= {each.message for each in error.each}


def _with_settings(root: Path) -> Iterator[str]:
    """Folders below the inboxes that have a hotfolder.toml, relative to the root."""
    for inbox in sorted((root / INBOX).glob("*")):
        for folder, below, files in os.walk(inbox):
            below.sort()
            if FILE_NAME in files:
                yield Path(folder).relative_to(root).as_posix()


def run_show(given: Path | None, *, changed: bool, as_json: bool) -> None:
    """Every setting, with where its value comes from; with `changed` only what is not as delivered.

    What may hold passwords is not shown. Raises ConfigError where the configuration is wrong.
    """
    root = find_root(given)
    settings, sources = loading.load(root), loading.sources(root)
    rows = [row for row in _rows(settings, sources) if not changed or row["source"] != _DEFAULT]
    if as_json:
        table.write_json({"root": str(root), "file": str(root / FILE_NAME), "settings": rows})
        return
    shown = ([row["key"], table.toml(row["value"]), row["source"]] for row in rows)
    table.show(["key", "value", "from"], shown)


def _rows(settings: Settings, sources: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, section in sections():
        values = getattr(settings, name)
        for key, field in section.model_fields.items():
            value = _plain(getattr(values, key), secret=not field.repr)
            yield {"key": f"{name}.{key}", "value": value, "source": sources.get(f"{name}.{key}", _DEFAULT)}
    for name in ARRAYS:
        for number, each in enumerate(getattr(settings, name)):
            value = _plain(each.model_dump(exclude_unset=True), secret=False)
            yield {"key": f"{name}[{number}]", "value": value, "source": sources.get(name, FILE_NAME)}


def _plain(value: Any, *, secret: bool) -> Any:
    """As JSON has it, without passwords: of a secret list of words only the first, which is a program or a service."""
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(exclude_unset=True), secret=secret)
    if isinstance(value, Mapping):
        return {key: _plain(each, secret=secret) for key, each in value.items()}
    if isinstance(value, list | tuple):
        if secret and value and "://" not in str(value[0]):
            return [masked(str(value[0])), *[HIDDEN] * (len(value) - 1)]
        return [_plain(each, secret=False) for each in value]
    return masked(value) if isinstance(value, str) else value
