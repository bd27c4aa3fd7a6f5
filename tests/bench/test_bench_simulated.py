"""What `bench all` does on a card, on a simulated one: that it runs, and what it tells of the card's memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from hotfolder.bench import part_denoise
from hotfolder.bench.document import Measurement
from hotfolder.bench.part_compiled import tower
from hotfolder.bench.score import tower_rate
from hotfolder.bench.upscale import flops_per_pixel, network_alone
from hotfolder.bench.weights import save_random_upscaler
from hotfolder.engines.upscaling.network import Network
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings
from tests.support.simulated_card import CARD, SimulatedCard, simulated_card

pytestmark = pytest.mark.slow

SETTINGS = RunnerSettings(device="cuda", precision="bfloat16", draw_together=2)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCard]:
    monkeypatch.setattr(part_denoise, "peak_flops", lambda *_: 1e11)
    monkeypatch.setattr(part_denoise, "bandwidth", lambda *_, **__: 1e10)
    monkeypatch.setattr(part_denoise, "_QUICK_SECONDS", 0.01)
    with simulated_card(monkeypatch) as made:
        yield made


@pytest.mark.parametrize(("name", "ways"), [("sdxl", 3), ("z-image", 2)])
def test_denoisers_are_measured_and_their_memory_is_their_own(card: SimulatedCard, name: str, ways: int) -> None:
    found: list[Measurement] = []
    part_denoise.measure_denoiser(name, SETTINGS, True, found.append)
    # Where it has convolutions, with channels last once more, unless that was taken.
    assert 2 <= len(found) <= ways
    weights = float(found[0].details["weights_millions"] or 0) * 2e6 / 2**20
    for each in found:
        assert each.device_memory_mb is not None and weights <= each.device_memory_mb < 4 * weights + 50
        assert each.correctness[0].ok and each.details["finite"]
    together = found[-1].device_memory_mb
    assert together is not None and (found[0].device_memory_mb or 0) <= together


def test_the_network_for_enlarging_is_measured_without_the_way_to_it(card: SimulatedCard, tmp_path: Path) -> None:
    spec = Catalogue().resolve(str(save_random_upscaler(tmp_path, "compact", small=True)), Kind.UPSCALE)
    network = Network(spec, CARD, SETTINGS)
    before = len(card.waits)
    assert network_alone(network, 16) > 0 and flops_per_pixel(network) > 0
    # Before and after what is timed, and for nothing that would be fetched meanwhile.
    assert set(card.waits[before:]) == {"device.py:synchronise"}


def test_the_tower_is_measured_when_its_batches_have_found_their_size(card: SimulatedCard) -> None:
    sizing = SimpleNamespace(settled=False)
    calls: list[str] = []

    def start(_: Any) -> None:
        calls.append("start")
        sizing.settled = len(calls) >= 6  # with what is finished each time: after the third

    ensemble: Any = SimpleNamespace(
        runners={"clip": SimpleNamespace(sizing=sizing)}, start=start, finish=lambda _: calls.append("finish")
    )
    assert tower_rate(ensemble, [cast(Any, None)] * 4, CARD) > 0
    assert calls == ["start", "finish"] * 4 + ["start"] * 20  # and what is timed waits for nothing


def test_the_tower_is_measured_as_it_is_and_compiled(card: SimulatedCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotfolder.bench.part_compiled.peak_flops", lambda *_: 1e11)
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    found: list[Measurement] = []
    tower("technical", SETTINGS, 4, found.append)
    assert found[0].times_plain is not None and found[0].device_memory_mb is not None
