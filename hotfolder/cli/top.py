"""`hotfolder top` and `hotfolder stats`: what was best, and how much of it was good."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from hotfolder.cli import table, times
from hotfolder.config.root import find_root
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader

_BAR = 50
_DAYS = 14
_EIGHTHS = " ▏▎▍▌▋▊▉"


def show_top(
    given: Path | None, most: int, by: str, verdict: str | None, since: str | None, *, as_json: bool
) -> None:
    """Raises UsageError for a `by`, `verdict` or `since` that is not known."""
    check_one_of(("--by", by, ("score", "prompt", "day")), ("--verdict", verdict, ("keep", "reject")))
    moment = times.since(since)
    root = find_root(given)
    with Reader(Layout(root).database) as reader:
        if by == "score":
            rows = reader.best_images(most, verdict, moment)
        elif by == "prompt":
            rows = [_judged(row) for row in reader.best_prompts(most, moment)]
        else:
            rows = [_judged(row) for row in _days(reader, most, moment)]
    if as_json:
        table.write_json({"root": str(root), "by": by, "top": rows})
    elif by == "score":
        columns = ("score", "verdict", "image", "seed", "prompt")
        lines = [(r["score"], r["verdict"] or r["role"], r["path"], r["seed"], r["prompt"]) for r in rows]
        table.show(columns, lines, right=("score", "seed"))
    else:
        columns = ("best", "mean", "images", "kept", by)
        lines = [(r["best"], r["mean"], r["images"], _share(r), r[by]) for r in rows]
        table.show(columns, lines, right=columns[:4])


def check_one_of(*options: tuple[str, str | None, Sequence[str]]) -> None:
    """Raises UsageError for an option (its name, its value, what is known) with another value."""
    for what, value, known in options:
        if value is not None and value not in known:
            raise UsageError(f"{what} {value} is not known", f"use one of {', '.join(known)}")


def show_stats(given: Path | None, *, as_json: bool) -> None:
    from hotfolder.config import loading  # `top` does without

    root = find_root(given)
    gate = loading.load(root).gate
    with Reader(Layout(root).database) as reader:
        found: dict[str, Any] = {
            **reader.score_summary(),
            "histogram": reader.histogram(),
            "models": [_judged(row) for row in reader.models()],
            "prompts": [_judged(row) for row in reader.prompts_by_count(10)],
            "days": [_judged(row) for row in _days(reader, _DAYS)],
        }
    if as_json:
        table.write_json(found)
        return
    if not found["images"]:
        sys.stdout.write("no image has a score yet\n")
        return
    summary = "{images:,} images, mean {mean:.2f}, from {lowest:.2f} to {highest:.2f}\n\n".format(**found)
    thresholds = {"keep": gate.keep, **({} if gate.upscale == "never" else {"upscale": gate.upscale})}
    sys.stdout.write(summary + histogram(found["histogram"], thresholds) + "\n")
    for title, key, column in (
        ("model", "models", "model"),
        ("prompt", "prompts", "prompt"),
        ("day", "days", "day"),
    ):
        if found[key]:
            lines = [(_share(row), row["judged"], row[column]) for row in found[key]]
            table.show(("kept", "judged", title), lines, right=("kept", "judged"))
            sys.stdout.write("\n")


def histogram(bins: list[dict[str, Any]], thresholds: dict[str, float]) -> str:
    """Bars of half a point each; the thresholds stand where they cut."""
    most = max(row["images"] for row in bins)
    counts = {row["bin"]: row["images"] for row in bins}
    lowest, highest = min(counts), max(counts)
    lines = []
    for step in range(int(lowest * 2), int(highest * 2) + 1):
        start = step / 2
        eighths = round(counts.get(start, 0) / most * _BAR * 8)
        bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        marks = [f"← {name} {value:g}" for name, value in thresholds.items() if start <= value < start + 0.5]
        lines.append(f"{start:4.1f} {counts.get(start, 0):9,} {bar:<{_BAR}} {'  '.join(marks)}".rstrip() + "\n")
    return "".join(lines)


def _judged(row: dict[str, Any]) -> dict[str, Any]:
    """With the share that was kept, of those that the gate judged; None where it judged none."""
    return {**row, "acceptance": row["kept"] / row["judged"] if row["judged"] else None}


def _share(row: dict[str, Any]) -> str:
    return "–" if row["acceptance"] is None else f"{row['acceptance']:.0%}"


def _days(reader: Reader, most: int, since: float | None = None) -> list[dict[str, Any]]:
    """By the days of the clock on the wall, as it is set now."""
    offset = datetime.fromtimestamp(time.time(), UTC).astimezone().utcoffset() or timedelta()
    rows = reader.days(most, offset.total_seconds(), since)
    return [{**row, "day": (date(1970, 1, 1) + timedelta(days=row["day"])).isoformat()} for row in rows]
