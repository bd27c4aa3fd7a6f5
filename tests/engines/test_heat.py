"""A card that is hotter than is wanted works no further until it has cooled."""

from __future__ import annotations

import itertools

import pytest
import torch

from hotfolder.engines import heat, model_runner
from hotfolder.engines.heat import Heat, temperature_of
from hotfolder.engines.model_runner import ModelRunner
from hotfolder.errors import DeviceTooHot
from hotfolder.types import Batch, FailureClass, Item, Kind, Outcome, Progress, RunnerSettings

CARD = torch.device("cuda:0")


def test_it_goes_on_some_degrees_lower() -> None:
    degrees = [80, 81, 80, 76, 75, 80, 81]
    felt, clock = iter([*degrees, 81]), itertools.count()
    hot = Heat(80, lambda _: next(felt), lambda: next(clock))
    found = [hot.is_too_hot(CARD) for _ in degrees]
    assert found == [False, True, True, True, False, False, True]
    with pytest.raises(DeviceTooHot, match="81 °C, where 80 are allowed; it goes on at 75"):
        hot.check(CARD)


def test_it_is_asked_once_a_second_and_not_at_all_without_a_limit() -> None:
    asked: list[float] = []
    times = [0.0]

    def ask(_: torch.device) -> int:
        asked.append(times[0])
        return 99

    without, hot = Heat(0, ask, lambda: times[0]), Heat(80, ask, lambda: times[0])
    assert not without.is_too_hot(CARD) and asked == []
    for times[0] in (0.0, 0.5, 0.9, 1.0):
        assert hot.is_too_hot(CARD)
    assert asked == [0.0, 1.0]


@pytest.mark.parametrize("error", [ModuleNotFoundError("pynvml"), RuntimeError("no sensor")])
def test_what_is_not_known_hinders_nothing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(_: torch.device) -> int:
        raise error

    monkeypatch.setattr(torch.cuda, "temperature", refuse)
    assert (temperature_of(CARD), temperature_of(torch.device("cpu"))) == (0, 0)
    assert not Heat(80).is_too_hot(CARD)


def test_the_image_in_work_is_ended_and_the_rest_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    degrees = 70
    monkeypatch.setattr(heat, "temperature_of", lambda _: degrees)
    monkeypatch.setattr(heat, "_EVERY", 0.0)
    monkeypatch.setattr(model_runner, "_METER_EVERY", 0.0)
    runner = ModelRunner(RunnerSettings(device="cpu", max_temperature=80, decode_threads=1))
    told: list[Outcome | Progress] = []

    def emit(event: Outcome | Progress) -> None:
        nonlocal degrees
        told.append(event)
        if isinstance(event, Progress) and event.step == 1:
            degrees = 81

    items = tuple(Item(number, 1, None, "/nowhere", {"seed": number}) for number in range(3))
    batch = Batch(1, Kind.GENERATE, "shapes", items)
    try:
        hooks = runner._hooks(emit, runner._cooled(lambda: False), lambda _: False)
        runner._own_device()
        assert not hooks.should_stop()
        runner._metered(emit)(Progress(0, "generating", 1, 2))
        assert isinstance(told[-1], Progress) and told[-1].temperature == 70
        assert hooks.should_stop()
        told.clear()
        runner.work(batch, emit, lambda: False)
        errors = [event.error for event in told if isinstance(event, Outcome)]
        assert [(error.kind, error.failure) for error in errors if error] == [
            ("device_too_hot", FailureClass.ENVIRONMENT)
        ] * 3
        assert runner._models == {}  # nothing was loaded
        degrees = 75
        assert not hooks.should_stop()
    finally:
        runner.close()
