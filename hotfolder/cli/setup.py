"""`hotfolder init`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hotfolder.config import presets
from hotfolder.config.root import FILE_NAME
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout


def make_root(root: Path, preset: str) -> None:
    """Makes folders and configuration; an existing configuration is never overwritten. Raises UsageError."""
    if preset not in presets.PRESETS:
        raise UsageError(f"no preset is called '{preset}'", f"use one of {', '.join(presets.PRESETS)}")
    path = root / FILE_NAME
    if path.exists():
        raise UsageError(f"{path} exists already", "edit it, or move it away first")
    try:
        Layout(root).make()
        # Yours alone: it may come to hold addresses with passwords.
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(presets.render(preset))
        (root / presets.SCHEMA).write_text(presets.schema(), encoding="utf-8")
        (root / presets.PROMPT_SCHEMA).write_text(presets.prompt_schema(), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{root} cannot be set up: {error.strerror}", "choose a folder you can write to"
        ) from None


def run_init(given: Path | None, preset: str) -> None:
    root = given or Path(os.environ.get("HOTFOLDER_ROOT") or Path.home() / "hotfolder")
    root = root.expanduser().absolute()
    make_root(root, preset)
    sys.stdout.write(
        f"{root} is ready, preset '{preset}': {presets.PRESETS[preset][0]}\n\n"
        + ("" if preset == "tiny" else f"  hotfolder models pull --root {root}\n")
        + f"  hotfolder run --root {root}\n\n"
        f"then drop prompts into {root / 'inbox' / 'generate'}, pictures into inbox/score or inbox/upscale.\n"
    )
