"""`hotfolder score`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.display import Display
from hotfolder.cli.files import existing_file, find_images, not_a_file
from hotfolder.cli.run import make_executor
from hotfolder.cli.tasted import formula_for
from hotfolder.cli.text import noted, told_at_the_end, write_notes
from hotfolder.config import loading
from hotfolder.config.root import find_root_if_any
from hotfolder.config.settings import Settings
from hotfolder.core import formula
from hotfolder.core.gate import Gate, judge
from hotfolder.core.stars import stars_for
from hotfolder.core.tastes import told
from hotfolder.errors import ExitCode, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.oneshot.stars import NotRated, rate
from hotfolder.oneshot.work import work
from hotfolder.printable import printable
from hotfolder.types import Item, Kind, Outcome, Precise, Progress, Role


@dataclass(frozen=True, slots=True)
class Stars:
    """How scores become stars: beside the pictures, or in them; a person's stay unless they are overwritten."""

    in_file: bool = False
    overwrite: bool = False


def run_score(
    given: Path | None, paths: Sequence[str], *, recursive: bool, scorer: str | None, prompt: str | None,
    stars: Stars | None, as_json: bool, as_csv: bool,
) -> ExitCode:  # fmt: skip
    if as_json and as_csv:
        raise UsageError("--json and --csv do not go together", "choose one")
    root = find_root_if_any(given)
    settings = scored_by(loading.load(root), scorer)
    found = find_images(paths, recursive=recursive, ignore=settings.watch.ignore)
    if found.passed_over:
        sys.stderr.write(f"{found.passed_over} files are no images by their names: passed over\n")
    rows: dict[int, dict[str, Any]] = {}
    model = formula_for(root, settings, Kind.SCORE, of_command=scorer is not None)
    names = formula.parse(told(model)).names
    columns = list(dict.fromkeys((*names, *settings.score.scorers)))
    if prompt is not None:
        _check_prompt(settings, columns, prompt)

    def tell() -> None:
        found_rows = [rows[i] for i in sorted(rows)]
        if as_json:
            _write_json(found_rows, told(model))
        elif as_csv:
            _write_csv(found_rows, columns if len(columns) > 1 else [], with_stars=stars is not None)
        else:
            _write_table(found_rows, columns if len(columns) > 1 else [])

    with told_at_the_end(tell, as_json=as_json):
        for outcome in _judge(root, settings, model, found.files, prompt):
            file = found.files[outcome.job_id]
            row = rows[outcome.job_id] = _row(file, outcome, settings.gate_policy())
            if stars is not None and "score" in row:
                row |= _rate(file, row, stars)
    failed = any("error" in row or "stars_error" in row for row in rows.values())
    return ExitCode.PARTLY_FAILED if failed else ExitCode.DONE


def _check_prompt(settings: Settings, scorers: Sequence[str], prompt: str) -> None:
    """Raises UsageError for one that would change nothing."""
    if not prompt.strip():
        raise UsageError("--prompt is empty", "say what the pictures were to show, or leave it out")
    entries = [settings.catalogue().entry(name) for name in scorers]
    if not any(entry is not None and entry.needs_prompt for entry in entries):
        raise UsageError(
            f"--prompt changes nothing: {' and '.join(scorers)} judge by the picture alone",
            "leave it out, or: --scorer clip-align",
        )


def _rate(file: Path, row: Mapping[str, Any], stars: Stars) -> dict[str, Any]:
    """Writes the stars of a picture, and says where they are. Raises DiskFull."""
    number = stars_for(row["score"], row["verdict"])
    try:
        if stars.in_file and (root := _root_around(file)) is not None:
            raise NotRated(
                f"it lies in the root {root}, which knows it by its content",
                'for results, set output.rating = "in-place" there',
            )
        done = rate(file, number, row["sha256"], in_file=stars.in_file, overwrite=stars.overwrite)
    except NotRated as error:
        return {"stars": None, "stars_error": error.info().told()}
    if done.kept is not None:
        return {"stars": done.kept, "stars_kept": True}
    return {"stars": number, "stars_in": [str(place) for place in done.places]}


def _root_around(file: Path) -> Path | None:
    """The root that a file lies in, if it does."""
    folders = Path(os.path.realpath(file)).parents
    return next((folder for folder in folders if Layout(folder).private.is_dir()), None)


def scored_by(settings: Settings, scorer: str | None) -> Settings:
    """The settings with the scorer of the command line, whose models are known to be there.

    Raises UsageError or ModelMissing.
    """
    if scorer is not None:
        settings = settings.judged_by(existing_file(scorer) or scorer)
    for kind, name in settings.models_needed():
        if kind is Kind.SCORE:
            settings.catalogue().resolve(name, kind)
    return settings


def _judge(
    root: Path | None, settings: Settings, model: str, files: Sequence[Path], prompt: str | None
) -> Iterator[Outcome]:
    items = []
    params = {"named": True, **({"prompt": prompt} if prompt else {})}
    near_the_gate = Precise((settings.gate.keep,))
    for index, file in enumerate(files):
        error = not_a_file(file)
        if error is not None:
            yield Outcome(index, 1, error=error)
        else:
            items.append(Item(index, 1, str(file.absolute()), "", params, near_the_gate))
    if not items:
        return
    ended = len(files) - len(items)
    executor = make_executor(settings, root)
    with Display() as display:

        def tell(progress: Progress) -> None:
            display.update(progress.stage, ended, len(files))

        try:
            for outcome in work(executor, Kind.SCORE, model, items, tell):
                ended += 1
                yield outcome
        finally:
            executor.close()


def _row(file: Path, outcome: Outcome, gate: Gate) -> dict[str, Any]:
    if outcome.error is not None:
        error = outcome.error
        return {"image": str(file), "error": error.told()}
    assert outcome.score is not None and outcome.source is not None
    verdict = judge(outcome.score.value, Role.DROPPED, 1, gate).verdict
    return {
        "image": str(file),
        "score": round(outcome.score.value, 4),
        "width": outcome.source.width,
        "height": outcome.source.height,
        "verdict": verdict,
        "sha256": outcome.source.sha256,
        "scores": {s.scorer: round(s.value, 4) for s in (outcome.score, *outcome.parts)},
        **noted(outcome),
    }


def _mean(rows: Sequence[dict[str, Any]]) -> float | None:
    scores = [row["score"] for row in rows if "score" in row]
    return round(sum(scores) / len(scores), 4) if scores else None


def _write_json(rows: Sequence[dict[str, Any]], scorer: str) -> None:
    errors = sum(1 for row in rows if "error" in row)
    document = {
        "schema_version": 1,
        "scorer": scorer,
        "scores": rows,
        "mean_score": _mean(rows),
        "count": len(rows) - errors,
        "errors": errors,
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def _write_csv(rows: Sequence[dict[str, Any]], scorers: Sequence[str], *, with_stars: bool) -> None:
    facts = ("image", "score", "verdict", "width", "height", *(["stars"] if with_stars else []))
    lines = []
    for row in rows:
        error, scores = row.get("error", row.get("stars_error", {})), row.get("scores", {})
        parts = [scores.get(name, "") for name in scorers]
        lines.append(
            [*(row.get(key, "") for key in facts), *parts, error.get("kind", ""), error.get("message", "")]
        )
    table.write_csv([*facts, *scorers, "error_kind", "error"], lines, line_end="\n")


def _shown_stars(row: Mapping[str, Any]) -> str:
    number = row["stars"]
    if number is None:
        return f"{'–':<5}"
    kept = "  given by a person: kept, see --overwrite" if row.get("stars_kept") else ""
    return f"{'★' * number if number > 0 else '✗':<5}{kept}"


def _write_table(rows: Sequence[dict[str, Any]], scorers: Sequence[str]) -> None:
    if not rows:
        return
    names = [printable(row["image"]) for row in rows]
    width = min(60, max(map(len, names)))
    for name, row in zip(names, rows, strict=True):
        if "error" in row:
            sys.stdout.write(
                f"{name:<{width}}     –  {row['error']['kind']}: {printable(row['error']['message'])}\n"
            )
            continue
        parts = "".join(f"  {scorer} {row['scores'][scorer]:.2f}" for scorer in scorers)
        shown = f"  {_shown_stars(row)}" if "stars" in row else ""
        sys.stdout.write(f"{name:<{width}} {row['score']:5.2f}  {row['verdict']:<6}{shown}{parts}".rstrip() + "\n")
        write_notes(row)
        if "stars_error" in row:
            error = row["stars_error"]
            sys.stdout.write(f"  not rated: {printable(error['message'])}\n  fix: {printable(error['fix'])}\n")
    errors = sum(1 for row in rows if "error" in row)
    mean = _mean(rows)
    told = f"mean {mean:.2f} of {len(rows) - errors} images" if mean is not None else "no image could be judged"
    sys.stdout.write(f"{told}{f', {errors} failed' if errors else ''}\n")
