"""What a cluster costs: the same jobs here, through Ray by their paths, and through Ray as bytes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.bench.pictures import write_pictures
from hotfolder.errors import HotfolderError
from hotfolder.executors.base import Executor
from hotfolder.executors.local import LocalExecutor
from hotfolder.executors.local_devices import count_cores
from hotfolder.executors.ray_executor import RAY_ENVIRONMENT, RayExecutor
from hotfolder.types import Batch, Item, Kind, RunnerSettings

#: Megapixels of the pictures, and how many make a batch.
SIZES: Mapping[float, int] = {0.1: 32, 1.0: 16, 12.0: 4}
#: So often each is measured, and so many jobs are sent alone.
_REPEATS, _ALONE = 3, 5
#: Seconds that a cluster, and a job, may take.
_START_SECONDS, _JOB_SECONDS = 180.0, 120.0
_MODEL = "technical"
_STORE = 256 << 20  # bytes


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to the worker, with the name of its device."""

    executor: Executor
    device: str


def measure_overhead(tell: Callable[[int, int], None], sizes: Mapping[float, int] = SIZES) -> dict[str, Any]:
    """Milliseconds for each job, by size of its picture; or a reason why there are none."""
    if importlib.util.find_spec("ray") is None:
        return {"reason": "Ray is not installed: pip install 'hotfolder[ray]'"}
    found = []
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as name, _ways(Path(name)) as ways:
        for number, (megapixels, count) in enumerate(sizes.items()):
            tell(number, len(sizes))
            (photo,) = write_pictures(Path(name) / str(number), 1, round((megapixels * 1e6) ** 0.5), "jpg")
            found.append(_compared(ways, photo, megapixels, count))
    return {"model": _MODEL, "repeats": _REPEATS, "sizes": found}


@contextlib.contextmanager
def _ways(root: Path) -> Iterator[dict[str, _Way]]:
    """The three of them, with their workers loaded."""
    settings = RunnerSettings(device="cpu", decode_threads=1)
    with contextlib.ExitStack() as stack:
        # As many as the worker of a node without cards has.
        stack.enter_context(_environment({"OMP_NUM_THREADS": str(count_cores())}))
        address = stack.enter_context(_cluster())
        made: dict[str, Executor] = {"local": LocalExecutor(settings, 3600)}
        stack.callback(made["local"].close)
        for name, shared in (("ray_paths", root), ("ray_bytes", None)):
            probe = shared / "probe" if shared is not None else None
            made[name] = RayExecutor(
                settings, 3600, address, root=shared, probe=probe, wait_seconds=_START_SECONDS
            )
            stack.callback(made[name].close)
        ways = {name: _Way(executor, _fit(executor)) for name, executor in made.items()}
        (photo,) = write_pictures(root / "warm", 1, 64, "jpg")
        for way in ways.values():
            _timed(way, photo, 1)
        yield ways


@contextlib.contextmanager
def _environment(own: Mapping[str, str]) -> Iterator[None]:
    """Of this process and those that it starts, for a while."""
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _cluster() -> Iterator[str]:
    """Of one node on this machine, for as long as it is measured; its address."""
    with _environment({**RAY_ENVIRONMENT, "RAY_AUTH_TOKEN": secrets.token_hex(32)}):
        from ray.cluster_utils import Cluster  # reads its environment when it is imported

        node = {"num_cpus": 2, "num_gpus": 0, "object_store_memory": _STORE, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_log_monitor": False})
        try:
            yield cluster.address
        finally:
            cluster.shutdown()


def _fit(executor: Executor) -> str:
    """The name of its device, once it can be given work. Raises HotfolderError."""
    until = time.monotonic() + _START_SECONDS
    while True:
        device = executor.devices()[0]
        if not device.unfit:
            return device.id
        if time.monotonic() > until:
            raise HotfolderError(f"no worker could be had: {device.unfit}", "see: hotfolder workers")
        executor.poll(0.1)


def _compared(ways: Mapping[str, _Way], photo: Path, megapixels: float, count: int) -> dict[str, Any]:
    """One after the other, again and again: what else the machine does meets all of them."""
    batches: dict[str, list[float]] = {name: [] for name in ways}
    alone: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_REPEATS):
        for name, way in ways.items():
            batches[name].append(1000 * _timed(way, photo, count) / count)
    for _ in range(_ALONE):
        for name, way in ways.items():
            alone[name].append(1000 * _timed(way, photo, 1))
    best = {name: min(found) for name, found in batches.items()}
    return {
        "megapixels": megapixels,
        "file_bytes": photo.stat().st_size,
        "jobs_of_a_batch": count,
        **{f"{name}_ms": round(found, 2) for name, found in best.items()},
        "ray_costs_ms": round(best["ray_paths"] - best["local"], 2),
        "bytes_cost_ms": round(best["ray_bytes"] - best["ray_paths"], 2),
        "alone_ms": {name: round(statistics.median(found), 1) for name, found in alone.items()},
    }


def _timed(way: _Way, photo: Path, count: int) -> float:
    """Seconds until a batch of so many jobs has ended. Raises HotfolderError where one of them fails."""
    folder = str(photo.parent / "staging")
    items = tuple(Item(number, 1, str(photo), folder) for number in range(count))
    began, ended = time.perf_counter(), 0
    way.executor.submit(Batch(1, Kind.SCORE, _MODEL, items), way.device)
    while time.perf_counter() - began < _JOB_SECONDS:
        for done in way.executor.poll(0.05):
            error = done.outcome.error.message if done.outcome is not None and done.outcome.error else done.lost
            if error:
                raise HotfolderError(f"a job failed: {error}", "see whether the models are well")
            ended += done.outcome is not None
            if done.finished is not None and ended == count:
                return time.perf_counter() - began
    raise HotfolderError(f"{count} jobs did not end within {_JOB_SECONDS:.0f} s", "run it when less else goes on")


def rows(sizes: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """For a table; its columns are `COLUMNS`."""
    return [
        (
            f"{each['megapixels']:g}", f"{each['file_bytes'] / 1e6:.2f}", f"{each['local_ms']:.1f}",
            f"{each['ray_paths_ms']:.1f}", f"{each['ray_bytes_ms']:.1f}", f"{each['ray_costs_ms']:+.1f}",
            f"{each['bytes_cost_ms']:+.1f}", " / ".join(f"{ms:.0f}" for ms in each["alone_ms"].values()),
        )
        for each in sizes
    ]  # fmt: skip


COLUMNS = (
    "megapixels", "MB", "here", "ray, paths", "ray, bytes", "ray costs", "bytes cost", "alone: here / paths / bytes",
)  # fmt: skip
