"""Real pipelines through the whole line: several models in turn, and what is cancelled in the middle."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hotfolder.engines.generation import loaded
from hotfolder.executors.base import only_device
from hotfolder.executors.inline import InlineExecutor
from hotfolder.executors.local import LocalExecutor
from hotfolder.folders.layout import Layout
from hotfolder.types import Batch, Item, Kind
from tests.support import tiny
from tests.support.roots import check_consistent, daemon, files_in, rows, settings

pytestmark = pytest.mark.slow

SIZE = "--width 32 --height 32 --steps 2"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny SD 1.5 and a tiny SDXL."""
    folder = tmp_path_factory.mktemp("models")
    tiny.sd15().save_pretrained(folder / "one")
    tiny.sdxl().save_pretrained(folder / "two")
    return folder


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Each load of a generator: its name, and how much memory this process has just after it, in bytes."""
    found: list[tuple[str, int]] = []
    load = loaded.load

    def counted(spec: object, *rest: object) -> object:
        pipeline = load(spec, *rest)  # type: ignore[arg-type]
        gc.collect()
        found.append((spec.name, psutil.Process().memory_info().rss))  # type: ignore[attr-defined]
        return pipeline

    monkeypatch.setattr(loaded, "load", counted)
    yield found


def test_two_models_alternating_are_loaded_seldom_and_let_go_of_completely(
    layout: Layout, models: Path, loads: list[tuple[str, int]]
) -> None:
    names = ("one", "two")
    lines = [f"a cat --seed {n} {SIZE} --model {models}/{names[n % 2]}" for n in range(40)]
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("\n".join(lines))
    more = {"MODELS__FOLDERS": f'["{models}"]', "GATE__MAX_ATTEMPTS": "1", "EXECUTOR__FAIRNESS_SECONDS": "60"}
    executor = InlineExecutor(settings(layout, **more).runner())
    report = daemon(layout, executor, **more).run(once=True)
    assert (report.done, report.failed) == (80, 0)
    # A scorer comes between: it is loaded beside them, and takes nobody's place.
    assert len(loads) <= 4, loads
    assert {name for name, _ in loads} == set(names)
    (waited,) = rows(layout, "SELECT max(started_at - created_at) FROM jobs")[0]
    assert waited <= 60 + 60  # its own model's turn, and what was in work
    check_consistent(layout)


def test_memory_after_many_changes_is_that_after_the_first(models: Path, loads: list[tuple[str, int]]) -> None:
    from hotfolder.engines.model_runner import ModelRunner
    from hotfolder.types import RunnerSettings

    runner = ModelRunner(RunnerSettings(device="cpu", model_folders=(str(models),)))
    params = {"prompt": "a cat", "seed": 1, "width": 32, "height": 32, "steps": 1}
    for number in range(6):
        item = Item(number, 1, None, str(models / f"staging-{number}"), params)
        batch = Batch(number, Kind.GENERATE, str(models / ("one", "two")[number % 2]), (item,))
        told: list[object] = []
        runner.work(batch, told.append, lambda: False)
    runner.close()
    assert [name for name, _ in loads] == ["one", "two"] * 3
    # The first pair brings libraries in; from the second on, nothing may grow.
    first = max(rss for _, rss in loads[2:4])
    last = max(rss for _, rss in loads[-2:])
    assert last <= 1.05 * first, f"{first >> 20} MiB after the second pair of loads, {last >> 20} after the third"


def test_what_is_cancelled_in_the_worker_ends_within_a_step(layout: Layout) -> None:
    executor = LocalExecutor(settings(layout).runner(), 60)
    params = {"prompt": "a red circle on a blue background", "width": 256, "height": 256, "steps": 400}
    items = tuple(Item(n, 1, None, str(layout.staging / str(n)), {**params, "seed": n}) for n in (1, 2))
    try:
        device = only_device(executor)
        executor.submit(Batch(1, Kind.GENERATE, "shapes", items), device)
        steps: list[int] = []
        outcomes = []
        finished = False
        while not finished:
            for done in executor.poll(60):
                if (
                    done.progress is not None
                    and done.progress.stage == "generating"
                    and done.progress.steps == 400
                ):
                    steps.append(done.progress.step)
                    if len(steps) == 4:
                        executor.cancel([1, 2], device)
                outcomes += [done.outcome] if done.outcome else []
                finished = done.finished is not None
                assert done.lost is None
        assert outcomes == []
        assert max(steps) < 300, "it went on long after it was cancelled"  # this process may have been held up
        # The ids are free again, and so is the model.
        again = Item(1, 2, None, str(layout.staging / "again"), {**params, "steps": 2, "seed": 1})
        executor.submit(Batch(2, Kind.GENERATE, "shapes", (again,)), device)
        made = []
        while not made:
            made = [done.outcome for done in executor.poll(60) if done.outcome is not None]
        assert made[0].error is None
    finally:
        executor.close()


@pytest.mark.usefixtures("heard_at_once")
def test_one_line_of_a_file_is_left(layout: Layout) -> None:
    from hotfolder.status import mailbox
    from tests.support.scripted import ScriptedExecutor

    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a --seed 1 --count 3\nb --seed 1 --count 3")
    executor = ScriptedExecutor(lambda *_: 6.0)
    asked = False

    def script(kind: Kind, item: Item) -> float:
        nonlocal asked
        if not asked:
            asked = True
            (drop_id,) = rows(layout, "SELECT id FROM drops")[0]
            mailbox.ask(layout, {"do": "cancel", "drops": [drop_id], "line": 2})
        return 6.0

    executor.script = script
    daemon(layout, executor, GENERATE__BATCH_SIZE="2").run(once=True)
    assert rows(layout, "SELECT DISTINCT path FROM results WHERE path LIKE '%L1%'") != []
    (left,) = rows(layout, "SELECT count(*) FROM queue WHERE state = 'cancelled'")[0]
    assert left == 3  # the first two are in work, and the third of their line goes on
    first = [path for path in files_in(layout, "reject") if "L1" in path]
    assert first == [f"reject/p-L1-s{n}.png" for n in (1, 2, 3)]
    assert files_in(layout, "archive") == ["archive/p.txt"]
