"""Is a worker at work, or does it hang? Decided from when it was last heard of."""

from __future__ import annotations

from collections.abc import Hashable

#: A worker may be silent for so many times longer than it usually is.
_TIMES = 10
#: The same of one that is to leave what it has in work.
_FEW_TIMES = 3
#: How much the latest silence counts in the running mean.
_WEIGHT = 0.2


class Heartbeat:
    """Keeps a running mean of the silences for each sort of work. The clock (seconds) is an argument."""

    def __init__(self, hang_seconds: float, load_seconds: float) -> None:
        self._hang_seconds = hang_seconds
        self._load_seconds = load_seconds
        self._means: dict[Hashable, float] = {}
        self._key: Hashable = None
        self._heard_at = self._moved_at = 0.0
        self._loading = True

    @property
    def loading(self) -> bool:
        """Whether nothing has been heard of this work yet but that a model is being loaded."""
        return self._loading

    def begin(self, key: Hashable, now: float) -> None:
        """Work of this sort was handed over."""
        self._key, self._heard_at, self._moved_at, self._loading = key, now, now, True

    def beat(self, now: float, *, loading: bool, moved: bool = True) -> None:
        """The worker was heard of; `moved`: it has got further, and does not just say that it lives."""
        silence = now - self._heard_at
        if not self._loading:
            mean = self._means.get(self._key, silence)
            self._means[self._key] = mean + _WEIGHT * (silence - mean)
        self._heard_at = now
        if moved:
            self._moved_at = now
        self._loading = self._loading and loading

    def is_stuck(self, now: float, since: float, patience: float) -> bool:
        """Whether it has not got further for so many seconds, at least from `since` on; never while it loads."""
        allowed = max(patience, _FEW_TIMES * self._means.get(self._key, 0.0))
        return not self._loading and now - max(self._moved_at, since) > allowed

    def too_long(self, now: float) -> float | None:
        """How long it has been silent, in seconds, when that is too long."""
        allowed = self._load_seconds
        if not self._loading:
            allowed = max(self._hang_seconds, _TIMES * self._means.get(self._key, 0.0))
        silence = now - self._heard_at
        return silence if silence > allowed else None
