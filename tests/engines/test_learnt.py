"""What was learnt of memory is there after a new start."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.engines.generation.learnt import LearntMemory
from hotfolder.files import remembered

SHAPE = (512, 512)
KEYED = '{"card|abc||full|512x512": %s}'
FREE = 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "memory.json"


def _of(path: Path, device: str = "card", model: str = "abc") -> LearntMemory:
    return LearntMemory(device, model, path=path)


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
    LearntMemory("card", "abc", path=path, clock=lambda: now).failed(MemoryPlan.FULL, SHAPE, 1, FREE)
    found = {
        days: LearntMemory("card", "abc", path=path, clock=lambda days=days: now + days * 86400).needs(
            SHAPE, 1, FREE
        )
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
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 10_000,
        '{"x": {"peak": "y"}}',
        "[" + "1," * 2**20 + "1]",
        KEYED % "3",
        KEYED % f'{{"peak_1": {10**400}, "peak_1_at": {2**62}}}',
        KEYED % '{"peak_1": -5, "peak_1_at": 1e400}',
        KEYED % '{"peak_1": true, "failed_count": true, "free": 1, "failed_at": NaN}',
        KEYED % f'{{"peak_{"9" * 5000}": 5, "peak_²": 5, "peak_": 5, "peak_1": 5, "peak_1_at": {2**63 - 1}}}',
    ],
)
def test_a_file_that_is_damaged_is_as_none_and_made_anew(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    learnt = _of(path)
    assert learnt.needs(SHAPE, 1, FREE) == {}
    learnt.failed(MemoryPlan.FULL, SHAPE, 1, FREE)
    assert _of(path).needs(SHAPE, 1, FREE) == {MemoryPlan.FULL: FREE + 1}
    assert sorted(each.name for each in path.parent.iterdir()) == ["memory.json", "memory.json.lock"]


def test_what_is_no_file_is_not_waited_for(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    assert _of(path).needs(SHAPE, 1, FREE) == {}


def test_a_lock_that_is_never_let_go_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(remembered, "_WAIT", 0.05)
    with remembered._alone(_made(path)):
        _of(path).failed(MemoryPlan.FULL, SHAPE, 1, FREE)
    assert "cannot be written" in caplog.text
    assert not path.exists()


def _made(path: Path) -> Path:
    path.parent.mkdir()
    return path


def test_what_several_workers_learn_at_once_is_all_there(path: Path) -> None:
    def learn(number: int) -> None:
        for size in range(10):
            _of(path, model=f"m{number}").failed(MemoryPlan.FULL, (size + 1, number), 1, FREE)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(learn, range(4)))
    assert len(json.loads(path.read_text())) == 40
    assert len(list(path.parent.iterdir())) == 2


def test_what_is_lost_from_the_file_is_learnt_again(path: Path) -> None:
    learnt = _of(path)
    learnt.worked(MemoryPlan.FULL, SHAPE, 1, 500)
    path.unlink()
    learnt.worked(MemoryPlan.FULL, SHAPE, 1, 500)
    assert _of(path).needs(SHAPE, 1, FREE) == {MemoryPlan.FULL: pytest.approx(550)}


def test_each_number_of_pictures_has_a_peak_of_its_own_for_a_week(path: Path) -> None:
    now = [1_000_000.0]
    learnt = LearntMemory("card", "abc", path=path, clock=lambda: now[0])
    for count, peak in ((1, 300), (4, 700), (1, 200)):
        learnt.worked(MemoryPlan.FULL, SHAPE, count, peak)
    known = {count: learnt.needs(SHAPE, count, FREE) for count in (1, 2, 4, 5)}
    assert known == {
        1: {MemoryPlan.FULL: pytest.approx(330)}, 2: {MemoryPlan.FULL: pytest.approx(770)},
        4: {MemoryPlan.FULL: pytest.approx(770)}, 5: {},
    }  # fmt: skip
    now[0] += 8 * 86400
    assert learnt.needs(SHAPE, 1, FREE) == {}
    learnt.worked(MemoryPlan.FULL, SHAPE, 1, 200)  # less than then, and believed now
    assert learnt.needs(SHAPE, 1, FREE) == {MemoryPlan.FULL: pytest.approx(220)}


def test_another_way_of_drawing_is_another_need(path: Path) -> None:
    LearntMemory("card", "abc", "bfloat16|eager|native|off", path).worked(MemoryPlan.FULL, SHAPE, 1, 500)
    assert LearntMemory("card", "abc", "float32|eager|native|off", path).needs(SHAPE, 1, FREE) == {}


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
