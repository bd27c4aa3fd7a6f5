"""A long prompt file keeps neither a lone photo nor its own first results waiting."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from hotfolder.executors.base import DeviceId, Done
from hotfolder.folders.layout import Layout
from hotfolder.types import Batch, Item, Kind, Progress
from tests.faults.disks import working
from tests.support.live import wait_for
from tests.support.roots import daemon, picture, rows
from tests.support.scripted import ScriptedExecutor


@pytest.mark.slow
def test_five_hundred_prompts_and_one_photo(layout: Layout) -> None:
    def work(kind: Kind, item: Item) -> float:
        time.sleep(0.05 if kind is Kind.GENERATE else 0.005)
        return 6.6

    (layout.inbox(Kind.GENERATE) / "many.txt").write_text("\n".join(f"a cat --seed {n}" for n in range(500)))
    with working(daemon(layout, ScriptedExecutor(work))):
        wait_for(lambda: len(list((layout.root / "keep").iterdir())) > 0, 10, "a first image is kept")
        picture(layout.inbox(Kind.SCORE) / "photo.png", 1)
        wait_for((layout.root / "keep/photo.png").exists, 10, "the photo is kept")
        (left,) = rows(layout, "SELECT count(*) FROM jobs WHERE kind = 'generate' AND state = 'queued'")[0]
    assert left > 100, "the prompts were done first"


class OneModel(ScriptedExecutor):
    """A device with room for one model: each other one has to be loaded in its place, which takes a moment."""

    def __init__(self) -> None:
        super().__init__(lambda *_: 6.6)
        self.loads: list[tuple[float, Kind]] = []
        self._loaded: tuple[Kind, str] | None = None
        self._given: Batch | None = None

    def submit(self, batch: Batch, device: DeviceId) -> None:
        super().submit(batch, device)
        self._given = batch

    def poll(self, timeout: float) -> Sequence[Done]:
        given, self._given = self._given, None
        told: list[Done] = []
        if given is not None:
            first = given.items[0].job_id
            if self._loaded != (given.kind, given.model):
                self._loaded = (given.kind, given.model)
                self.loads.append((time.monotonic(), given.kind))
                told = [Done("cpu", progress=Progress(first, "loading", loading=True))]
                time.sleep(0.1)
            time.sleep(0.01 * len(given.items))
            told.append(Done("cpu", progress=Progress(first, "at work", 0, len(given.items))))
        return [*told, *super().poll(timeout)]


@pytest.mark.slow
def test_a_priority_costs_no_more_loading_of_models(layout: Layout) -> None:
    with (layout.root / "hotfolder.toml").open("a") as file:
        file.write('\n[[inbox]]\nname = "urgent"\nkind = "score"\npriority = 10\n')
    (layout.root / "inbox/urgent").mkdir()
    (layout.inbox(Kind.GENERATE) / "many.txt").write_text("\n".join(f"a cat --seed {n}" for n in range(2000)))
    executor, fair = OneModel(), 2.0
    began = time.monotonic()
    with working(daemon(layout, executor, EXECUTOR__FAIRNESS_SECONDS=str(fair))):
        for number in range(12):  # one after the other, for several turns
            picture(layout.root / f"inbox/urgent/{number}.png", number)
            time.sleep(0.7)
        wait_for(lambda: len(list((layout.root / "keep/urgent").iterdir())) == 12, 10, "all are judged")
    took = time.monotonic() - began
    for kind in (Kind.GENERATE, Kind.SCORE):
        loads = sum(each is kind for _, each in executor.loads)
        # The first changes try whether both fit. A kind that has nothing to do leaves before its turn is over.
        assert loads <= took / fair + 3, executor.loads
