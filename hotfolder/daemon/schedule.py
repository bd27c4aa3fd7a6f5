"""When the inboxes are read: by events, and otherwise now and then, but never all the time."""

from __future__ import annotations

#: After a scan, events cause no other one for so many times what it took.
_SCAN_SHARE = 9
#: Without any event, the next scan waits for so many times what the last one took.
_RESCAN_SHARE = 200


class ScanSchedule:
    """All moments are of the monotonic clock, in seconds: a clock that is set does not keep scans from happening."""

    def __init__(self) -> None:
        self._next = self._not_before = 0.0

    def is_due(self, now: float, *, woken: bool) -> bool:
        """`woken`: some event has told that something may have changed."""
        return now >= self._next or (woken and now >= self._not_before)

    def due_at(self, *, woken: bool) -> float:
        return self._not_before if woken else self._next

    def begin(self, now: float, pause_seconds: float) -> None:
        """A scan begins: should it not come to its end, not again at once."""
        self._next = now + pause_seconds

    def end(self, began: float, now: float, every_seconds: float, *, events_come: bool) -> None:
        """It took from `began` to `now`; `every_seconds` is how often it is wanted without an event."""
        took = now - began
        # Our own moves cause events, too: a huge inbox is not read again for each of them.
        self._not_before = now + _SCAN_SHARE * took
        self._next = began + max(every_seconds, (_RESCAN_SHARE if events_come else _SCAN_SHARE) * took)
