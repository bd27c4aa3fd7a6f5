"""What was learnt of memory is there after a new start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.engines.generation.learnt import LearntMemory

SHAPE = (512, 512)
FREE = 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "memory.json"


def _of(path: Path, device: str = "card", model: str = "abc") -> LearntMemory:
    return LearntMemory(device, model, path)


def test_a_step_that_was_too_much_is_not_begun_on_until_there_is_more_memory(path: Path) -> None:
    _of(path).failed(MemoryPlan.FULL, SHAPE, 1, FREE)
    again = _of(path)
    assert again.needs(SHAPE, 4, FREE) == {MemoryPlan.FULL: FREE + 1}
    assert again.needs(SHAPE, 4, FREE + 50) == {MemoryPlan.FULL: FREE + 51}
    assert again.needs(SHAPE, 4, 2 * FREE) == {}
    assert again.needs((1024, 512), 4, FREE) == {}
    assert _of(path, device="another").needs(SHAPE, 4, FREE) == {}
    assert _of(path, model="other").needs(SHAPE, 4, FREE) == {}


def test_it_is_tried_again_after_a_week(path: Path) -> None:
    now = 1_000_000.0
    LearntMemory("card", "abc", path, lambda: now).failed(MemoryPlan.FULL, SHAPE, 1, FREE)
    found = {
        days: LearntMemory("card", "abc", path, lambda days=days: now + days * 86400).needs(SHAPE, 1, FREE)
        for days in (-1, 0, 6, 8)
    }
    assert [bool(found[days]) for days in (-1, 0, 6, 8)] == [
        False,
        True,
        True,
        False,
    ]  # a clock may have been wrong


def test_so_many_as_fitted_are_drawn_together(path: Path) -> None:
    _of(path).failed(MemoryPlan.FULL, SHAPE, 4, FREE)
    again = _of(path)
    assert again.needs(SHAPE, 4, FREE) == {}  # fewer do fit
    assert [again.together(MemoryPlan.FULL, SHAPE, wanted, FREE) for wanted in (1, 2, 4, 8)] == [1, 2, 2, 2]
    assert again.together(MemoryPlan.FULL, SHAPE, 4, 2 * FREE) == 4
    assert again.together(MemoryPlan.TILED, SHAPE, 4, FREE) == 4


def test_the_most_that_was_measured_counts_for_as_many_pictures(path: Path) -> None:
    learnt = _of(path)
    for peak in (300, 500, 400):
        learnt.worked(MemoryPlan.FULL, SHAPE, 2, peak)
    again = _of(path)
    assert again.needs(SHAPE, 2, FREE) == {MemoryPlan.FULL: pytest.approx(550)}
    assert again.needs(SHAPE, 4, FREE) == {}
    again.failed(MemoryPlan.FULL, SHAPE, 1, FREE)
    assert again.needs(SHAPE, 2, FREE) == {MemoryPlan.FULL: FREE + 1}
    assert _of(path).needs(SHAPE, 2, 2 * FREE) == {MemoryPlan.FULL: pytest.approx(550)}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"card|abc|full|512x512": 3}', "[" * 10_000, '{"x": {"peak": "y"}}']
)
def test_a_file_that_is_damaged_is_as_none_and_made_anew(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    learnt = _of(path)
    assert learnt.needs(SHAPE, 1, FREE) == {}
    learnt.failed(MemoryPlan.FULL, SHAPE, 1, FREE)
    assert _of(path).needs(SHAPE, 1, FREE) == {MemoryPlan.FULL: FREE + 1}
    assert [each.name for each in path.parent.iterdir()] == ["memory.json"]


def test_where_nothing_can_be_written_it_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    learnt = _of(tmp_path / "file" / "memory.json")
    learnt.failed(MemoryPlan.FULL, SHAPE, 1, FREE)
    assert learnt.needs(SHAPE, 1, FREE) == {}
    assert "cannot be written" in caplog.text


def test_it_does_not_grow_for_ever(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({f"card|{n}|full|1x1": {"failed_count": 1, "free": 1} for n in range(1500)}))
    _of(path).failed(MemoryPlan.FULL, SHAPE, 1, FREE)
    left = json.loads(path.read_text())
    assert len(left) == 1000
    assert _of(path).needs(SHAPE, 1, FREE) == {MemoryPlan.FULL: FREE + 1}
