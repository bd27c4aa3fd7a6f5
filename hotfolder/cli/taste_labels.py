"""Labels of taste as CSV: sha256, verdict, weight and when, with the path for people."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hotfolder.errors import UsageError
from hotfolder.folders.layout import inbox_of
from hotfolder.ledger.labels import LabelReader
from hotfolder.taste import notes
from hotfolder.taste.training import Trained

COLUMNS = ("inbox", "sha256", "path", "verdict", "weight", "at", "agrees")
_MOST_BYTES = 64 * 2**20
#: As `notes.SaidLabel`: content, keep, weight, at, agrees.
Row = tuple[str, bool, float, float, bool | None]


@dataclass(frozen=True, slots=True)
class Found:
    """Labels by inbox, and how many rows were of images that are not known."""

    labels: Mapping[str, list[Row]]
    unknown: int


def exported(reader: LabelReader, trained: Trained) -> Iterator[tuple[Any, ...]]:
    """A row for each label that counts, the oldest first."""
    labels = trained.gathered.evidence.labels
    paths = {row["sha256"]: row["path"] for row in reader.newest_of_contents([label.content for label in labels])}
    for label in labels:
        yield (
            trained.gathered.subject.inbox,
            label.content,
            paths.get(label.content),
            "keep" if label.keep else "reject",
            label.weight,
            datetime.fromtimestamp(label.at, UTC).isoformat(timespec="microseconds"),
            int(label.agrees),
        )


def read(reader: LabelReader, file: Path, inbox: str | None) -> Found:
    """Raises UsageError, naming the line."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{file} is too large for a table of labels", "divide it")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", "it has to be CSV, in UTF-8") from None
    labels: dict[str, list[Row]] = {}
    unknown = 0
    try:
        table = csv.DictReader(text.splitlines())
        columns = set(table.fieldnames or ())
        if "verdict" not in columns or not columns & {"sha256", "path"}:
            raise UsageError(
                f"{file} has no columns 'verdict' and 'sha256', or 'path'", "see: hotfolder taste export"
            )
        for number, row in enumerate(table, 2):
            image = _image(reader, row)
            if image is None:
                unknown += 1
                continue
            own = inbox or row.get("inbox") or str(inbox_of(image["source_file"]))
            labels.setdefault(own, []).append(_row(row, image["sha256"], f"{file}, line {number}"))
    except csv.Error as error:
        raise UsageError(f"{file} is no CSV: {error}", "see: hotfolder taste export") from None
    return Found(labels, unknown)


def _image(reader: LabelReader, row: Mapping[str, str | None]) -> Mapping[str, Any] | None:
    image: Mapping[str, Any] | None
    if content := row.get("sha256"):
        image = next(iter(reader.newest_of_contents([content.lower()])), None)
    else:
        image = reader.image_by_path(path) if (path := row.get("path")) else None
    return image if image is not None and inbox_of(image["source_file"]) is not None else None


def _row(row: Mapping[str, str | None], content: str, where: str) -> Row:
    verdict = (row.get("verdict") or "").strip().lower()
    if verdict not in ("keep", "reject"):
        raise UsageError(f"{where}: verdict is keep or reject, not {verdict!r}", "mend that line")
    try:
        weight, at = float(row.get("weight") or 1), _seconds(row.get("at"))
        agrees = bool(int(said)) if (said := row.get("agrees")) else None
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{where}: {error}", "weight is above 0 and at most 1, at is a date as export writes it"
        ) from None
    if not 0 < weight <= 1:
        raise UsageError(f"{where}: a weight is above 0 and at most 1", "mend that line")
    if not notes.is_time(at, time.time()):
        raise UsageError(f"{where}: at is not before 1970, and not later than now", "mend that line")
    return content, verdict == "keep", weight, at, agrees


def _seconds(text: str | None) -> float:
    if not text:
        return 0.0
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
