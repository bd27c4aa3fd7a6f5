"""Planes through a network, tile by tile: batched, also across pictures, healed where a tile goes wrong."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hotfolder.engines.device import is_out_of_memory
from hotfolder.engines.upscaling.network import Network, pad
from hotfolder.engines.upscaling.tiles import Span, Tiling, ramp
from hotfolder.errors import GenerationFailed

log = logging.getLogger(__name__)
Pixels = NDArray[Any]
Owner = TypeVar("Owner")
Report = Callable[["Plane[Owner]", int, int], None]
#: A tile is not halved below this, in input pixels.
_SMALLEST = 16
#: Windows of one batch come from at most so many planes.
_TOGETHER = 8


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
class _Task(Generic[Owner]):
    plane: Plane[Owner]
    padded: torch.Tensor  # (c, h, w), the plane's dtype, on the CPU
    rows: Span
    columns: Span
    across: int  # tiles in its strip
    blend: int  # input pixels

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.seen, self.columns.seen


class Enlarger:
    """Works planes off. `tiling` and `batch` shrink for good when memory runs out."""

    def __init__(self, network: Network, tiling: Tiling, batch: int, precise_tile: int | None = None) -> None:
        """`precise_tile`: the largest tile of planes that are worked in float32, where it is another."""
        self._network = network
        self.tiling = tiling
        self.batch = batch
        self._precise_tile = precise_tile or tiling.tile
        self._too_much: int | None = None  # window pixels that the device had no memory for

    def run(
        self, planes: Iterable[Plane[Owner]], report: Report[Owner] = lambda *_: None
    ) -> Iterator[Plane[Owner]]:
        """Planes in the order in which they are done; one that failed has an `error`.

        `report(plane, done, all)` is called after each tile.
        """
        waiting: deque[_Task[Owner]] = deque()
        source = iter(planes)
        more = True
        while True:
            while more and len(waiting) < self.batch:
                plane = next(source, None)
                if plane is None:
                    more = False
                else:
                    waiting.extend(self._tasks(plane))
            if not waiting:
                return
            tasks = self._take(waiting)
            for task, enlarged in zip(tasks, self._windows(tasks), strict=True):
                plane = task.plane
                if plane.error is not None:
                    continue
                plane.error = enlarged if isinstance(enlarged, Exception) else self._placed(task, enlarged)
                if plane.error is None:
                    plane.left -= 1
                    report(plane, plane.total - plane.left, plane.total)
                if plane.left == 0 or plane.error is not None:
                    plane.strips.clear()
                    yield plane

    def _take(self, waiting: deque[_Task[Owner]]) -> list[_Task[Owner]]:
        """The next tasks, as long as their windows have one shape and one precision."""
        tasks: list[_Task[Owner]] = []
        owners: set[int] = set()
        while waiting and len(tasks) < self.batch:
            task = waiting[0]
            alike = not tasks or (task.shape, task.plane.precise) == (tasks[0].shape, tasks[0].plane.precise)
            if not alike or len(owners | {id(task.plane)}) > _TOGETHER:
                break
            waiting.popleft()
            if task.plane.error is None:
                owners.add(id(task.plane))
                tasks.append(task)
        return tasks

    def _tasks(self, plane: Plane[Owner]) -> list[_Task[Owner]]:
        height, width, channels = plane.pixels.shape
        s = self._network.scale
        plane.result = np.empty((height * s, width * s, channels), plane.dtype)
        whole = torch.from_numpy(_for_torch(plane.pixels)).permute(2, 0, 1)
        rows, columns = self._network.padding(height, width)
        if rows or columns:
            whole = pad(whole[None].float(), rows, columns)[0]
        tiling = self.tiling.at_most(self._precise_tile) if plane.precise else self.tiling
        across = list(tiling.spans(whole.shape[2]))
        tasks = [
            _Task(plane, whole, row, column, len(across), tiling.blend)
            for row in tiling.spans(whole.shape[1])
            for column in across
        ]
        plane.left = plane.total = len(tasks)
        return tasks

    def _windows(self, tasks: list[_Task[Owner]]) -> list[torch.Tensor | Exception]:
        """(c, h, w) float32 on the device for what each task keeps, or why there is none."""
        if not tasks:
            return []
        try:
            enlarged = self._enlarge(
                torch.stack([self._seen(task) for task in tasks]), precise=tasks[0].plane.precise
            )
        except Exception as error:  # noqa: BLE001 - the edge around these tasks
            return [error] * len(tasks)
        found: list[torch.Tensor | Exception] = []
        for task, window in zip(tasks, enlarged, strict=True):
            if not torch.isfinite(window).all():
                found.append(
                    GenerationFailed(
                        f"model '{self._network.name}' gave no numbers for a tile", "use another model"
                    )
                )
                continue
            found.append(self._kept(task, window))
        return found

    def _seen(self, task: _Task[Owner]) -> torch.Tensor:
        r, c = task.rows, task.columns
        part = task.padded[:, r.window : r.window + r.seen, c.window : c.window + c.seen].to(self._network.device)
        unit = part.float() / _top(task.plane.pixels.dtype)
        return unit.expand(3, -1, -1)

    def _kept(self, task: _Task[Owner], window: torch.Tensor) -> torch.Tensor:
        s, r, c = self._network.scale, task.rows, task.columns
        kept = window[
            :,
            (r.keep_from - r.window) * s : (r.keep_to - r.window) * s,
            (c.keep_from - c.window) * s : (c.keep_to - c.window) * s,
        ].float()
        return kept if task.plane.pixels.shape[2] == 3 else kept.mean(dim=0, keepdim=True)

    def _enlarge(self, inputs: torch.Tensor, *, precise: bool) -> torch.Tensor:
        """Through the network; halved when memory runs out, in float32 where it overflows."""
        if self._too_much is not None and inputs[0, 0].numel() >= self._too_much:
            return torch.cat([self._in_parts(one[None], precise=precise) for one in inputs])
        enlarged = self._try(inputs, precise=precise)
        if enlarged is None:
            self._free()
            if len(inputs) > 1:
                self.batch = max(1, len(inputs) // 2)
                log.warning("out of memory: %d tiles at a time from now on", self.batch)
                return torch.cat([self._enlarge(part, precise=precise) for part in inputs.split(self.batch)])
            self._shrink(inputs[0, 0].numel())
            return self._in_parts(inputs, precise=precise)
        finite = torch.isfinite(enlarged).flatten(1).all(dim=1)
        if not finite.all():
            log.warning(
                "%s gave %d tiles without numbers: once more in float32", self._network.name, int((~finite).sum())
            )
            enlarged = enlarged.float().clone()
            enlarged[~finite] = self._network.run_in_float32(inputs[~finite])
        return enlarged

    def _try(self, inputs: torch.Tensor, *, precise: bool) -> torch.Tensor | None:
        """None when the memory is not enough.

        The retry has to come after this: as long as the error lives, so do the activations in its frames.
        """
        try:
            return self._network.run_in_float32(inputs) if precise else self._network.run(inputs)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _shrink(self, window_pixels: int) -> None:
        self._too_much = min(window_pixels, self._too_much or window_pixels)
        side = self.tiling.tile + 2 * self.tiling.overlap
        if side * side < window_pixels:
            return  # tiles are smaller already than this one, which was cut before
        multiple = self._network.multiple
        tile = max(_SMALLEST, self.tiling.tile // 2 // multiple * multiple)
        self.tiling = replace(self.tiling, tile=tile, blend=min(self.tiling.blend, tile // 4))
        log.warning("out of memory: tiles of %d pixels from now on", tile)

    def _in_parts(self, inputs: torch.Tensor, *, precise: bool) -> torch.Tensor:
        """(1, 3, h, w) by smaller tiles: rows that are finished stay finished."""
        window = np.ascontiguousarray(inputs[0].permute(1, 2, 0).cpu().numpy())
        height, width = window.shape[:2]
        while self._largest_window(height, width) >= height * width:
            if self.tiling.tile <= _SMALLEST:  # it is nearly all overlap: no smaller tile makes it less
                raise torch.OutOfMemoryError("not even the smallest tile fits into the memory")
            multiple = self._network.multiple
            half = max(_SMALLEST, self.tiling.tile // 2 // multiple * multiple)
            self.tiling = replace(self.tiling, tile=half, blend=min(self.tiling.blend, half // 4))
        inner = Enlarger(self._network, self.tiling, 1)
        inner._too_much = self._too_much
        (plane,) = inner.run([Plane(None, window, np.float32, precise)])
        self.tiling, self._too_much = inner.tiling, inner._too_much
        if plane.error is not None:
            raise plane.error
        return torch.from_numpy(plane.result).permute(2, 0, 1)[None].to(inputs.device)

    def _largest_window(self, height: int, width: int) -> int:
        """Pixels of the largest window that a picture of this size is cut into."""
        rows, columns = (max(span.seen for span in self.tiling.spans(side)) for side in (height, width))
        return rows * columns

    def _free(self) -> None:
        if self._network.device.type == "cuda":
            torch.cuda.empty_cache()

    def _placed(self, task: _Task[Owner], kept: torch.Tensor) -> Exception | None:
        try:
            self._place(task, kept)
        except Exception as error:  # noqa: BLE001 - the edge around one plane
            return error
        return None

    def _place(self, task: _Task[Owner], kept: torch.Tensor) -> None:
        """Puts what a tile gave where it belongs."""
        plane, r, c, s = task.plane, task.rows, task.columns, self._network.scale
        height, width = task.padded.shape[1:]
        if plane.total == 1 or not task.blend:
            self._write(plane, kept, r.start * s, c.start * s)
            return
        strip = plane.strips.get(r.start)
        if strip is None:
            rows = (r.keep_to - r.keep_from) * s
            strip = _Strip(torch.zeros(kept.shape[0], rows, width * s, device=kept.device), task.across)
            plane.strips[r.start] = strip
        down = torch.tensor(ramp(r, task.blend, height, s), device=kept.device)
        right = torch.tensor(ramp(c, task.blend, width, s), device=kept.device)
        strip.sums[:, :, c.keep_from * s : c.keep_to * s] += kept * down[:, None] * right
        strip.left -= 1
        if strip.left:
            return
        del plane.strips[r.start]
        if plane.tail is not None:
            strip.sums[:, : plane.tail.shape[1]] += plane.tail
        # What the next strip has a part in waits for it.
        final = (r.keep_to if r.stop == height else r.stop - task.blend) - r.keep_from
        plane.tail = strip.sums[:, final * s :].clone()
        self._write(plane, strip.sums[:, : final * s], r.keep_from * s, 0)

    def _write(self, plane: Plane[Owner], values: torch.Tensor, top: int, left: int) -> None:
        """(c, h, w) in [0, 1] on the device into the result; rounded there, so that little is copied back."""
        height, width = plane.result.shape[:2]
        values = values[:, : height - top, : width - left].clamp(0, 1).permute(1, 2, 0)
        if plane.dtype is np.uint8:
            # Rounded, not cut off: truncation darkens every pixel by half a level.
            levels: Any = (values * 255).round().to(torch.uint8).cpu().numpy()
        elif plane.dtype is np.uint16:
            levels = (values * 65535).round().to(torch.int32).cpu().numpy()
        else:
            levels = values.cpu().numpy()
        plane.result[top : top + levels.shape[0], left : left + levels.shape[1]] = levels


def _for_torch(pixels: Pixels) -> Pixels:
    # torch knows few operations on uint16; what it is given here is sliced and turned into float32 at once.
    return pixels.astype(np.int32 if pixels.dtype == np.uint16 else pixels.dtype)  # a copy: torch wants to write


def _top(dtype: Any) -> float:
    return {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(np.dtype(dtype), 1.0)
