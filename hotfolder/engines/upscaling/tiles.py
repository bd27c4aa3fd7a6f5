"""Where tiles lie, what the network sees of each, and how they are joined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one axis, in input pixels: `start` to `stop` is the tile's own, the rest is for its edges."""

    start: int
    stop: int
    window: int  # where what the network sees begins
    seen: int  # how long that is
    keep_from: int  # from here to keep_to it gives pixels: beyond its own where tiles are blended
    keep_to: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """Sizes in input pixels. The network sees `tile` + 2 `overlap`; neighbours share 2 `blend` of the result."""

    tile: int  # at most: tiles are made even
    overlap: int
    blend: int
    multiple: int = 1  # of which positions have to be
    fixed: bool = False  # all windows of one size: they can share a batch, and are compiled once

    def at_most(self, tile: int) -> Tiling:
        """The same with tiles that are no larger than this."""
        return self if tile >= self.tile else replace(self, tile=tile, blend=min(self.blend, tile // 4))

    def spans(self, length: int) -> Iterator[Span]:
        """Tiles along an axis of `length`.

        At a border nothing is added: the network sees the border itself there, as it does when it sees the whole
        picture. There a window is shorter, or moved inside where sizes are `fixed`.
        """
        tiles = max(1, -(-length // self.tile))
        step = -(-length // (tiles * self.multiple)) * self.multiple
        seen = min(step + 2 * self.overlap, length)
        for start in range(0, length, step):
            stop = min(start + step, length)
            if self.fixed:
                window = min(max(0, start - self.overlap), length - seen)
                window_end = window + seen
            else:
                window, window_end = max(0, start - self.overlap), min(length, stop + self.overlap)
            keep_from = max(0, start - self.blend)
            keep_to = min(length, stop + self.blend)
            yield Span(start, stop, window, window_end - window, keep_from, keep_to)


def ramp(span: Span, blend: int, length: int, scale: int) -> list[float]:
    """The weight of each output pixel that a span keeps: neighbours' weights add up to 1.

    Linear over the 2 `blend` pixels around an inner edge, 1 elsewhere.
    """
    weights = []
    for position in range(span.keep_from * scale, span.keep_to * scale):
        at = (position + 0.5) / scale
        rising = 1.0 if span.start == 0 or not blend else (at - (span.start - blend)) / (2 * blend)
        falling = 1.0 if span.stop == length or not blend else ((span.stop + blend) - at) / (2 * blend)
        weights.append(max(0.0, min(1.0, rising)) * max(0.0, min(1.0, falling)))
    return weights
