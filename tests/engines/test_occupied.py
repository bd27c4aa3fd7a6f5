"""Another program on the card is noticed before a model is loaded."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hotfolder.core.memory_plan import GIB, MemoryPlan, Working
from hotfolder.engines import model_runner, occupied
from hotfolder.engines.generation import beginning
from hotfolder.engines.generation.beginning import Beginning
from hotfolder.engines.model_runner import ModelRunner
from hotfolder.errors import DeviceOccupied
from hotfolder.types import Batch, FailureClass, Item, Kind, Outcome, Progress, RunnerSettings

CARD = torch.device("cuda", 0)
GENERATOR: Any = SimpleNamespace(defaults={})
SETTINGS = RunnerSettings(precision="bfloat16")


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a generator of 12 GiB, whose denoiser has 8."""
    steps = (MemoryPlan.FULL, MemoryPlan.TILED, MemoryPlan.OFFLOAD)
    monkeypatch.setattr(beginning, "possible_steps", lambda *_: steps)
    monkeypatch.setattr(beginning, "weights_of", lambda _: (12 * GIB, 8 * GIB, 4 * GIB))
    monkeypatch.setattr(beginning, "working_of", lambda *_: None)
    monkeypatch.setattr(beginning, "device_name", lambda _: "card")
    monkeypatch.setattr(occupied, "fingerprint", lambda _: "abc")


@pytest.mark.parametrize(
    ("free", "total", "model", "is_occupied"),
    [
        (23, 24, GENERATOR, False),
        (16, 24, GENERATOR, True),  # the whole would fit, were it not for somebody else
        (10, 24, GENERATOR, True),
        (11.9, 12, GENERATOR, False),  # the card is small, and nobody has anything of it
        (10.9, 12, GENERATOR, False),  # no step would be higher
        (8, 24, None, False),
        (1.5, 24, None, True),
        (1.5, 2, None, False),
    ],
)
def test_it_is_occupied_when_more_would_be_possible(
    free: float, total: float, model: Any, is_occupied: bool
) -> None:
    if not is_occupied:
        occupied.check_free(int(free * GIB), int(total * GIB), CARD, model, SETTINGS)
        return
    with pytest.raises(DeviceOccupied, match=f"{free:.1f} of {total:.1f} GiB are free"):
        occupied.check_free(int(free * GIB), int(total * GIB), CARD, model, SETTINGS)


def test_what_was_learnt_counts_here_as_it_does_at_the_beginning() -> None:
    own = Beginning(GENERATOR, CARD, SETTINGS, "abc")
    assert own.at(16 * GIB) is MemoryPlan.TILED
    own.learnt.worked(MemoryPlan.FULL, (512, 512), 4, 14 * GIB)
    assert own.at(16 * GIB) is MemoryPlan.FULL
    occupied.check_free(16 * GIB, 24 * GIB, CARD, GENERATOR, SETTINGS)
    other = replace(SETTINGS, precision="float32")  # of which nothing is known
    assert Beginning(GENERATOR, CARD, other, "abc").at(16 * GIB) is MemoryPlan.TILED
    with pytest.raises(DeviceOccupied):
        occupied.check_free(16 * GIB, 24 * GIB, CARD, GENERATOR, other)


def test_the_guess_is_that_of_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes so little here that the model would fit beside what the others have."""
    monkeypatch.setattr(beginning, "working_of", lambda *_: Working(GIB, GIB))
    occupied.check_free(16 * GIB, 24 * GIB, CARD, GENERATOR, SETTINGS)


def test_on_a_cpu_nobody_looks() -> None:
    occupied.check_is_ours(torch.device("cpu"), None, SETTINGS)


@pytest.mark.parametrize("waits", [True, False])
def test_a_batch_that_may_wait_is_told_so_before_its_model_is_loaded(
    waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = ModelRunner(RunnerSettings(device="cpu"))
    runner._device = CARD
    monkeypatch.setattr(model_runner, "memory_of", lambda _: (23 * GIB, 24 * GIB))
    monkeypatch.setattr(occupied, "memory_of", lambda _: (23 * GIB, 24 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 0)
    monkeypatch.setattr(model_runner.ScorerEnsemble, "load", lambda *_: pytest.fail("loaded") if waits else 1 / 0)
    told: list[Outcome | Progress] = []
    items = tuple(Item(number, 1, None, "") for number in range(2))
    runner.work(Batch(1, Kind.SCORE, "technical", items, waits), told.append, lambda: False)
    errors = [each.error for each in told if isinstance(each, Outcome) and each.error]
    assert len(errors) == 2
    if waits:
        assert {(error.kind, error.failure) for error in errors} == {("device_occupied", FailureClass.ENVIRONMENT)}
    else:
        assert "ZeroDivisionError" in errors[0].message
    runner._device = None
    runner.close()
