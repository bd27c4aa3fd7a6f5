"""What the ledger knows of a person's taste in one inbox, as evidence."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotfolder.ledger.labels import LabelReader
from hotfolder.taste.evidence import Evidence, Label, Pair
from hotfolder.taste.notes import Notes
from hotfolder.taste.subject import Subject

#: Pictures whose embeddings say in which directions the library differs: the newest.
MOST_LIBRARY = 10_000
#: Files that were moved so many seconds apart were moved in one sitting: what lies between them was looked at.
_SITTING = 30 * 60
#: What lay between and was left counts for less: perhaps it was not looked at. Never less than this (docs/taste.md).
_LEFT_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Gathered:
    """`encoder`: which embeddings; None where there are none. `unseen`: labels of pictures without one, or a score."""

    subject: Subject
    encoder: str | None
    evidence: Evidence
    images: Mapping[str, int]  # content -> the newest image with it
    unseen: int


def gather(reader: LabelReader, subject: Subject, notes: Notes, most: int = MOST_LIBRARY) -> Gathered:
    """All that counts for one inbox, with at most so many pictures beside the judged ones. Raises LedgerError."""
    labels = list(_labels(reader, subject, notes))
    contents = [each.content for each in notes.labels] + [each.winner for each in notes.pairs]
    contents += [label.content for label in labels] + [each.loser for each in notes.pairs]
    rows = {row["sha256"]: row for row in reader.newest_of_contents(sorted(set(contents)))}
    encoder = reader.encoder(subject.inbox, subject.encoder)
    if encoder is None:
        unseen = len({label.content for label in labels} | {each.content for each in notes.labels} & rows.keys())
        return Gathered(subject, None, Evidence.of({}, subject.keep, []), {}, unseen)
    # Scores of different versions are not to be compared: those of another one count as not seen.
    version = reader.version(subject.inbox, subject.prior)
    stored = reader.library(subject.inbox, encoder, subject.prior, version, most)
    known = {row["sha256"] for row in stored}
    missing = [row["image_id"] for sha256, row in rows.items() if sha256 not in known]
    stored += reader.embedded_among(missing, encoder, subject.prior, version)
    library: dict[str, tuple[NDArray[np.float32], float]] = {}
    images: dict[str, int] = {}
    for row in stored:
        vector = np.frombuffer(row["vector"], "<f2").astype(np.float32)
        if row["prior"] is None or not np.isfinite(vector).all():
            continue
        if row["sha256"] not in library or row["image_id"] > images[row["sha256"]]:
            library[row["sha256"]] = (vector, float(row["prior"]))
            images[row["sha256"]] = row["image_id"]
    widths = {len(vector) for vector, _ in library.values()}
    if len(widths) > 1:  # a file from elsewhere was put in the place of the database
        library = {}
    pairs = [
        Pair(each.winner, each.loser, _group(rows[each.winner]), each.at)
        for each in notes.pairs
        if each.winner in rows
    ]
    labels += _brought(subject, notes, rows, library)
    evidence = Evidence.of(library, subject.keep, labels, pairs)
    unseen = len({label.content for label in labels} - library.keys())
    return Gathered(subject, encoder, evidence, images, unseen)


def _labels(reader: LabelReader, subject: Subject, notes: Notes) -> Iterator[Label]:
    """The newest of a picture is found out later."""
    said = reader.said(subject.inbox, notes.since)
    for row in said:
        yield _label(row, 1.0)
    for row in reader.looked_at(subject.inbox, notes.since):
        yield _label(row, float(row["weight"]))
    moved = [row for row in said if row["how"] == "moved" and row["path_before"]]
    brought = {each.content for each in notes.labels}
    for first, last, when in _sittings(moved):
        for row in reader.lay_between(first, last, when):
            if row["sha256"] not in brought and _is_of(subject.inbox, row["source_file"]):
                # Not newer than a word on another image with the same content: that counts first.
                label = _label({**row, "created_at": when - _SITTING}, _LEFT_WEIGHT)
                # Of an old verdict the threshold is not known: it was the gate's all the same.
                yield label if row["gate_keep"] is not None else replace(label, agrees=True)


def _brought(
    subject: Subject,
    notes: Notes,
    rows: Mapping[str, Mapping[str, Any]],
    library: Mapping[str, tuple[NDArray[np.float32], float]],
) -> Iterator[Label]:
    """Labels from elsewhere. Where they do not say whether the gate had said the same, its score of today does."""
    for each in notes.labels:
        if each.content not in rows:
            continue
        agrees = each.agrees
        if agrees is None:
            known = each.content in library
            agrees = known and (library[each.content][1] >= subject.keep) == each.keep
        yield Label(each.content, each.keep, each.weight, _group(rows[each.content]), each.at, agrees)


def _label(row: Mapping[str, Any], weight: float) -> Label:
    keep = row["verdict"] == "keep"
    known = row["score"] is not None and row["gate_keep"] is not None
    agrees = known and (row["score"] >= row["gate_keep"]) == keep
    return Label(row["sha256"], keep, weight, _group(row), float(row["created_at"]), agrees)


def _sittings(moved: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, float]]:
    """The first and the last path of files that were moved out of a folder in one sitting, and when it began."""

    def folder(row: Mapping[str, Any]) -> str:
        return str(row["path_before"]).rpartition("/")[0]

    for _, rows in itertools.groupby(sorted(moved, key=lambda row: (folder(row), row["created_at"])), folder):
        sitting: list[Mapping[str, Any]] = []
        for row in rows:
            if sitting and row["created_at"] - sitting[-1]["created_at"] > _SITTING:
                yield _ends(sitting)
                sitting = []
            sitting.append(row)
        yield _ends(sitting)


def _ends(sitting: list[Mapping[str, Any]]) -> tuple[str, str, float]:
    paths = sorted(str(row["path_before"]) for row in sitting)
    return paths[0], paths[-1], float(sitting[0]["created_at"])


def _group(row: Mapping[str, Any]) -> str:
    """What it comes from: pictures of one prompt, and what was enlarged from one, are never on both sides."""
    return str(row["prompt"] or row["source_file"] or row["sha256"])


def _is_of(inbox: str, source_file: str | None) -> bool:
    return str(source_file or "").startswith(f"inbox/{inbox}/")
