"""`hotfolder score`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.display import Display
from hotfolder.cli.files import existing_file, find_images, not_a_file
from hotfolder.cli.run import make_executor
from hotfolder.cli.text import noted, told_at_the_end, write_notes
from hotfolder.config import loading
from hotfolder.config.root import find_root_if_any
from hotfolder.config.settings import Settings
from hotfolder.core import formula
from hotfolder.core.gate import Gate, judge
from hotfolder.errors import ExitCode, UsageError
from hotfolder.oneshot.work import work
from hotfolder.printable import printable
from hotfolder.types import Item, Kind, Outcome, Precise, Progress, Role


def run_score(
    given: Path | None, paths: Sequence[str], *, recursive: bool, scorer: str | None, as_json: bool, as_csv: bool
) -> ExitCode:
    if as_json and as_csv:
        raise UsageError("--json and --csv do not go together", "choose one")
    root = find_root_if_any(given)
    settings = scored_by(loading.load(root), scorer)
    found = find_images(paths, recursive=recursive, ignore=settings.watch.ignore)
    if found.passed_over:
        sys.stderr.write(f"{found.passed_over} files are no images by their names: passed over\n")
    outcomes: dict[int, Outcome] = {}
    names = formula.parse(settings.default_model(Kind.SCORE)).names
    columns = list(dict.fromkeys((*names, *settings.score.scorers)))

    def tell() -> None:
        rows = [_row(found.files[i], outcomes[i], settings.gate_policy()) for i in sorted(outcomes)]
        if as_json:
            _write_json(rows, settings.default_model(Kind.SCORE))
        elif as_csv:
            _write_csv(rows, columns if len(columns) > 1 else [])
        else:
            _write_table(rows, columns if len(columns) > 1 else [])

    with told_at_the_end(tell, as_json=as_json):
        for outcome in _judge(root, settings, found.files):
            outcomes[outcome.job_id] = outcome
    failed = any(outcome.error for outcome in outcomes.values())
    return ExitCode.PARTLY_FAILED if failed else ExitCode.DONE


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


def _judge(root: Path | None, settings: Settings, files: Sequence[Path]) -> Iterator[Outcome]:
    items = []
    near_the_gate = Precise((settings.gate.keep,))
    for index, file in enumerate(files):
        error = not_a_file(file)
        if error is not None:
            yield Outcome(index, 1, error=error)
        else:
            items.append(Item(index, 1, str(file.absolute()), "", {"named": True}, near_the_gate))
    if not items:
        return
    ended = len(files) - len(items)
    executor = make_executor(settings, root)
    with Display() as display:

        def tell(progress: Progress) -> None:
            display.update(progress.stage, ended, len(files))

        try:
            for outcome in work(executor, Kind.SCORE, settings.default_model(Kind.SCORE), items, tell):
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


def _write_csv(rows: Sequence[dict[str, Any]], scorers: Sequence[str]) -> None:
    facts = ("image", "score", "verdict", "width", "height")
    lines = []
    for row in rows:
        error, scores = row.get("error", {}), row.get("scores", {})
        parts = [scores.get(name, "") for name in scorers]
        lines.append(
            [*(row.get(key, "") for key in facts), *parts, error.get("kind", ""), error.get("message", "")]
        )
    table.write_csv([*facts, *scorers, "error_kind", "error"], lines, line_end="\n")


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
        sys.stdout.write(f"{name:<{width}} {row['score']:5.2f}  {row['verdict']:<6}{parts}".rstrip() + "\n")
        write_notes(row)
    errors = sum(1 for row in rows if "error" in row)
    mean = _mean(rows)
    told = f"mean {mean:.2f} of {len(rows) - errors} images" if mean is not None else "no image could be judged"
    sys.stdout.write(f"{told}{f', {errors} failed' if errors else ''}\n")
