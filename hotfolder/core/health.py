"""Whether a device may be given work: one that fails is set aside, and tried again after waits that grow."""

from __future__ import annotations

#: Seconds that a device is set aside for at most. One that has not worked for longer was tried again and again.
LONGEST = 1800.0
#: So many jobs in a row that run out of memory, or workers that die, and it is the device's fault.
IN_A_ROW = 3


class Health:
    """Of one device. The clock (seconds) is an argument."""

    def __init__(self, first_wait: float) -> None:
        """`first_wait`: seconds for which it is set aside first; each further time it is twice as long."""
        self.first_wait = first_wait
        self._times = 0
        self._until: float | None = None
        self._since: float | None = None  # when it was set aside first, after it had worked
        self._in_a_row: dict[str, int] = {}
        self.reason = ""  # why it is, or was, set aside; empty once it has done something since

    def set_aside(self, why: str, now: float, *, grows: bool = True) -> float:
        """Gives the seconds until it is tried again; `grows`: it counts for how long it is next time."""
        wait = min(LONGEST, self.first_wait * 2**self._times)
        self._times += grows
        was_long_able = self._until is not None and now - self._until > LONGEST
        if self._since is None or was_long_able:  # nothing was asked of it meanwhile
            self._since = now
        self._until, self.reason = now + wait, why
        self._in_a_row.clear()
        return wait

    def failed(self, how: str) -> bool:
        """A job failed in a way that may be the device's fault: whether that is enough to say so."""
        self._in_a_row[how] = self._in_a_row.get(how, 0) + 1
        return self._in_a_row[how] >= IN_A_ROW

    def forgive(self, how: str) -> None:
        """What failed in this way was not the device's fault."""
        self._in_a_row.pop(how, None)

    def worked(self) -> bool:
        """A job was done on it. Whether it comes back with that, after it was set aside."""
        is_back = bool(self.reason)
        self._times, self._until, self._since, self.reason = 0, None, None, ""
        self._in_a_row.clear()
        return is_back

    def back_in(self, now: float) -> float | None:
        """Seconds until it is tried again; None when it is not set aside."""
        return None if self._until is None or now >= self._until else self._until - now

    def out_for(self, now: float) -> float | None:
        """Seconds since it was set aside first and has done nothing, trials with it; None where it is well."""
        return None if self._since is None else now - self._since

    def try_now(self) -> None:
        """A person says that it is mended."""
        self._until = self._since = None
