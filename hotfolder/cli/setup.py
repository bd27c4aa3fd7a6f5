"""`hotfolder init`."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

from hotfolder.cli.acting import name_root
from hotfolder.cli.card import proposal
from hotfolder.config import loading, presets
from hotfolder.config.root import FILE_NAME, check_place
from hotfolder.core import toml
from hotfolder.errors import UsageError
from hotfolder.files.beneath import Beneath
from hotfolder.files.trouble import refused
from hotfolder.folders.layout import Layout
from hotfolder.home import expanded, home


def make_root(root: Path, preset: str, *, umask: str = "", in_file: bool = False) -> None:
    """Makes folders and configuration; an existing configuration is never overwritten. Raises UsageError, DiskFull.

    Nothing is made inside of what another root works on. `umask` is as for output.umask: what is made gets none of
    these permissions; with `in_file`, the configuration says so, too.
    """
    _check_preset(preset)
    check_place(root)
    path = root / FILE_NAME
    before = os.umask(int(umask, 8)) if umask else None
    try:
        if path.exists():
            raise UsageError(f"{path} exists already", "edit it, or move it away first")
        Layout(root).make()
        (root / presets.SCHEMA).write_text(presets.schema(), encoding="utf-8")
        (root / presets.PROMPT_SCHEMA).write_text(presets.prompt_schema(), encoding="utf-8")
        _write(path, presets.render(preset, umask if in_file else ""), 0o644 if umask else 0o600)
    except OSError as error:
        raise refused(error, f"{root} cannot be set up", "choose a folder you can write to") from None
    finally:
        if before is not None:
            os.umask(before)


def _check_preset(preset: str) -> None:
    """Raises UsageError."""
    if preset not in presets.PRESETS:
        raise UsageError(f"no preset is called '{preset}'", f"use one of {', '.join(presets.PRESETS)}")


def _write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all. Yours alone unless others are to read: it may come to hold passwords. Raises OSError."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "w", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
        except OSError:
            path.unlink()
            raise


def run_init(given: Path | None, preset: str | None, umask: str | None) -> None:
    """Without a preset it is 'tiny', and what fits this machine is proposed.

    A root that is there already becomes the preset that is named, as far as a person has not changed it. Raises
    UsageError, also for a umask that is none.
    """
    root = given or Path(os.environ.get("HOTFOLDER_ROOT") or home() / "hotfolder")
    root = expanded(root).absolute()
    settings = loading.load(None)
    if umask is not None:
        settings = settings.asked("output", {"umask": umask})
    if preset is not None and umask is None and (root / FILE_NAME).is_file():
        _become(root, preset)
        return
    chosen = preset or "tiny"
    make_root(root, chosen, umask=settings.output.umask, in_file=umask is not None)
    name_root(root)
    sys.stdout.write(f"{root} is ready, preset '{chosen}': {presets.PRESETS[chosen][0]}\n")
    if preset is None:
        sys.stdout.write(f"{proposal(root)}\n")
    place = shlex.quote(str(root))
    sys.stdout.write(
        ("\n" if chosen == "tiny" else f"\n  hotfolder models pull --root {place}\n")
        + f"  hotfolder run --root {place}\n\n"
        f"then drop prompts into {root / 'inbox' / 'generate'}, pictures into inbox/score or inbox/upscale.\n"
    )


def _become(root: Path, preset: str) -> None:
    """Raises UsageError, ConfigError for a file that cannot be read, DiskFull."""
    _check_preset(preset)
    path = Path(os.path.realpath(root / FILE_NAME))
    document = loading.read(path)
    text = path.read_text(encoding="utf-8")
    found = presets.differences(text, document, preset)
    changes = [each for each in found if not each.is_mine]
    try:
        new = presets.changed(text, changes, preset)
        wanted = {**document}
        for each in changes:
            wanted[each.section] = {**wanted.get(each.section, {}), each.key: each.then}
        if toml.loads(new) != wanted:
            raise ValueError("it is not written as usual")
    except ValueError as error:
        told = ", ".join(f"{each.section}.{each.key} = {each.then!r}" for each in changes)
        raise UsageError(f"{path} is not changed: {error}", f"set it yourself: {told}") from None
    name_root(root)
    if new != text:
        try:
            with Beneath(path.parent) as folder:
                folder.write(path.name, new, like=True)
        except OSError as error:
            raise refused(error, f"{path} cannot be written", "may this user write there?") from None
    for each in found:
        now, then = (json.dumps(value, ensure_ascii=False) for value in (each.now, each.then))
        how = f"yours, {now}, stays; the preset has {then}" if each.is_mine else f"{now} -> {then}"
        sys.stdout.write(f"{each.section}.{each.key}: {how}\n")
    is_built_in = preset == "tiny" and len(changes) == len(found)  # what is yours may name a model that is not
    following = ["reload"] if is_built_in else ["models pull", "reload"]
    commands = "".join(f"  hotfolder {each} --root {shlex.quote(str(root))}\n" for each in following)
    sys.stdout.write(
        f"{root} is of preset '{preset}' now.\n\n{commands}"
        if changes
        else f"{root} has all of preset '{preset}' that is not yours: nothing is changed.\n"
    )
