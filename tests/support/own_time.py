"""Time that passes only while devices work: as much of it on a slow machine, or one with other work, as on any."""

from __future__ import annotations

import time

import pytest

from hotfolder.bench import asleep
from hotfolder.daemon import choice, device_work, devices, dispatcher, forecast


class OwnTime:
    """Takes the place of the module `time` where it is measured how long devices take."""

    time = staticmethod(time.time)

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (asleep, choice, device_work, devices, dispatcher, forecast):
            monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)

    def wall(self) -> float:
        """A clock for the daemon, which goes on also while no device works."""
        return time.time() + self.now
