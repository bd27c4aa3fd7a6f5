"""Why a picture has the score that it has by a taste: three parts that sum to it, and pictures that it is like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hotfolder.folders.layout import Layout
from hotfolder.ledger.labels import LabelReader
from hotfolder.models import taste_heads
from hotfolder.models.taste_heads import Head
from hotfolder.taste import notes
from hotfolder.taste.gathering import Gathered, gather
from hotfolder.taste.subject import Subject

#: Pictures of a person's own that are named, of each side.
_NEAREST = 3
#: Points around a threshold within which pictures are worth comparing, and how many of them are looked at.
_REACH, _MOST_CLOSE, _OF_A_SET, _MOST_SETS = 0.75, 400, 4, 20


def explained(
    layout: Layout, reader: LabelReader, subject: Subject, name: str, image_id: int
) -> dict[str, Any] | None:
    """By the head of this name; None where no embedding of the picture, or no score, is stored for it.

    Raises ModelMissing, ModelDamaged, LedgerError.
    """
    head = taste_heads.read(taste_heads.path_of(layout.tastes, name))
    facts = head.facts
    stored = reader.embedded_among([image_id], facts.encoder, facts.prior)
    if not stored or stored[0]["prior"] is None:
        return None
    vector = np.frombuffer(stored[0]["vector"], "<f2").astype(np.float32)
    if len(vector) != len(head.weight):
        return None
    prior, personal = float(stored[0]["prior"]), head.personal(vector)
    score = prior + facts.offset + personal
    return {
        "head": name,
        "score": score,
        "parts": [
            {"part": "score", "by": facts.prior, "points": prior},
            {"part": "threshold", "points": facts.offset},
            {"part": "personal", "points": personal},
        ],
        "chance": head.chance(score),
        "kept_at_keep_up_to": score,
        "keep": subject.keep,
        **_nearest(layout, reader, subject, head, stored[0]["sha256"], vector),
    }


def close_sets(layout: Layout, reader: LabelReader, subject: Subject, keep: float) -> list[list[int]]:
    """Two to four pictures of one prompt each, whose scores are nearest to a threshold, and not compared yet."""
    known = {frozenset((pair.winner, pair.loser)) for pair in notes.of_inbox(layout, subject.inbox).pairs}
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for row in reader.close_calls(subject.inbox, keep, _REACH, _MOST_CLOSE):
        chosen = by_prompt.setdefault(row["prompt"], [])
        is_new = all(
            each["sha256"] != row["sha256"] and frozenset((each["sha256"], row["sha256"])) not in known
            for each in chosen
        )
        if len(chosen) < _OF_A_SET and is_new:
            chosen.append(row)
    sets = [[int(row["id"]) for row in chosen] for chosen in by_prompt.values() if len(chosen) > 1]
    return sets[:_MOST_SETS]


def _nearest(
    layout: Layout, reader: LabelReader, subject: Subject, head: Head, content: str, vector: np.ndarray
) -> dict[str, Any]:
    """The nearest of what the person kept, and of what was rejected, in what counts for the taste."""
    subject = replace(subject, prior=head.facts.prior)
    gathered = gather(reader, subject, notes.of_inbox(layout, subject.inbox), most=0)
    labels = [label for label in gathered.evidence.labels if label.content != content]
    if not labels or gathered.encoder != head.facts.encoder:
        return {"like_kept": [], "like_rejected": []}
    found = _likeness(gathered, [label.content for label in labels], head, vector)
    order = np.argsort(-found, kind="stable")
    sides: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for place in order:
        side = sides[labels[place].keep]
        if len(side) < _NEAREST:
            side.append({"id": gathered.images[labels[place].content], "likeness": float(found[place])})
    return {"like_kept": sides[True], "like_rejected": sides[False]}


def _likeness(gathered: Gathered, contents: Sequence[str], head: Head, vector: np.ndarray) -> np.ndarray:
    """(n,) cosines, each number weighed by how much it counts; all alike where there is no direction."""
    evidence = gathered.evidence
    places = {each: place for place, each in enumerate(evidence.contents)}
    rows = evidence.vectors[[places[content] for content in contents]].astype(np.float64)
    mean = evidence.vectors.mean(axis=0, dtype=np.float64)
    weight = np.abs(head.weight.astype(np.float64))
    weight = weight if weight.any() else np.ones_like(weight)
    ones, other = (rows - mean) * weight, (vector - mean) * weight
    lengths = np.linalg.norm(ones, axis=1) * np.linalg.norm(other)
    return ones @ other / np.maximum(lengths, 1e-12)
