"""`hotfolder init`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hotfolder.cli.acting import name_root
from hotfolder.config import loading, presets
from hotfolder.config.root import FILE_NAME, check_place
from hotfolder.errors import UsageError
from hotfolder.files.trouble import refused
from hotfolder.folders.layout import Layout
from hotfolder.home import expanded, home


def make_root(root: Path, preset: str, *, umask: str = "", in_file: bool = False) -> None:
    """Makes folders and configuration; an existing configuration is never overwritten. Raises UsageError, DiskFull.

    Nothing is made inside of what another root works on. `umask` is as for output.umask: what is made gets none of
    these permissions; with `in_file`, the configuration says so, too.
    """
    if preset not in presets.PRESETS:
        raise UsageError(f"no preset is called '{preset}'", f"use one of {', '.join(presets.PRESETS)}")
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


def _write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all. Yours alone unless others are to read: it may come to hold passwords. Raises OSError."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "w", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
        except OSError:
            path.unlink()
            raise


def run_init(given: Path | None, preset: str, umask: str | None) -> None:
    """Raises UsageError, also for a umask that is none."""
    root = given or Path(os.environ.get("HOTFOLDER_ROOT") or home() / "hotfolder")
    root = expanded(root).absolute()
    settings = loading.load(None)
    if umask is not None:
        settings = settings.asked("output", {"umask": umask})
    make_root(root, preset, umask=settings.output.umask, in_file=umask is not None)
    name_root(root)
    sys.stdout.write(
        f"{root} is ready, preset '{preset}': {presets.PRESETS[preset][0]}\n\n"
        + ("" if preset == "tiny" else f"  hotfolder models pull --root {root}\n")
        + f"  hotfolder run --root {root}\n\n"
        f"then drop prompts into {root / 'inbox' / 'generate'}, pictures into inbox/score or inbox/upscale.\n"
    )
