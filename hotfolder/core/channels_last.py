"""In which order a network keeps the values of a picture: what was found out about it, as it is remembered.

Usually all values of one channel lie together; with channels last, all values of one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: Where it is remembered, in the user's cache.
FILE = "channels-last.json"
#: What can have an order of its own: the network that takes the noise away, and what makes pixels of latents.
PARTS = ("denoiser", "vae")
#: Another order is taken where it is so many times as fast; less may be chance.
MARGIN = 1.05


@dataclass(frozen=True, slots=True)
class Trial:
    """Of one part: seconds of one call in either order, and whether both gave the same but for a grey level."""

    usual: float
    channels_last: float
    is_same: bool

    @property
    def is_better(self) -> bool:
        return self.is_same and MARGIN * self.channels_last <= self.usual

    def numbers(self, part: str) -> dict[str, int]:
        """As it is remembered, in microseconds."""
        return {
            part: int(self.is_better),
            f"{part}_usual_us": round(1e6 * self.usual),
            f"{part}_channels_last_us": round(1e6 * self.channels_last),
            f"{part}_same": int(self.is_same),
        }


def key(device: str, model: str, how: str, width: int, height: int) -> str:
    """Of a model, by its fingerprint, on a device, by its name; `how` is what else changes how fast it is."""
    return f"{device}|{model}|{how}|{width}x{height}"


def read_key(key: str) -> tuple[str, str, str]:
    """Device, model, and what follows, for people."""
    device, _, rest = key.partition("|")
    model, _, how = rest.partition("|")
    return device, model, how.replace("|", ", ")


def told(entry: Mapping[str, int]) -> str:
    """What was found, in words; '' where nothing was."""
    return "; ".join(_sentences(entry))


def _sentences(entry: Mapping[str, int]) -> Iterator[str]:
    for part in PARTS:
        if part not in entry:
            continue
        usual, last = (entry.get(f"{part}_{order}_us", 0) / 1000 for order in ("usual", "channels_last"))
        if entry[part]:
            yield f"{part} with channels last, {last:.4g} ms a call instead of {usual:.4g}"
        elif not entry.get(f"{part}_same"):
            yield f"{part} in the usual order: with channels last its pictures would differ"
        else:
            yield f"{part} in the usual order, {usual:.4g} ms a call, with channels last {last:.4g}"
