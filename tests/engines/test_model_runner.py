"""What a worker says while it waits for its own threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from hotfolder.engines import model_runner
from hotfolder.engines.generation.requests import GenerationRequest, GenerationResult, Hooks
from hotfolder.engines.model_runner import ModelRunner
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, RunnerSettings, Staged


@pytest.mark.parametrize("doing", ["decoding", "encoding"])
def test_signs_of_life_end_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch, doing: str) -> None:
    """A decoder that never ends must not look alive for ever: the daemon goes by the silence."""
    told: list[Outcome | Progress] = []

    class Slow(Future[str]):
        """Waiting for it takes as long as it is to be waited for, and no time of ours; in the end it is there."""

        now, waits = 0.0, 0

        def result(self, timeout: float | None = None) -> str:
            assert timeout is not None
            self.now += timeout
            self.waits += 1
            if self.waits == 1000:
                self.set_result("at last")
            return super().result(0)

    future = Slow()
    monkeypatch.setattr(model_runner, "time", SimpleNamespace(monotonic=lambda: future.now))
    assert model_runner._wait_for(future, Item(1, 1, None, ""), doing, told.append) == "at last"
    signs = model_runner._LONGEST[doing] / model_runner._SIGN_OF_LIFE
    assert signs - 1 <= len(told) <= signs < 1000


def test_the_next_drawing_begins_before_any_file_of_the_last_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    may_write = threading.Event()

    def stage(*_: Any, **__: Any) -> Staged:
        assert may_write.wait(60)
        return Staged("a.png", "0" * 64, 8, 8, {}, ())

    monkeypatch.setattr(model_runner, "stage", stage)
    monkeypatch.setattr(model_runner, "explained", lambda _: None)
    runner = ModelRunner(RunnerSettings(device="cpu", draw_together=4, decode_threads=2))
    told: list[Outcome | Progress] = []

    def ended() -> list[int]:
        return [event.job_id for event in told if isinstance(event, Outcome)]

    told_steps: list[int] = []

    class Model:
        hooks = Hooks(report=lambda key, step, steps: told_steps.append(step))

        def draw(self, orders: Sequence[GenerationRequest]) -> Iterator[GenerationResult]:
            for order in orders[:4]:
                yield GenerationResult(order.key, Image.new("RGB", (8, 8)), {})
            assert ended() == []
            may_write.set()
            runner._encoder.submit(int).result()  # of one thread: behind all four
            self.hooks.report(orders[4].key, 1, 8)
            assert ended() == [0, 1, 2, 3]  # known at the next step, not at the end of the next drawing
            for step in range(2, 9):
                self.hooks.report(orders[4].key, step, 8)
            yield GenerationResult(orders[4].key, Image.new("RGB", (8, 8)), {})

    items = tuple(Item(number, 1, None, "") for number in range(5))
    runner._generate(Model(), Batch(1, Kind.GENERATE, "any", items), told.append)
    assert ended() == [0, 1, 2, 3, 4]
    assert (told_steps[0], told_steps[-1]) == (1, 8)
    runner.close()
