"""`hotfolder init`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hotfolder.config import presets
from hotfolder.config.root import FILE_NAME
from hotfolder.errors import UsageError
from hotfolder.files.trouble import refused
from hotfolder.folders.layout import Layout
from hotfolder.home import expanded, home


def make_root(root: Path, preset: str) -> None:
    """Makes folders and configuration; an existing configuration is never overwritten. Raises UsageError, DiskFull."""
    if preset not in presets.PRESETS:
        raise UsageError(f"no preset is called '{preset}'", f"use one of {', '.join(presets.PRESETS)}")
    path = root / FILE_NAME
    if path.exists():
        raise UsageError(f"{path} exists already", "edit it, or move it away first")
    try:
        Layout(root).make()
        (root / presets.SCHEMA).write_text(presets.schema(), encoding="utf-8")
        (root / presets.PROMPT_SCHEMA).write_text(presets.prompt_schema(), encoding="utf-8")
        _write(path, presets.render(preset))
    except OSError as error:
        raise refused(error, f"{root} cannot be set up", "choose a folder you can write to") from None


def _write(path: Path, text: str) -> None:
    """Whole or not at all; yours alone: it may come to hold addresses with passwords. Raises OSError."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
        except OSError:
            path.unlink()
            raise


def run_init(given: Path | None, preset: str) -> None:
    root = given or Path(os.environ.get("HOTFOLDER_ROOT") or home() / "hotfolder")
    root = expanded(root).absolute()
    make_root(root, preset)
    sys.stdout.write(
        f"{root} is ready, preset '{preset}': {presets.PRESETS[preset][0]}\n\n"
        + ("" if preset == "tiny" else f"  hotfolder models pull --root {root}\n")
        + f"  hotfolder run --root {root}\n\n"
        f"then drop prompts into {root / 'inbox' / 'generate'}, pictures into inbox/score or inbox/upscale.\n"
    )
