"""Whose turn it is: kinds of work, and their models, take turns on the device."""

from __future__ import annotations

from collections.abc import Sequence

from hotfolder.types import Kind

#: Jobs of one kind for one model.
Group = tuple[Kind, str]
#: A turn lasts so many seconds at least, so that batches are full, also where the next one costs nothing.
_LEAST = 1.0


class Turns:
    """Remembers who had the device when, and which models had to be loaded again. The clock (seconds) is an argument.

    Work of another kind comes soon, so that results do: after `_LEAST` where its model is still loaded, or never was.
    Where models push each other out of the memory, and among models of one kind, a turn lasts `fairness_seconds`: so
    no model is loaded more often than once in that time.
    """

    def __init__(self) -> None:
        self._current: Group | None = None
        self._since = 0.0
        self._is_first = False  # no batch of the current turn has ended
        self._ended: dict[Group, float] = {}  # when its last turn ended
        self._loaded: set[Group] = set()
        self._pushed_out: set[Group] = set()  # had to be loaded again when it was asked for last

    @property
    def current(self) -> Group | None:
        return self._current

    def choose(self, waiting: Sequence[Group], now: float, fairness_seconds: float) -> Group | None:
        """Who goes next, of those who have something to do, in the order of their oldest jobs."""
        if self._current in waiting:
            due = [
                g for g in waiting if g != self._current and now - self._since >= self._turn(g, fairness_seconds)
            ]
        else:
            due = list(waiting)
        # Who has waited longest; who never had a turn has waited since its oldest job came.
        return min(
            due, key=lambda g: self._ended.get(g, float("-inf")), default=self._current if waiting else None
        )

    def _turn(self, other: Group, fairness_seconds: float) -> float:
        """How long the current turn lasts when the other one waits."""
        current = self._current
        assert current is not None
        is_cheap = other[0] != current[0] and not {other, current} & self._pushed_out
        return min(_LEAST, fairness_seconds) if is_cheap else fairness_seconds

    def begin(self, group: Group, now: float) -> None:
        """A batch of it goes to the device."""
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
        self._end(now)

    def worker_ended(self, now: float) -> None:
        """Nothing is loaded any more."""
        self._end(now)
        self._loaded.clear()

    def _end(self, now: float) -> None:
        if self._current is not None:
            self._ended[self._current] = now
            self._current = None
