"""What a person said that is no verdict: pairs, labels from elsewhere, and since when anything counts.

One file a root, that only the daemon writes: it is asked by commands. Pictures are named by their content, so that a
rebuilt database knows them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from hotfolder.errors import HotfolderError
from hotfolder.files.beneath import Beneath, open_below
from hotfolder.folders.layout import Layout
from hotfolder.taste.reports import place

log = logging.getLogger(__name__)
_FILE = "notes.json"
_MOST_BYTES = 64 * 2**20
#: Pairs, and labels from elsewhere, that are kept of an inbox: the newest.
_MOST = 10_000
#: A clock may be wrong by as much: what was said later than that was not said.
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class SaidPair:
    """One picture was found better than another."""

    winner: str  # sha256
    loser: str
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class SaidLabel:
    """A label that was brought from elsewhere."""

    content: str
    keep: bool
    weight: float
    at: float
    agrees: bool | None = None  # the gate had said the same; None: whoever brought it does not say


@dataclass(slots=True)
class Notes:
    """Of one inbox."""

    pairs: list[SaidPair] = field(default_factory=list)
    labels: list[SaidLabel] = field(default_factory=list)
    since: float = 0.0  # what was said before was forgotten


def is_time(at: float, now: float) -> bool:
    """Whether something may have been said then, in seconds since the epoch. 0: nobody knows when."""
    return 0 <= at <= now + _DAY


def read(layout: Layout) -> dict[str, Notes]:
    """By inbox, for those who only look: what cannot be read is said, and counts as nothing."""
    try:
        return _read(layout)
    except HotfolderError as error:
        log.error("%s; what it held does not count", error.message)
        return {}


def _read(layout: Layout) -> dict[str, Notes]:
    """For those who write: what cannot be read must not be replaced. Raises HotfolderError."""
    try:
        with open_below(layout.root, layout.tastes / _FILE) as file:
            said: Any = json.loads(file.read(_MOST_BYTES))
        return {
            str(inbox): Notes(
                [SaidPair(**each) for each in notes["pairs"]],
                [SaidLabel(**each) for each in notes["labels"]],
                float(notes["since"]),
            )
            for inbox, notes in said["inboxes"].items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HotfolderError(
            f"{place(layout, _FILE)} cannot be read: {getattr(error, 'strerror', None) or error}",
            "make it readable, take it from a backup, or move it away: then what it held does not count",
        ) from None


def of_inbox(layout: Layout, inbox: str) -> Notes:
    return read(layout).get(inbox) or Notes()


def add(layout: Layout, inbox: str, pairs: Iterable[SaidPair] = (), labels: Iterable[SaidLabel] = ()) -> int:
    """Adds what is not known yet; how much that was. Raises OSError, and HotfolderError where the file is damaged."""
    notes = _read(layout)
    own = notes.setdefault(inbox, Notes())
    # Of two pictures the newest word counts: whoever says the opposite has changed their mind.
    known = {frozenset((each.winner, each.loser)): each for each in own.pairs}
    fresh = []
    for pair in pairs:
        both = frozenset((pair.winner, pair.loser))
        if (before := known.pop(both, None)) is None or before.winner != pair.winner:
            fresh.append(pair)
            before = pair
        known[both] = before
    own.pairs = list(known.values())[-_MOST:]
    by_content = {each.content: each for each in own.labels}
    new = [each for each in labels if by_content.get(each.content) != each]
    by_content |= {each.content: each for each in new}
    own.labels = list(by_content.values())[-_MOST:]
    if fresh or new:
        _write(layout, notes)
    return len(fresh) + len(new)


def forget(layout: Layout, inbox: str, now: float) -> None:
    """From now on nothing of it is known: verdicts that were given before do not count. Raises as `add`."""
    notes = _read(layout)
    notes[inbox] = Notes(since=now)
    _write(layout, notes)


def _write(layout: Layout, notes: dict[str, Notes]) -> None:
    inboxes = {
        inbox: {
            "pairs": [asdict(each) for each in own.pairs],
            "labels": [asdict(each) for each in own.labels],
            "since": own.since,
        }
        for inbox, own in sorted(notes.items())
    }
    text = json.dumps({"version": 1, "inboxes": inboxes}, indent=0) + "\n"
    with Beneath(layout.root) as beneath:
        beneath.write(place(layout, _FILE), text)
