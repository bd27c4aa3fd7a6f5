"""Learning as a whole: from the ledger to a head's file, and to what is known, as a document."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from hotfolder.errors import ModelDamaged
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import Layout
from hotfolder.ledger.labels import LabelReader
from hotfolder.models import taste_heads
from hotfolder.models.taste_heads import Facts, Head
from hotfolder.taste import notes
from hotfolder.taste.gathering import Gathered, gather
from hotfolder.taste.in_use import InUse
from hotfolder.taste.learning import Check, Learnt, Level, Threshold, learn
from hotfolder.taste.reports import place, report_name
from hotfolder.taste.subject import Subject
from hotfolder.taste.watching import Watch, watch


@dataclass(frozen=True, slots=True)
class Trained:
    """What is known of a taste. `head`: the one that is offered, by name; `fallback`: the person's threshold alone,
    where the verdicts draw one."""

    gathered: Gathered
    learnt: Learnt
    offered: Head | None
    fallback: Head | None
    watch: Watch | None
    up_to: tuple[int, int]  # the last verdict and the last look that it knows of


def study(layout: Layout, reader: LabelReader, subject: Subject) -> Trained:
    """Learns from all that is known; writes nothing. Raises LedgerError."""
    up_to = reader.last_said()  # first: what is said meanwhile counts the next time
    gathered = gather(reader, subject, notes.of_inbox(layout, subject.inbox))
    learnt = learn(gathered.evidence)
    offered = made(gathered, learnt, learnt.level) if learnt.level is not Level.GATE else None
    has_line = learnt.threshold is not None and learnt.threshold.is_line
    fallback = made(gathered, learnt, Level.THRESHOLD) if has_line else None
    stored = [head for _, head in stored_heads(layout, subject.inbox)]
    own = (gathered.encoder, subject.prior)
    seen = watch(gathered.evidence, [head for head in stored if (head.facts.encoder, head.facts.prior) == own])
    return Trained(gathered, learnt, offered, fallback, seen, up_to)


def save(layout: Layout, trained: Trained, most: int) -> str | None:
    """Writes the head that is offered, and the report; older heads but `most` go. Gives its name. Raises OSError."""
    subject, name = trained.gathered.subject, None
    if trained.offered is not None:
        name = write(layout, trained.offered)
    text = json.dumps(report(trained, name), indent=1, sort_keys=True) + "\n"
    with Beneath(layout.root) as beneath:
        beneath.write(place(layout, report_name(subject.inbox)), text)
    _prune(layout, subject.inbox, most, {name})
    return name


def write(layout: Layout, head: Head) -> str:
    """Gives the name of its file. Raises OSError."""
    name, content = taste_heads.packed(head)
    with Beneath(layout.root) as beneath:
        beneath.write(place(layout, name + taste_heads.ENDING), content)
    return name


def name_of(head: Head) -> str:
    """As its file is called, or will be."""
    return taste_heads.packed(head)[0]


def made(gathered: Gathered, learnt: Learnt, level: Level) -> Head:
    """The head of a level. There has to be a space."""
    space, evidence, threshold = learnt.space, gathered.evidence, learnt.threshold
    assert space is not None and threshold is not None and gathered.encoder is not None
    assert evidence.newest is not None
    subject, check = gathered.subject, learnt.check
    directed = level is Level.DIRECTION
    if directed:
        a, c, u = float(learnt.parameters[0]), float(learnt.parameters[1]), learnt.parameters[2:]
    else:
        a, c, u = threshold.a, threshold.c, np.zeros(space.axes.shape[1])
    points = space.spread / a
    weight = (space.weight(u) * points).astype(np.float32)
    # Of a threshold beside a direction there is none: what was found is the direction's.
    calibration = learnt.calibration if directed or learnt.level is not Level.DIRECTION else None
    facts = Facts(
        inbox=subject.inbox,
        level=level.value,
        encoder=gathered.encoder,
        prior=subject.prior,
        keep=subject.keep,
        spread=space.spread,
        labels=len(evidence.labels),
        pairs=len(evidence.pairs),
        digest=evidence.digest,
        learnt_at=evidence.newest,
        strength=check.strength if directed and check else None,
        a=a,
        c=c,
        own_a=threshold.a,
        own_c=threshold.c,
        offset=points * c,
        threshold=threshold.at,
        threshold_lowest=threshold.lowest,
        threshold_highest=threshold.highest,
        auc=check.auc if directed and check else None,
        auc_error=check.auc_error if directed and check else None,
        prior_auc=check.prior_auc if check else None,
        sureness=check.sureness if directed and check else None,
        brier=calibration.brier if calibration else None,
        calibration=(calibration.slope, calibration.offset) if calibration else None,
        is_floored=directed and learnt.is_floored,
    )
    return Head(facts, weight, -float(weight.astype(np.float64) @ space.mean))


def stored_heads(layout: Layout, inbox: str) -> Iterator[tuple[str, Head]]:
    """Every head of an inbox that can be read, the one of the newest labels last."""
    found = []
    for path in layout.tastes.glob(f"*{taste_heads.ENDING}"):
        if taste_heads.inbox_of(path.stem) == inbox:
            try:
                found.append((path.stem, taste_heads.read(path)))
            except ModelDamaged:
                continue
    yield from sorted(found, key=lambda each: (each[1].facts.learnt_at, each[0]))


def report(trained: Trained, head: str | None) -> dict[str, Any]:
    """What is known, how sure it is, and how many more labels are wanted; no number that is not finite."""
    gathered, learnt, evidence = trained.gathered, trained.learnt, trained.gathered.evidence
    threshold, calibration = learnt.threshold, learnt.calibration
    return {
        "inbox": gathered.subject.inbox,
        "prior": gathered.subject.prior,
        "encoder": gathered.encoder,
        "keep": gathered.subject.keep,
        "labels": len(evidence.labels),
        "kept": evidence.kept,
        "rejected": evidence.rejected,
        "agreeing": _number(evidence.agreeing),
        "pairs": len(evidence.pairs),
        "unseen": gathered.unseen,
        "digest": evidence.digest,
        "level": learnt.level.value,
        "offered": head,
        "threshold": _threshold(threshold),
        "draws_line": None if threshold is None else threshold.is_line,
        "direction": _check(learnt.check),
        "direction_ten_ago": _check(learnt.check_before),
        "why_not_more": learnt.why_not_more,
        "more": learnt.more,
        "prior_counts_least": learnt.is_floored if learnt.level is Level.DIRECTION else False,
        "calibration": None
        if calibration is None
        else {
            "brier": calibration.brier,
            "bins": [
                {"labels": count, "said": _number(said), "kept": _number(kept)}
                for count, said, kept in calibration.table
            ],
        },
        "lately": None if trained.watch is None else trained.watch.told(),
        "learnt_at": _date(evidence.newest),
        "up_to": list(trained.up_to),
    }


def _threshold(threshold: Threshold | None) -> dict[str, float] | None:
    if threshold is None or not threshold.is_line:
        return None
    lowest, highest = threshold.interval
    return {"at": threshold.at, "lowest": lowest, "highest": highest}


def _check(check: Check | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "labels": check.labels,
        "lambda": check.strength,
        "auc": _number(check.auc),
        "auc_error": _number(check.auc_error),
        "prior_auc": _number(check.prior_auc),
        "gain": _number(check.gain),
        "sureness": _number(check.sureness),
        "passes": check.passes,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _date(moment: float | None) -> str | None:
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds") if moment is not None else None
    except (ValueError, OverflowError, OSError):
        return None  # a picture or a note with a date that no calendar has


def _prune(layout: Layout, inbox: str, most: int, wanted: set[str | None]) -> None:
    in_use = set(InUse(layout.root).heads().values())
    names = [name for name, _ in stored_heads(layout, inbox)]
    with Beneath(layout.root) as beneath:
        for name in names[:-most]:
            if name not in in_use | wanted:
                beneath.unlink(place(layout, name + taste_heads.ENDING))
