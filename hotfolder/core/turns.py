"""Whose turn it is: kinds of work, and their models, take turns on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from hotfolder.types import Group

#: A turn lasts so many seconds at least, so that batches are full, also where the next one costs nothing.
_LEAST = 1.0
#: Who has waited for so many times `fairness_seconds` goes before those with a priority.
_PATIENCE = 2.0
#: So many batches in a row of what goes first are followed by one of the oldest of the same group.
_FIRST_IN_A_ROW = 3


class Turns:
    """Remembers who had the device when, and which models had to be loaded again. The clock (seconds) is an argument.

    Work of another kind comes soon, so that results do: after `_LEAST` where its model is still loaded, or never was.
    Where models push each other out of the memory, and among models of one kind, a turn lasts `fairness_seconds`: so
    no model is loaded more often than once in that time.

    Who has something with a priority goes next when a turn is over; no turn is cut short for it, and nobody waits for
    ever.
    """

    def __init__(self) -> None:
        self._current: Group | None = None
        self._since = 0.0
        self._is_first = False  # no batch of the current turn has ended
        self._gave_up: Group | None = None
        self._waits_since: dict[Group, float] = {}  # of those who have something to do, and no turn
        self._in_a_row: dict[Group, int] = {}  # batches that were led by what goes first
        self._loaded: set[Group] = set()
        self._pushed_out: set[Group] = set()  # had to be loaded again when it was asked for last

    @property
    def current(self) -> Group | None:
        return self._current

    def choose(
        self,
        waiting: Sequence[Group],
        now: float,
        fairness_seconds: float,
        priorities: Mapping[Group, float] = MappingProxyType({}),
    ) -> Group | None:
        """Who goes next, of those who have something to do, in the order of their oldest jobs.

        `priorities`: the highest of each that has something which goes before others.
        """
        self._waits_since = {g: self._waits_since.get(g, now) for g in waiting if g != self._current}
        if self._current in waiting:
            due = [
                g for g in waiting if g != self._current and now - self._since >= self._turn(g, fairness_seconds)
            ]
        else:
            due = list(waiting)

        def order(group: Group) -> tuple[bool, float, float]:
            since = self._waits_since.get(group, now)
            is_overdue = now - since >= _PATIENCE * fairness_seconds
            priority = float("-inf") if is_overdue else -priorities.get(group, 0.0)
            return group == self._gave_up, priority, since

        return min(due, key=order, default=self._current if waiting else None)

    def oldest_lead(self, group: Group) -> bool:
        """Whether the next batch of it is one of its oldest jobs, whatever goes first."""
        return self._in_a_row.get(group, 0) >= _FIRST_IN_A_ROW

    def _turn(self, other: Group, fairness_seconds: float) -> float:
        """How long the current turn lasts when the other one waits."""
        current = self._current
        assert current is not None
        is_cheap = other[0] != current[0] and not {other, current} & self._pushed_out
        return min(_LEAST, fairness_seconds) if is_cheap else fairness_seconds

    def begin(self, group: Group, now: float, *, goes_first: bool = False) -> None:
        """A batch of it goes to the device; `goes_first`: one that is led by a job with a priority."""
        self._gave_up = None
        self._in_a_row[group] = self._in_a_row.get(group, 0) + 1 if goes_first else 0
        if group != self._current:
            self._end(now)
            self._current, self._since, self._is_first = group, now, True

    def loads(self, *, again: bool) -> None:
        """The current one's model was loaded, or (`again` is False) was there still; told after each batch."""
        group = self._current
        if group is None or not self._is_first:
            return
        self._is_first = False
        if again and group in self._loaded:
            self._pushed_out.add(group)
        elif not again:
            self._pushed_out.discard(group)
        self._loaded.add(group)

    def give_up(self, now: float) -> None:
        """The current turn is over: it failed, and the others go first."""
        self._gave_up = self._current
        self._end(now)

    def worker_ended(self, now: float) -> None:
        """Nothing is loaded any more."""
        self._end(now)
        self._loaded.clear()

    def _end(self, now: float) -> None:
        if self._current is not None:
            self._waits_since[self._current] = now
            self._current = None
