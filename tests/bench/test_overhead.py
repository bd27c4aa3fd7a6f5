"""What `bench workers` says of a cluster's cost, without a cluster."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from hotfolder.bench import overhead, workers
from hotfolder.bench.pictures import write_pictures
from hotfolder.cli import bench
from hotfolder.errors import HotfolderError, UsageError
from hotfolder.executors.base import Done
from hotfolder.executors.stand_in import StandInExecutor
from hotfolder.types import ErrorInfo, FailureClass, Item, Outcome


class Way(StandInExecutor):
    """Answers at once, and tells it in two goes."""

    def __init__(self, error: ErrorInfo | None = None) -> None:
        super().__init__(lambda kind, item: self._answered(item, error))
        self._rest: list[Done] = []
        self.sizes: list[int] = []

    def _answered(self, item: Item, error: ErrorInfo | None) -> Outcome:
        return Outcome(item.job_id, item.claim, error=error)

    def poll(self, timeout: float) -> Sequence[Done]:
        if self._rest:
            told, self._rest = self._rest, []
            return told
        *told, end = super().poll(timeout)
        self.sizes.append(len(told))
        self._rest = [end]
        return told


def ways(**made: Way) -> dict[str, overhead._Way]:
    return {name: overhead._Way(way, "cpu") for name, way in made.items()}


def test_each_size_is_measured_on_every_way(tmp_path: Path) -> None:
    (photo,) = write_pictures(tmp_path, 1, 16, "jpg")
    made = {name: Way() for name in ("local", "ray_paths", "ray_bytes")}
    found = overhead._compared(ways(**made), photo, 0.1, 4)
    for way in made.values():
        assert way.sizes == [4] * 3 + [1] * 5
    assert found["file_bytes"] == photo.stat().st_size
    assert found["ray_costs_ms"] == pytest.approx(found["ray_paths_ms"] - found["local_ms"], abs=0.02)
    assert found["bytes_cost_ms"] == pytest.approx(found["ray_bytes_ms"] - found["ray_paths_ms"], abs=0.02)
    (row,) = overhead.rows([found])
    assert len(row) == len(overhead.COLUMNS)
    assert row[0] == "0.1"


def test_a_job_that_fails_is_said(tmp_path: Path) -> None:
    (photo,) = write_pictures(tmp_path, 1, 16, "jpg")
    error = ErrorInfo("model_missing", FailureClass.ENVIRONMENT, "the model is gone")
    with pytest.raises(HotfolderError, match="the model is gone"):
        overhead._timed(ways(local=Way(error))["local"], photo, 2)


def test_without_ray_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = workers.bench_workers(8, lambda *_: None, workers.Part.OVERHEAD)
    assert "Ray is not installed" in found["overhead"]["reason"]


def test_it_is_a_table_for_people_and_numbers_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = {"local": 20.0, "ray_paths": 50.0, "ray_bytes": 52.0}
    size = {
        "megapixels": 12.0, "file_bytes": 5_000_000, "jobs_of_a_batch": 4, "local_ms": 200.0, "ray_paths_ms": 203.0,
        "ray_bytes_ms": 215.0, "ray_costs_ms": 3.0, "bytes_cost_ms": 12.0, "alone_ms": alone,
    }  # fmt: skip
    monkeypatch.setattr(workers, "measure_overhead", lambda tell: {"model": "technical", "sizes": [size]})
    bench.run_bench_workers(jobs=8, only="overhead", as_json=False)
    told = capsys.readouterr().out
    assert "milliseconds for each job" in told
    assert "+12.0" in told and "20 / 50 / 52" in told
    bench.run_bench_workers(jobs=8, only="overhead", as_json=True)
    found = json.load(io.StringIO(capsys.readouterr().out))
    assert (found["schema_version"], found["overhead"]["sizes"]) == (1, [size])
    assert "scoring" not in found
    with pytest.raises(UsageError, match="there is no part 'all'"):
        bench.run_bench_workers(jobs=8, only="all", as_json=True)
