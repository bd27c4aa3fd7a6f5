"""`hotfolder rescore`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hotfolder.cli.acting import acting_on
from hotfolder.cli.display import Display
from hotfolder.cli.run import make_executor
from hotfolder.cli.score import scored_by
from hotfolder.cli.tasted import Formulas
from hotfolder.config import loading
from hotfolder.core.tastes import told
from hotfolder.errors import ExitCode
from hotfolder.folders.layout import Layout
from hotfolder.ledger.images import Judged
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.reader import Reader
from hotfolder.oneshot.work import work
from hotfolder.printable import printable
from hotfolder.types import ErrorInfo, Item, Kind, Outcome, Progress

#: Images looked up, judged and recorded together: what an interruption can cost.
_AT_ONCE = 1000


def run_rescore(given: Path | None, scorer: str | None, *, as_json: bool) -> ExitCode:
    layout = acting_on(given, trusted=True)
    root = layout.root
    configured = loading.load(root)
    settings = scored_by(configured, scorer)
    formulas = Formulas(layout, configured, settings, of_command=scorer is not None)
    ended = added = left = 0
    failed: dict[str, ErrorInfo] = {}
    used: dict[str, None] = {}
    with Reader(layout.database) as reader, Display() as display:
        total = reader.image_count()

        def tell(progress: Progress) -> None:
            display.update(progress.stage, ended, total)

        executor = make_executor(settings, root)
        ledger = Ledger.open(layout.database)
        try:
            for page in _pages(reader):
                judged = []
                for wanted, rows in formulas.divided(page):
                    if wanted is None:
                        left += len(rows)
                        continue
                    used[told(wanted.text)] = None
                    by_id = {row["id"]: row for row in rows}
                    items = [_item(layout, row) for row in rows]
                    for outcome in work(executor, Kind.SCORE, wanted.text, items, tell):
                        ended += 1
                        row = by_id[outcome.job_id]
                        if outcome.error is not None:
                            failed[row["path"]] = outcome.error
                        else:
                            judged.append(_judged(row, outcome, is_gate=wanted.is_gate))
                added += ledger.images.add_scores(judged, time.time())
        finally:
            executor.close()
            ledger.close()
    _tell(root, ", ".join(used) or settings.formula, ended, added, left, failed, as_json=as_json)
    return ExitCode.PARTLY_FAILED if failed else ExitCode.DONE


def _pages(reader: Reader) -> Iterator[list[dict[str, Any]]]:
    after = 0
    while page := reader.contents(after, _AT_ONCE):
        yield page
        after = page[-1]["id"]


def _item(layout: Layout, row: Mapping[str, Any]) -> Item:
    # The content is named, so that a known one is not even read; but for its layout, where it has none yet.
    return Item(
        row["id"],
        1,
        str(layout.root / row["path"]),
        "",
        {"measure": True, "sha256": row["sha256"], "layout": True},
    )


def _judged(row: Mapping[str, Any], outcome: Outcome, *, is_gate: bool) -> Judged:
    assert outcome.score is not None
    if is_gate:
        return Judged(row["id"], row["sha256"], outcome.score, outcome.parts, outcome.embeddings)
    return Judged(row["id"], row["sha256"], None, (*outcome.parts, outcome.score), outcome.embeddings)


def _tell(
    root: Path,
    model: str,
    ended: int,
    added: int,
    left: int,
    failed: Mapping[str, ErrorInfo],
    *,
    as_json: bool,
) -> None:
    if as_json:
        errors = [{"image": path, "error": error.told()} for path, error in failed.items()]
        document = {
            "root": str(root), "scorer": model, "images": ended, "added": added, "left": left, "errors": errors,
        }  # fmt: skip
        sys.stdout.write(json.dumps({"schema_version": 1, **document}, indent=2) + "\n")
        return
    for path, error in failed.items():
        sys.stdout.write(f"{printable(path)}: {error.kind}: {printable(error.message)}\n")
    sys.stdout.write(f"{ended} images by {model}: {added} new scores, {len(failed)} failed\n")
    if left:
        sys.stdout.write(f"{left} images are of inboxes of which no taste is known: hotfolder taste status\n")
