"""What `bench workers` measures without models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hotfolder.bench import weights, workers
from hotfolder.types import Kind


@pytest.mark.slow
def test_unequal_devices_are_compared_with_the_ideal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTFOLDER_OUTPUT__MIN_FREE_MB", "1")
    found = workers._shared(40)
    for _ in range(3):  # a machine that stands still for a moment makes one of them longer, and no other
        found = min(
            found,
            workers._shared(40) if found["times_ideal"] >= 1.5 else found,
            key=lambda each: each["times_ideal"],
        )
    assert found["jobs"] == sum(found["jobs_of_each"].values()) == 40
    assert found["jobs_of_each"]["c"] <= found["jobs_of_each"]["a"] / 2
    # Nobody is faster than the ideal; equal parts for all would take 2.3 times as long.
    assert 0.95 <= found["times_ideal"] < 1.5


def test_judging_with_random_weights_names_them_to_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are there while it is measured, and as many images are judged as were asked for."""
    seen: list[tuple[int, int, str, list[str]]] = []

    def timed(kind: Kind, count: int, devices: int, changes: Mapping[str, Any]) -> dict[str, Any]:
        (folder,) = changes["models"]["folders"]
        head = Path(changes["score"]["scorer"])
        assert head.is_file() and head.parent == Path(folder)
        seen.append((count, devices, kind, sorted(path.name for path in Path(folder).iterdir())))
        return {"seconds": 8.0 / devices, "worker_cpu_seconds": 8.0}

    monkeypatch.setattr(weights, "save_random_clip", lambda folder: (folder / "clip.safetensors").write_bytes(b""))
    monkeypatch.setattr(workers, "_timed", timed)
    found = workers.bench_workers(10, lambda *_: None, workers.Part.SCORING, random_weights=True)
    files = ["clip.safetensors", "random-head.safetensors"]
    assert seen == [(10, 1, Kind.SCORE, files), (10, 2, Kind.SCORE, files)]
    assert found["scoring"]["times_as_fast"] == found["scoring"]["times_as_fast_by_processor_time"] == 2.0
