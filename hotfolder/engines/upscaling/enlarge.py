"""Planes through a network, tile by tile: batched, also across pictures, healed where a tile goes wrong."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic

import numpy as np
import torch

from hotfolder.engines.device import empty_cache, is_out_of_memory
from hotfolder.engines.upscaling.network import Network
from hotfolder.engines.upscaling.planes import Canvas, Owner, Plane, Task, cut
from hotfolder.engines.upscaling.tiles import Tiling
from hotfolder.errors import GenerationFailed

log = logging.getLogger(__name__)
Report = Callable[["Plane[Owner]", int, int], None]
#: A tile is not halved below this, in input pixels.
_SMALLEST = 16
#: Windows of one batch come from at most so many planes.
_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class _Begun(Generic[Owner]):
    """Tasks that the device has begun, and may still be at."""

    tasks: list[Task[Owner]]
    inputs: torch.Tensor | None = None  # (n, 3, h, w) float32
    enlarged: torch.Tensor | None = None  # (n, 3, h·scale, w·scale) in the network's precision
    ready: Any = None  # a card's event: it is done
    error: Exception | None = None  # why there is nothing

    @property
    def precise(self) -> bool:
        return self.tasks[0].plane.precise


class Enlarger:
    """Works planes off. `tiling` and `batch` shrink for good when memory runs out; before that, batches are no longer
    begun one beside the other.
    """

    def __init__(self, network: Network, tiling: Tiling, batch: int, precise_tile: int | None = None) -> None:
        """`precise_tile`: the largest tile of planes that are worked in float32, where it is another."""
        self._network = network
        self.tiling = tiling
        self.batch = batch
        self._precise_tile = precise_tile or tiling.tile
        self._too_much: int | None = None  # window pixels that the device had no memory for
        self._canvas = Canvas(network.scale, network.device)
        # A card goes on with the next batch while this stream fetches what it has done.
        self._beside: Any = torch.cuda.Stream(network.device) if network.device.type == "cuda" else None
        self._fits_two = True  # whether the memory is enough for a batch while the one before it is there

    def run(
        self, planes: Iterable[Plane[Owner]], report: Report[Owner] = lambda *_: None
    ) -> Iterator[Plane[Owner]]:
        """Planes in the order in which they are done; one that failed has an `error`.

        `report(plane, done, all)` is called after each tile.
        """
        waiting: deque[Task[Owner]] = deque()
        source = iter(planes)
        more = True
        begun: _Begun[Owner] | None = None
        while True:
            while more and len(waiting) < self.batch:
                plane = next(source, None)
                if plane is None:
                    more = False
                else:
                    waiting.extend(self._tasks(plane))
            if not waiting and begun is None:
                return
            tasks = self._take(waiting)
            if begun is not None and not self._fits_two:
                yield from self._end(begun, report)
                begun = None
            was_alone = begun is None
            after = self._begin(tasks) if tasks else None
            if begun is not None:
                yield from self._end(begun, report)
                begun = None
            if tasks and after is None:
                self._fits_two = self._fits_two and was_alone
                after = self._begin_with_less(tasks, is_new=was_alone)
            begun, after = after, None  # under one name: it takes memory as long as it has any
            if begun is not None and self._beside is None:
                yield from self._end(begun, report)
                begun = None

    def _take(self, waiting: deque[Task[Owner]]) -> list[Task[Owner]]:
        """The next tasks, as long as their windows have one shape and one precision."""
        tasks: list[Task[Owner]] = []
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

    def _tasks(self, plane: Plane[Owner]) -> list[Task[Owner]]:
        return cut(plane, self._network, self.tiling.at_most(self._precise_tile) if plane.precise else self.tiling)

    def _begin(self, tasks: list[Task[Owner]]) -> _Begun[Owner] | None:
        """Gives the device what it is to do, without waiting for it. None where the memory is not enough."""
        if self._is_too_much(*tasks[0].shape):
            return None
        try:
            inputs = self._inputs(tasks)
            enlarged = self._through(inputs, precise=tasks[0].plane.precise)
        except Exception as error:  # noqa: BLE001 - the edge around these tasks
            return None if is_out_of_memory(error) else _Begun(tasks, error=error)
        return _Begun(tasks, inputs, enlarged, self._now())

    def _begin_with_less(self, tasks: list[Task[Owner]], *, is_new: bool) -> _Begun[Owner]:
        """The same after that. `is_new`: nothing was in work beside, without which the memory may be enough."""
        empty_cache(self._network.device)
        through = self._in_smaller if is_new else self._enlarge
        try:
            inputs = self._inputs(tasks)
            return _Begun(tasks, inputs, through(inputs, precise=tasks[0].plane.precise), self._now())
        except Exception as error:  # noqa: BLE001 - as above
            return _Begun(tasks, error=error)

    def _end(self, begun: _Begun[Owner], report: Report[Owner]) -> list[Plane[Owner]]:
        """Puts what has come of the tasks where it belongs; the planes that are done by that."""
        done = []
        with self._fetching(begun.ready):
            for task, window in zip(begun.tasks, self._windows(begun), strict=True):
                plane = task.plane
                if plane.error is not None:
                    continue
                plane.error = window if isinstance(window, Exception) else self._placed(task, window)
                if plane.error is None:
                    plane.left -= 1
                    report(plane, plane.total - plane.left, plane.total)
                if plane.left == 0 or plane.error is not None:
                    plane.strips.clear()
                    plane.tail = None
                    done.append(plane)
        return done

    @contextmanager
    def _fetching(self, ready: Any) -> Iterator[None]:
        """What is done within, a card does beside the batch that came after the one that is `ready`."""
        if self._beside is None:
            yield
            return
        if ready is not None:
            self._beside.wait_event(ready)
        try:
            with torch.cuda.stream(self._beside):
                yield
        finally:
            self._beside.synchronize()  # what it has read is given to others from here on

    def _now(self) -> Any:
        if self._beside is None:
            return None
        event: Any = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._network.device))
        return event

    def _windows(self, begun: _Begun[Owner]) -> list[torch.Tensor | Exception]:
        """(3, h, w) on the device for each task, or why there is none; in float32 where it overflowed."""
        if begun.enlarged is None or begun.inputs is None:
            return [begun.error or GenerationFailed("nothing came of it")] * len(begun.tasks)
        finite = _are_finite(begun.enlarged)
        found: list[torch.Tensor | Exception] = list(begun.enlarged)
        wrong = [index for index, is_finite in enumerate(finite) if not is_finite]
        if wrong and not begun.precise:
            log.warning("%s gave %d tiles without numbers: once more in float32", self._network.name, len(wrong))
        for index in wrong:
            found[index] = GenerationFailed(
                f"model '{self._network.name}' gave no numbers for a tile", "use another model"
            )
            if begun.precise:
                continue
            try:
                again = self._enlarge(begun.inputs[index : index + 1], precise=True)
            except Exception as error:  # noqa: BLE001 - the edge around this task
                found[index] = error
                continue
            if _are_finite(again)[0]:
                found[index] = again[0]
        return found

    def _inputs(self, tasks: list[Task[Owner]]) -> torch.Tensor:
        return torch.stack([self._canvas.window(task) for task in tasks])

    def _through(self, inputs: torch.Tensor, *, precise: bool) -> torch.Tensor:
        return self._network.run_in_float32(inputs) if precise else self._network.run(inputs)

    def _enlarge(self, inputs: torch.Tensor, *, precise: bool) -> torch.Tensor:
        """Through the network, in smaller parts when memory runs out."""
        if not self._is_too_much(*inputs.shape[2:]):
            enlarged = self._try(inputs, precise=precise)
            if enlarged is not None:
                return enlarged
            empty_cache(self._network.device)
        return self._in_smaller(inputs, precise=precise)

    def _in_smaller(self, inputs: torch.Tensor, *, precise: bool) -> torch.Tensor:
        """What is too much at once: fewer tiles at a time, then smaller tiles."""
        if not self._is_too_much(*inputs.shape[2:]):
            if len(inputs) > 1:
                self.batch, self._fits_two = max(1, len(inputs) // 2), True  # of smaller ones, two may fit
                log.warning("out of memory: %d tiles at a time from now on", self.batch)
                return torch.cat([self._enlarge(part, precise=precise) for part in inputs.split(self.batch)])
            self._shrink(inputs[0, 0].numel())
        return torch.cat([self._in_parts(one[None], precise=precise) for one in inputs])

    def _try(self, inputs: torch.Tensor, *, precise: bool) -> torch.Tensor | None:
        """None when the memory is not enough.

        The retry has to come after this: as long as the error lives, so do the activations in its frames.
        """
        try:
            return self._through(inputs, precise=precise)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.info("%s ran out of memory: %s", self._network.name, str(error).partition("\n")[0])
        return None

    def _is_too_much(self, height: int, width: int) -> bool:
        return self._too_much is not None and height * width >= self._too_much

    def _shrink(self, window_pixels: int) -> None:
        self._too_much = min(window_pixels, self._too_much or window_pixels)
        side = self.tiling.tile + 2 * self.tiling.overlap
        if side * side < window_pixels:
            return  # tiles are smaller already than this one, which was cut before
        multiple = self._network.multiple
        tile = max(_SMALLEST, self.tiling.tile // 2 // multiple * multiple)
        self.tiling = replace(self.tiling, tile=tile, blend=min(self.tiling.blend, tile // 4))
        self._fits_two = True
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

    def _placed(self, task: Task[Owner], window: torch.Tensor) -> Exception | None:
        try:
            self._canvas.place(task, window)
        except Exception as error:  # noqa: BLE001 - the edge around one plane
            return error
        return None


def _are_finite(windows: torch.Tensor) -> list[bool]:
    """Of each of (n, 3, h, w) whether all of it are numbers. The device is waited for once.

    The least and the greatest value say it: neither needs memory, and what is no number is both.
    """
    ends = torch.stack([windows.amin(dim=(1, 2, 3)), windows.amax(dim=(1, 2, 3))])
    found: list[bool] = torch.isfinite(ends).all(dim=0).tolist()
    return found
