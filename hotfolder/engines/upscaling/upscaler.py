"""Pictures in, enlarged pictures out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hotfolder.core.sizes import Plan, Target, plan
from hotfolder.engines.device import precision_name
from hotfolder.engines.upscaling.enlarge import Enlarger
from hotfolder.engines.upscaling.network import Network
from hotfolder.engines.upscaling.picture import Parts, is_plain, put_together, take_apart
from hotfolder.engines.upscaling.planes import Plane
from hotfolder.engines.upscaling.probes import Findings, probe
from hotfolder.engines.upscaling.tiles import Tiling
from hotfolder.errors import ImageTooLarge
from hotfolder.imaging.carried import Carried
from hotfolder.imaging.encode import check_format
from hotfolder.models.registry import ModelSpec
from hotfolder.types import RunnerSettings

log = logging.getLogger(__name__)
Key = TypeVar("Key")
#: Tiles chosen by memory: their sides, in input pixels.
_SMALLEST, _LARGEST = 64, 1024
#: Of the memory that is free, so much is taken.
_SHARE = 0.5
#: On a CPU, no more than this for one tile.
_MOST_BYTES_CPU = 1.5e9
_MOST_TOGETHER = 16
_OWN_FACTOR = Target()


@dataclass(frozen=True, slots=True)
class Request(Generic[Key]):
    """A picture to be enlarged: (h, w, 1 to 4) uint8 or uint16."""

    key: Key
    pixels: NDArray[Any]
    target: Target
    carried: Carried = field(default_factory=Carried)  # its colour profile is among it
    format: str = "tiff"  # that the result is written in: one that cannot hold it is told before the work


@dataclass(frozen=True, slots=True)
class Answer(Generic[Key]):
    """What became of it: pixels in the same depth and channels, or why there are none."""

    key: Key
    pixels: NDArray[Any] | None
    plan: Plan
    precision: str = ""  # of the network's work
    error: Exception | None = None


@dataclass
class _Job(Generic[Key]):
    request: Request[Key]
    plan: Plan
    parts: Parts
    left: int
    done: int = 0  # tiles of planes that are finished


class Upscaler:
    """A loaded network, and how it is best used here."""

    def __init__(self, spec: ModelSpec, device: torch.device, settings: RunnerSettings) -> None:
        """Raises ModelDamaged or UsageError."""
        self.network = Network(spec, device, settings)
        self.name, self.scale = self.network.name, self.network.scale
        self.findings = probe(self.network)
        if not self.findings.near_float32:
            log.warning("%s is too far from float32 in %s: it works in float32", self.name, self.network.precision)
            self.network.leave_half_precision()
            self.findings = probe(self.network)
        self.weights_sha256, self.precision = self.network.weights_sha256, self.network.precision
        self.network.settle(channels_last=self.findings.channels_last)
        self._most_pixels = settings.max_output_pixels
        tiling, batch = choose(self.network, self.findings, settings)
        # Where the tile is chosen by the memory: float32 takes twice as much of it as half precision.
        is_half = self.network.dtype is not torch.float32
        smaller = max(_SMALLEST, _whole(tiling.tile * 0.7, self.network.multiple))
        self._enlarger = Enlarger(self.network, tiling, batch, smaller if is_half and not settings.tile else None)

    @property
    def tiling(self) -> Tiling:
        return self._enlarger.tiling

    def enlarge(
        self, requests: Iterable[Request[Key]], report: Callable[[Key, int, int], None]
    ) -> Iterator[Answer[Key]]:
        """Answers in the order in which they are ready; a picture that fails fails alone.

        Tiles of several pictures go through the network together. `report(key, done, all)` counts tiles.
        """
        jobs: dict[int, _Job[Key]] = {}
        finished: list[Answer[Key]] = []

        def planes() -> Iterator[Plane[tuple[_Job[Key], str]]]:
            for request in requests:
                height, width = request.pixels.shape[:2]
                wanted = Plan(0, width, height, 1.0)
                try:
                    wanted = plan(width, height, self.scale, request.target)
                    self._check_size(width, height, wanted)
                    check_format(request.format, wanted.width, wanted.height, request.carried)
                    parts = take_apart(request.pixels, request.carried.profile)
                except Exception as error:  # noqa: BLE001 - the edge around one picture
                    finished.append(Answer(request.key, None, wanted, error=error))
                    continue
                given = {"colours": parts.colours}
                if parts.alpha is not None:
                    given["alpha"] = parts.alpha
                job = _Job(request, wanted, parts, len(given))
                if wanted.passes == 0:
                    parts.planes.update(given)
                    finished.append(self._finish(job))
                    continue
                jobs[id(job)] = job
                for name, pixels in given.items():
                    yield Plane((job, name), pixels, self._between(job, wanted.passes - 1), parts.deep)

        for plane in self._enlarger.run(planes(), _Counter(report)):
            job, name = plane.owner
            if id(job) in jobs:
                job.left -= 1
                if plane.error is not None:
                    del jobs[id(job)]
                    finished.append(Answer(job.request.key, None, job.plan, error=plane.error))
                else:
                    job.parts.planes[name] = plane.result
                    if job.left == 0:
                        del jobs[id(job)]
                        finished.append(self._finish(job))
            yield from finished
            finished.clear()
        yield from finished

    def enlarge_one(
        self, pixels: NDArray[Any], target: Target = _OWN_FACTOR, profile: bytes | None = None
    ) -> NDArray[Any]:
        """One picture, at once: for tools and tests. Raises what went wrong."""
        (answer,) = self.enlarge([Request(None, pixels, target, Carried(icc=profile))], lambda *_: None)
        if answer.pixels is None:
            assert answer.error is not None
            raise answer.error
        return answer.pixels

    def _between(self, job: _Job[Key], passes_left: int) -> type[np.generic]:
        """What a plane is kept as: the depth that it will have, or more where there is still work on it."""
        parts, is_last = job.parts, passes_left == 0
        if parts.profile is not None and is_last:
            return np.float32
        return np.uint8 if is_last and not parts.deep and self._stays_in_levels(job) else np.uint16

    def _stays_in_levels(self, job: _Job[Key]) -> bool:
        """Whether what the passes give is the result, or is interpolated as it is."""
        height, width = (side * self.scale**job.plan.passes for side in job.request.pixels.shape[:2])
        size = job.plan.height, job.plan.width
        return size == (height, width) or (job.parts.alpha is None and is_plain((height, width), size))

    def _finish(self, job: _Job[Key]) -> Answer[Key]:
        """Further passes, then the size and the colours that are wanted."""
        try:
            for left in range(job.plan.passes - 2, -1, -1):
                again = [
                    Plane((job, name), pixels, self._between(job, left), job.parts.deep)
                    for name, pixels in job.parts.planes.items()
                ]
                for plane in self._enlarger.run(again):
                    if plane.error is not None:
                        raise plane.error
                    job.parts.planes[plane.owner[1]] = plane.result
            precision = precision_name(torch.float32) if job.parts.deep else self.precision
            return Answer(job.request.key, put_together(job.parts, job.plan), job.plan, precision)
        except Exception as error:  # noqa: BLE001 - the edge around one picture
            return Answer(job.request.key, None, job.plan, error=error)

    def _check_size(self, width: int, height: int, wanted: Plan) -> None:
        reached = self.scale**wanted.passes
        pixels = max(width * height * reached**2, wanted.width * wanted.height)
        if wanted.passes > 8 or pixels > self._most_pixels:
            raise ImageTooLarge(
                f"enlarging to {wanted.width} × {wanted.height} takes {width * reached} × {height * reached} "
                f"pixels on the way, more than the {self._most_pixels:,} allowed",
                "ask for less, or raise upscale.max_output_pixels",
            )


class _Counter(Generic[Key]):
    """Tiles of both planes of a picture as one count. Exact for the plane in work, an estimate for the other."""

    def __init__(self, report: Callable[[Key, int, int], None]) -> None:
        self._report = report

    def __call__(self, plane: Plane[tuple[_Job[Key], str]], done: int, total: int) -> None:
        job, _ = plane.owner
        planes = 1 if job.parts.alpha is None else 2
        self._report(job.request.key, job.done + done, total * planes)
        if done == total:
            job.done += total


def choose(network: Network, findings: Findings, settings: RunnerSettings) -> tuple[Tiling, int]:
    """Tiles, and how many at a time: as configured, else by the memory that is free."""
    overlap = settings.overlap or findings.overlap
    exact = findings.exact and overlap >= findings.overlap
    free = _free_memory(network.device)
    tile = settings.tile
    if not tile:
        # Large enough that overlaps are little work, small enough for the memory.
        side = int((free / max(1.0, findings.bytes_per_pixel)) ** 0.5) - 2 * overlap
        tile = max(_SMALLEST, min(_LARGEST, side))
        if not network.tiles_well:
            tile = max(tile, side)  # its descriptor advises against tiles: as few as there can be
    tile, overlap = _whole(tile, network.multiple), _whole(overlap, network.multiple)
    blend = 0 if exact else max(1, min(overlap // 2, tile // 4))  # tiles made even are at least half as wide
    together = 1
    if network.device.type == "cuda":
        window = (tile + 2 * overlap) ** 2 * max(1.0, findings.bytes_per_pixel)
        together = max(1, min(_MOST_TOGETHER, int(free / window)))
    fixed = network.device.type == "cuda" or settings.compile
    return Tiling(tile, overlap, blend, network.multiple, fixed), together


def _whole(pixels: float, multiple: int) -> int:
    return -(-int(pixels) // multiple) * multiple


def _free_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return _SHARE * torch.cuda.mem_get_info(device)[0]
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(_MOST_BYTES_CPU, _SHARE * free)
