"""Planes of pictures on their way through a network: cut into windows, and put together of what comes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hotfolder.engines.device import free_memory, is_out_of_memory
from hotfolder.engines.transfer import sent
from hotfolder.engines.upscaling.network import Network, pad
from hotfolder.engines.upscaling.tiles import Span, Tiling, ramp

Pixels = NDArray[Any]
Owner = TypeVar("Owner")
#: Weights of edges that are kept on the device: a picture has a few kinds of tiles.
_MOST_RAMPS = 64
#: What results are fetched as: torch knows few operations on uint16.
_FETCHED: dict[Any, torch.dtype] = {np.uint8: torch.uint8, np.uint16: torch.int32, np.float32: torch.float32}


@dataclass(slots=True)
class _Strip:
    """A row of tiles that is being blended."""

    sums: torch.Tensor  # (c, rows, width) float32, in output pixels
    left: int  # tiles that are not done yet


@dataclass
class Plane(Generic[Owner]):
    """(h, w, c) pixels on their way, c is 1 or 3; `result` is ready when nothing is `left`."""

    owner: Owner
    pixels: Pixels  # uint8, uint16, or float32 in [0, 1]
    dtype: type[np.generic]  # of the result: one of the three
    precise: bool = False  # in float32, whatever the network's precision
    result: Pixels = field(init=False)
    left: int = field(init=False, default=1)
    total: int = field(init=False, default=1)
    error: Exception | None = field(init=False, default=None)
    strips: dict[int, _Strip] = field(init=False, default_factory=dict)
    tail: torch.Tensor | None = field(init=False, default=None)  # rows that the next strip has a part in


@dataclass(frozen=True, slots=True)
class Task(Generic[Owner]):
    """One tile of a plane."""

    plane: Plane[Owner]
    padded: torch.Tensor  # (c, h, w), the plane's dtype, on the CPU
    rows: Span
    columns: Span
    across: int  # tiles in its strip
    blend: int  # input pixels

    @property
    def shape(self) -> tuple[int, int]:
        """Of its window: height and width, in input pixels."""
        return self.rows.seen, self.columns.seen


def cut(plane: Plane[Owner], network: Network, tiling: Tiling) -> list[Task[Owner]]:
    """The plane's tiles, row by row; its `result` is made, without values."""
    height, width, channels = plane.pixels.shape
    s = network.scale
    plane.result = np.empty((height * s, width * s, channels), plane.dtype)
    whole = torch.from_numpy(_for_torch(plane.pixels)).permute(2, 0, 1)
    rows, columns = network.padding(height, width)
    if rows or columns:
        whole = pad(whole[None].float(), rows, columns)[0]
    across = list(tiling.spans(whole.shape[2]))
    tasks = [
        Task(plane, whole, row, column, len(across), tiling.blend)
        for row in tiling.spans(whole.shape[1])
        for column in across
    ]
    plane.left = plane.total = len(tasks)
    return tasks


class Canvas:
    """Windows to the device, and what a network makes of them into the planes' results."""

    def __init__(self, scale: int, device: torch.device) -> None:
        self._scale = scale
        self._device = device
        self._ramps: dict[tuple[Span, int, int], torch.Tensor] = {}

    def window(self, task: Task[Owner]) -> torch.Tensor:
        """(3, h, w) float32 in [0, 1] on the device: what the network is to see."""
        r, c = task.rows, task.columns
        part = task.padded[:, r.window : r.window + r.seen, c.window : c.window + c.seen]
        unit = sent(part, self._device).float() / _top(task.plane.pixels.dtype)
        return unit.expand(3, -1, -1)

    @torch.inference_mode()
    def place(self, task: Task[Owner], window: torch.Tensor) -> None:
        """Puts what a tile gave, (3, h·scale, w·scale) on the device, where it belongs. Its values are used up.

        Raises what runs out of memory, if it does so once more after all that could be had was given back.
        """
        plane, r, c, s = task.plane, task.rows, task.columns, self._scale
        height, width = task.padded.shape[1:]
        kept = self._patiently(lambda: self._kept(task, window))
        if plane.total == 1 or not task.blend:
            self._write(plane, kept, r.start * s, c.start * s)
            return
        if r.start not in plane.strips:
            shape = kept.shape[0], (r.keep_to - r.keep_from) * s, width * s
            sums = self._patiently(lambda: torch.zeros(shape, device=kept.device))
            plane.strips[r.start] = _Strip(sums, task.across)
        strip = plane.strips[r.start]
        kept.mul_(self._ramp(r, task.blend, height)[:, None]).mul_(self._ramp(c, task.blend, width))
        strip.sums[:, :, c.keep_from * s : c.keep_to * s].add_(kept)
        strip.left -= 1
        if strip.left:
            return
        del plane.strips[r.start]
        if plane.tail is not None:
            strip.sums[:, : plane.tail.shape[1]].add_(plane.tail)
        # What the next strip has a part in waits for it.
        final = (r.keep_to if r.stop == height else r.stop - task.blend) - r.keep_from
        plane.tail = self._patiently(lambda: strip.sums[:, final * s :].clone())
        self._write(plane, strip.sums[:, : final * s], r.keep_from * s, 0)

    def _patiently(self, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What is made; once more, where memory runs out, without what the batch after this one left in the cache."""
        try:
            return make()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        free_memory(self._device)
        return make()

    def _kept(self, task: Task[Owner], window: torch.Tensor) -> torch.Tensor:
        s, r, c = self._scale, task.rows, task.columns
        kept = window[
            :,
            (r.keep_from - r.window) * s : (r.keep_to - r.window) * s,
            (c.keep_from - c.window) * s : (c.keep_to - c.window) * s,
        ].float()
        return kept if task.plane.pixels.shape[2] == 3 else kept.mean(dim=0, keepdim=True)

    def _ramp(self, span: Span, blend: int, length: int) -> torch.Tensor:
        """The weights of what a span keeps, on the device: reckoned, and sent there, once for all tiles of a kind."""
        key = (span, blend, length)
        if key not in self._ramps:
            if len(self._ramps) >= _MOST_RAMPS:
                self._ramps.clear()
            self._ramps[key] = torch.tensor(ramp(span, blend, length, self._scale), device=self._device)
        return self._ramps[key]

    def _write(self, plane: Plane[Owner], values: torch.Tensor, top: int, left: int) -> None:
        """(c, h, w) in [0, 1] on the device into the result; rounded there, so that little is copied back."""
        height, width = plane.result.shape[:2]
        values = values[:, : height - top, : width - left].permute(1, 2, 0)
        # In the result's own order before it is fetched: the device is faster at that.
        levels = self._patiently(
            lambda: torch.empty(values.shape, dtype=_FETCHED[plane.dtype], device=values.device)
        )
        values.clamp_(0, 1)
        if plane.dtype is not np.float32:
            # Rounded, not cut off: truncation darkens every pixel by half a level.
            values.mul_(_top(plane.dtype)).round_()
        found: Any = levels.copy_(values).cpu().numpy()
        plane.result[top : top + found.shape[0], left : left + found.shape[1]] = found


def _for_torch(pixels: Pixels) -> Pixels:
    # torch knows few operations on uint16; what it is given here is sliced and turned into float32 at once.
    return pixels.astype(np.int32 if pixels.dtype == np.uint16 else pixels.dtype)  # a copy: torch wants to write


def _top(dtype: Any) -> float:
    return {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(np.dtype(dtype), 1.0)
