"""How a transition is written into the journal, and read again. The form has a version."""

from __future__ import annotations

import json
from typing import Any, get_args

from pydantic import TypeAdapter

from hotfolder.errors import LedgerError
from hotfolder.ledger.journal import Entry
from hotfolder.publishing import entries_v1, entries_v2, entries_v3, entries_v4
from hotfolder.transitions import OfJob, Transition

#: Goes up whenever an entry that was written before could no longer be read. What is read of older ones has a module
#: of its own.
VERSION = 5
_ADAPTERS: dict[str, TypeAdapter[Any]] = {kind.__name__: TypeAdapter(kind) for kind in get_args(Transition)}


class UnreadableEntry(Exception):
    """An entry does not say what this version understands. The message says why."""


def encode(transition: Transition) -> Entry:
    kind = type(transition).__name__
    body = _ADAPTERS[kind].dump_json(transition).decode()
    job_id = transition.job_id if isinstance(transition, OfJob) else None
    return Entry(VERSION, f'{{"kind":"{kind}","transition":{body}}}', job_id)


def decode(version: int, text: str) -> Transition:
    """Raises UnreadableEntry; LedgerError for one of a newer version of this program."""
    if version > VERSION:
        raise LedgerError(
            f"the journal was written by a newer hotfolder (version {version}, this one reads up to {VERSION})",
            "start the newer one, which finishes what it began",
        )
    try:
        told = json.loads(text)
        if version == 1:
            return entries_v1.to_transition(told)
        if version == 2:
            told = entries_v2.completed(told)
        if version <= 3:
            told = entries_v3.completed(told)
        if version <= 4:
            told = entries_v4.completed(told)
        adapter = _ADAPTERS[told["kind"]]
        transition: Transition = adapter.validate_json(json.dumps(told["transition"]))
        if json.loads(adapter.dump_json(transition)) != told["transition"]:
            # A field that is not known would be dropped without a word.
            raise ValueError(f"it says more of '{told['kind']}' than is understood")
    except (ValueError, TypeError, LookupError, RecursionError) as error:  # ValidationError is a ValueError
        raise UnreadableEntry(f"{type(error).__name__}: {error}") from error
    return transition
