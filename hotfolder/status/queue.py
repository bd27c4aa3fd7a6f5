"""The queue as it is told while nobody works on it."""

from __future__ import annotations

from collections.abc import Mapping


def at_rest(states: Mapping[str, int]) -> dict[str, int]:
    """How many jobs of a kind are in each state, where no daemon is at work: none is in work.

    The ledger has those as `running` that were in work when a daemon was killed, until the next one puts them back
    into the queue: they wait.
    """
    return {**states, "queued": states["queued"] + states["running"], "running": 0}
