"""How hot a card is: one that is hotter than is wanted works no further until it has cooled."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from hotfolder.errors import DeviceTooHot

#: Degrees below the limit to which a card that was too hot has to cool.
COOLER = 5
#: Seconds between two looks.
_EVERY = 1.0


def temperature_of(device: torch.device) -> int:
    """In °C; 0 where it is not known: a CPU's, and a card's without the package nvidia-ml-py."""
    if device.type != "cuda":
        return 0
    try:
        return int(torch.cuda.temperature(device))
    except Exception:  # noqa: BLE001 - no package, no such sensor, or no permission: whatever it is, work goes on
        return 0


class Heat:
    """Of one device. `ask` and the clock (seconds) may be others in tests."""

    def __init__(
        self,
        limit: int,
        ask: Callable[[torch.device], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit` in °C; 0: none."""
        self._limit, self._ask, self._clock = limit, ask or temperature_of, clock
        self._asked_at = float("-inf")
        self._found = 0
        self._was_hot = False

    def now(self, device: torch.device) -> int:
        """In °C, not older than a second; 0: not known."""
        if self._clock() - self._asked_at >= _EVERY:
            self._found, self._asked_at = self._ask(device), self._clock()
        return self._found

    def is_too_hot(self, device: torch.device) -> bool:
        """Whether nothing is to be begun; once it was, it is until it has cooled by some degrees."""
        if not self._limit:
            return False
        bound = self._limit - COOLER if self._was_hot else self._limit
        self._was_hot = self.now(device) > bound
        return self._was_hot

    def check(self, device: torch.device) -> None:
        """Raises DeviceTooHot."""
        if self.is_too_hot(device):
            raise DeviceTooHot(
                f"the device is too hot: {self._found} °C, where {self._limit} are allowed; it goes on at "
                f"{self._limit - COOLER}",
                "see to its cooling, or raise executor.max_temperature",
            )
