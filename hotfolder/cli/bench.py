"""`hotfolder bench`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.display import Display
from hotfolder.cli.files import existing_file
from hotfolder.cli.run import resolve_upscaler
from hotfolder.cli.score import scored_by
from hotfolder.cli.upscale import Options, configured
from hotfolder.config import loading
from hotfolder.config.root import check_place, find_root_if_any
from hotfolder.errors import UsageError
from hotfolder.types import Kind


def run_bench_score(
    given: Path | None,
    *,
    images: int,
    size: int,
    format_: str,
    naive: int,
    scorer: str | None,
    random_weights: bool,
    as_json: bool,
) -> None:
    if format_ not in ("png", "jpg", "webp"):
        raise UsageError(f"no format is called '{format_}'", "use png, jpg or webp")
    settings = loading.load(find_root_if_any(given))
    if not random_weights:
        settings = scored_by(settings, scorer)
    from hotfolder.bench.score import bench_score

    with Display() as display:
        found = bench_score(
            settings.default_model(Kind.SCORE),
            settings.runner(),
            images=images,
            size=size,
            format_=format_,
            naive=naive,
            random_weights=random_weights,
            tell=display.update,
        )
    _tell(found, as_json=as_json)


def run_bench_upscale(
    given: Path | None,
    *,
    images: int,
    size: int,
    naive: int,
    model: str | None,
    random_rrdb: bool,
    tile: int | None,
    as_json: bool,
) -> None:
    settings = configured(loading.load(find_root_if_any(given)), Options(model=model, tile=tile))
    if not random_rrdb:
        resolve_upscaler(settings)
    from hotfolder.bench.upscale import bench_upscale

    with Display() as display:
        found = bench_upscale(
            settings.upscale.model,
            settings.runner(),
            images=images,
            size=size,
            naive=naive,
            random="rrdb" if random_rrdb else None,
            tell=display.update,
        )
    _tell(found, as_json=as_json)


def run_bench_generate(
    given: Path | None,
    *,
    images: int,
    plain: int,
    model: str | None,
    steps: int | None,
    size: int | None,
    together: int | None,
    as_json: bool,
) -> None:
    model = (existing_file(model) or model) if model is not None else None
    asked = {"model": model, "steps": steps, "width": size, "height": size, "batch_size": together}
    settings = loading.load(find_root_if_any(given)).asked(
        "generate",
        {key: value for key, value in asked.items() if value is not None},
        {"width": "size", "height": "size", "batch_size": "together"},
    )
    settings.catalogue().resolve(settings.generate.model, Kind.GENERATE)
    from hotfolder.bench.generate import bench_generate

    with Display() as display:
        found = bench_generate(
            settings.generate.model,
            settings.runner(),
            {key: getattr(settings.generate, key) for key in ("steps", "guidance", "width", "height")},
            images=images,
            plain=plain,
            tell=display.update,
        )
    _tell(found, as_json=as_json)


def run_bench_line(folder: Path, *, files: Sequence[int], fsync_delay: float, lone: int, as_json: bool) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "name one on the disk that is to be measured")
    check_place(folder / "hotfolder-bench")  # its thousands of files would be taken there
    from hotfolder.bench.line import bench_line

    with Display() as display:
        found = bench_line(folder, files, fsync_delay_ms=fsync_delay, lone=lone, tell=display.update)
    _tell(found, as_json=as_json)


def run_bench_workers(*, jobs: int, only: str | None, as_json: bool, random_weights: bool = False) -> None:
    """Raises UsageError for a part that is not known, HotfolderError where not all of it could be done."""
    from hotfolder.bench.overhead import COLUMNS, rows
    from hotfolder.bench.workers import Part, bench_workers

    if only is not None and only not in list(Part):
        raise UsageError(f"there is no part '{only}'", f"use one of {', '.join(Part)}")
    with Display() as display:
        part = Part(only) if only is not None else None
        found = bench_workers(jobs, display.update, part, random_weights=random_weights)
    sizes = [] if as_json else found.get("overhead", {}).pop("sizes", [])
    _tell(found, as_json=as_json)
    if sizes:
        sys.stdout.write("\nmilliseconds for each job\n")
        table.show(COLUMNS, rows(sizes), right=COLUMNS)


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"schema_version": 1, **found}, indent=2) + "\n")
    else:
        _write(found)


def _write(found: dict[str, Any], indent: str = "") -> None:
    for name, value in found.items():
        label = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            sys.stdout.write(f"{label}\n")
            _write(value, indent + "  ")
        elif isinstance(value, list):
            for number, each in enumerate(value, 1):
                sys.stdout.write(f"{label} {number}\n")
                _write(each, indent + "  ")
        else:
            sys.stdout.write(f"{label:<26} {value}\n")
