"""`hotfolder demo`."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from hotfolder.cli.display import Display
from hotfolder.cli.run import make_daemon, stopped_by_signals
from hotfolder.cli.setup import make_root
from hotfolder.cli.sheet import NAME, save, try_of
from hotfolder.config import loading
from hotfolder.demo.scenario import drop_everything
from hotfolder.errors import ExitCode, HotfolderError, Interrupted, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.home import expanded
from hotfolder.imaging.sheet import Cell, Section, as_png, colour_of, draw_sheet
from hotfolder.ledger.reader import Reader
from hotfolder.system.logs import log_to_stderr

_GROUPS = ("keep", "reject", "upscaled")


def run_demo(folder: Path | None, *, as_json: bool) -> ExitCode:
    log_to_stderr(logging.WARNING, "%(levelname)s %(message)s")
    root = folder or Path(tempfile.mkdtemp(prefix="hotfolder-demo-"))
    root = expanded(root).absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} is not an empty folder", "name a new or an empty one")
    started = time.monotonic()
    make_root(root, "tiny")
    layout = Layout(root)
    drop_everything(layout)
    sys.stderr.write(f"working in {root}\n")
    with Display() as display:
        # The environment is left out: a demonstration shows the same thing everywhere.
        daemon = make_daemon(root, loading.load(root, {}), display.show)
        with stopped_by_signals(daemon) as signals:
            report = daemon.run(once=True)
    if signals:
        raise Interrupted(
            "the demonstration was stopped", f"go on with: hotfolder run --root {shlex.quote(str(root))}"
        )
    if report.paused:
        raise HotfolderError(f"the demonstration stopped: {report.paused}", "see above")
    with Reader(layout.database) as reader:
        results = [{**row, "try": try_of(reader.image_row(row["image_id"]) or {})} for row in reader.results()]
        gains = {g["upscaled_path"]: g["gain"] for g in reader.score_gain()}
    save(root / NAME, as_png(_sheet(root, results, gains)))
    seconds = time.monotonic() - started
    if as_json:
        sys.stdout.write(json.dumps(_document(root, results, gains, report.failed, seconds), indent=2) + "\n")
    else:
        _tell(root, results, gains, seconds)
    return ExitCode.PARTLY_FAILED if report.failed else ExitCode.DONE


def group_of(row: dict[str, Any]) -> str | None:
    """The folder of results that an image belongs to; None for originals in the archive."""
    group: str | None = "upscaled" if row["role"] == "upscaled" else row["verdict"]
    return group


def _sheet(root: Path, results: list[dict[str, Any]], gains: dict[str, float]) -> Image.Image:
    """Every result, by the folder that it lies in, the best first."""
    sections = []
    for name in _GROUPS:
        rows = sorted((row for row in results if group_of(row) == name), key=lambda row: -(row["score"] or 0))
        cells = [
            Cell(
                root / row["path"],
                row["score"],
                name,
                gains.get(row["path"]),
                (row["width"], row["height"]),
                try_number=row["try"],
            )
            for row in rows
        ]
        sections += [Section(f"{name}/  {len(cells)} images", cells, colour_of(name))] if cells else []
    return draw_sheet("hotfolder demo", "drawn, judged and enlarged on this machine", sections)


def _document(
    root: Path, results: list[dict[str, Any]], gains: dict[str, float], failed: int, seconds: float
) -> dict[str, Any]:
    groups = [group_of(row) for row in results]
    return {
        "schema_version": 1,
        "root": str(root),
        "database": str(root / "hotfolder.db"),
        "contact_sheet": str(root / NAME),
        "seconds": round(seconds, 1),
        "counts": {**{name: groups.count(name) for name in _GROUPS}, "failed": failed},
        "images": [
            {
                "image": row["path"], "role": row["role"], "verdict": row["verdict"], "score": row["score"],
                "scorer": row["scorer"], "gain": gains.get(row["path"]), "seed": row["seed"],
                "try": row["try"], "prompt": row["prompt"], "width": row["width"], "height": row["height"],
            }
            for row in results
        ],
    }  # fmt: skip


def _tell(root: Path, results: list[dict[str, Any]], gains: dict[str, float], seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("image", overflow="fold")
    for name in ("score", "gain"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    styles = {"keep": "green", "reject": "red", "upscaled": "blue", None: "dim"}
    order = {"upscaled": 0, "keep": 1, "reject": 2, None: 3}
    for row in sorted(results, key=lambda row: (order[group_of(row)], -(row["score"] or 0))):
        gain = gains.get(row["path"])
        group = group_of(row)
        score = "" if row["score"] is None else f"{row['score']:.2f}"
        difference = "" if gain is None else f"{gain:+.2f}"
        verdict = (group or "original") + (f", try {row['try']}" if row["try"] > 1 else "")
        table.add_row(row["path"], score, difference, verdict, style=styles[group])
    console.print(table)
    place = shlex.quote(str(root))
    # Under `uv run` the command is not on the caller's PATH.
    command = "uv run hotfolder" if "UV" in os.environ else "hotfolder"
    console.print(
        f"\n{''.join(_tried_again(results))}The gain of an enlarged image is its score less that of its original. "
        "The small model draws soft edges:\nenlarged, they show, and the score falls.\n"
        f"{len(results)} images in {seconds:.0f} s. Look at them: {root / NAME}\n\n"
        "Now drop prompts and pictures of your own, and have them worked:\n"
        f'  echo "a large cyan star on a brown background" > {place}/inbox/generate/mine.txt\n'
        f"  {command} run --once --root {place}\n"
        "Ask the database:\n"
        f'  {command} query "SELECT path, score FROM results ORDER BY score DESC LIMIT 5" --root {place}\n'
        "Look at it all in the browser, and go on from there:\n"
        f"  {command} gallery --root {place} --with-daemon --open\n"
        "Set up a root of your own:\n"
        f"  {command} init ~/hotfolder --preset tiny",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def _tried_again(results: list[dict[str, Any]]) -> Iterator[str]:
    """A sentence for each prompt that got a better image with another seed."""
    tries: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in results:
        if row["role"] == "generated":
            tries.setdefault((row["source_file"], row["prompt"]), []).append(row)
    for (source, prompt), rows in tries.items():
        last = max(rows, key=lambda row: row["try"])
        if last["try"] > 1 and last["verdict"] == "keep":
            before = [f"{row['score']:.2f}" for row in rows if row["verdict"] == "reject"]
            yield (
                f"'{prompt}' ({Path(source).name}) was tried again: {', then '.join(before)} is below "
                f"gate.regenerate_below; with seed {last['seed']} it got {last['score']:.2f}.\n"
            )
