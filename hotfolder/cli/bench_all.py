"""`hotfolder bench all`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hotfolder.cli.display import Display
from hotfolder.cli.files import check_place
from hotfolder.config import loading
from hotfolder.config.root import find_root_if_any
from hotfolder.errors import ExitCode

if TYPE_CHECKING:
    from hotfolder.bench.document import BenchAll, Correctness, Measurement

_COLUMNS = ("part", "measured", "a second", "limit", "share", "goal", "times plain", "card MB", "off float32")


def _is_ours(out: Path) -> bool:
    """Whether it is a document that was written here."""
    try:
        return bool(json.loads(out.read_text(encoding="utf-8"))["kind"] == "bench-all")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def run_bench_all(
    given: Path | None, *, quick: bool, only: Sequence[str], out: Path, minutes: float, as_json: bool
) -> ExitCode:
    """0 when every part was measured, 3 when some were, 1 when none was."""
    settings = loading.load(find_root_if_any(given))
    check_place(out, "--out", _is_ours, "document of bench all")
    from hotfolder.bench.document import Status
    from hotfolder.bench.everything import bench_all

    with Display() as display:
        document = bench_all(
            settings.runner(), out.absolute(), quick=quick, only=only, tell=display.update, longest=60 * minutes
        )
    if as_json:
        sys.stdout.write(document.model_dump_json(indent=2) + "\n")
    else:
        _show(document)
    for part in document.parts:
        if part.error is not None:
            sys.stderr.write(
                f"{part.name}: {part.status}: {part.error.message}\n{part.error.fix}\n".rstrip() + "\n"
            )
        elif part.status is Status.MISSING:
            sys.stderr.write(f"{part.name}: no time was left for it: --only {part.name} measures it alone\n")
    sys.stderr.write(f"the document: {out.absolute()}\n")
    if not document.missing:
        return ExitCode.DONE
    return ExitCode.PARTLY_FAILED if any(part.measurements for part in document.parts) else ExitCode.FAILURE


def _show(document: BenchAll) -> None:
    from hotfolder.cli.table import show

    machine = document.machine
    if machine is not None:
        words = [
            machine.device,
            machine.driver and f"driver {machine.driver}",
            machine.cuda and f"CUDA {machine.cuda}",
        ]
        words += [
            f"torch {document.versions.get('torch', '–')}",
            f"diffusers {document.versions.get('diffusers', '–')}",
        ]
        sys.stdout.write(", ".join(word for word in words if word) + "\n")
    if document.quick:
        sys.stdout.write("--quick: small sizes, scaled-down networks; these are no figures of this machine\n")
    show(_COLUMNS, _rows(document), right=_COLUMNS[2:-1])


def _rows(document: BenchAll) -> Iterator[Sequence[str | None]]:
    for part in document.parts:
        for each in part.measurements:
            yield (
                part.name,
                each.name + (" (scaled down)" if each.scaled_down else ""),
                f"{each.value:,.4g} {each.unit}",
                None if each.limit is None else f"{each.limit.value:,.4g} ({each.limit.by})",
                None if each.limit is None else f"{each.limit.share:.0%}",
                None if each.goal is None else f"{each.goal:.0%}",
                None if each.times_plain is None else f"{each.times_plain:.2f}",
                None if each.device_memory_mb is None else f"{each.device_memory_mb:,.0f}",
                _told(each) or None,
            )
        if part.skipped is not None:
            yield part.name, f"nothing: {part.skipped}", *[None] * (len(_COLUMNS) - 2)
        if part.status != "done":
            yield part.name, str(part.status), *[None] * (len(_COLUMNS) - 2)


def _told(measurement: Measurement) -> str:
    return ", ".join(_off(each) for each in measurement.correctness)


def _off(found: Correctness) -> str:
    names = {"score": "{:.4f} of a score", "psnr_db": "{:.0f} dB", "levels": "{:.0f} levels"}
    return names[found.measure].format(found.value) + ("" if found.ok else " (too far)")
