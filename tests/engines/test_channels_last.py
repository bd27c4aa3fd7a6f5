"""Which order of values is faster is tried once, and no picture changes its order for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hotfolder.cli.doctor.models import orders
from hotfolder.config.settings import Settings
from hotfolder.core.channels_last import Trial, key, read_key, told
from hotfolder.core.prompts.metadata import from_metadata
from hotfolder.engines.generation import channels_last
from hotfolder.engines.generation.channels_last import ChannelsLast
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.requests import GenerationRequest
from hotfolder.errors import UsageError
from hotfolder.files.remembered import Remembered
from hotfolder.imaging.metadata import explained
from hotfolder.models.fingerprint import fingerprint
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings
from tests.support import tiny

SHAPE = (64, 64)
CPU = torch.device("cpu")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "channels-last.json"


class _Network(nn.Module):
    """Takes as long as is said, in either order, by a clock of its own."""

    now = 0.0

    def __init__(self, usual: float, last: float, off: float = 0.0, *, fails: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3).requires_grad_(False)
        self.seconds = usual, last
        self.off = off
        self.fails = fails
        self.orders: list[bool] = []

    @property
    def is_last(self) -> bool:
        return self.conv.weight.is_contiguous(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        if self.is_last and self.fails:
            raise torch.OutOfMemoryError("out of memory")
        self.orders.append(self.is_last)
        _Network.now += self.seconds[self.is_last]
        return (self.conv(x) + self.off * self.is_last,)


@pytest.fixture(autouse=True)
def _own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_last, "time", SimpleNamespace(perf_counter=lambda: _Network.now))


def _of(network: nn.Module, path: Path, setting: str = "auto") -> ChannelsLast:
    pipeline = SimpleNamespace(unet=network, vae=None)
    return ChannelsLast(pipeline, CPU, setting, lambda shape: key("card", "abc", "how", *shape), path)


def _draw(order: ChannelsLast, network: nn.Module, shape: tuple[int, int] = SHAPE, calls: int = 2) -> None:
    with order.drawing(shape), torch.inference_mode():
        for _ in range(calls):
            network(torch.ones(1, 4, 8, 8))


def test_the_faster_order_is_taken_and_remembered(path: Path) -> None:
    network = _Network(0.2, 0.1)
    order = _of(network, path)
    _draw(order, network)
    assert network.orders == [False, True] * 4 + [True]  # the second call of the drawing is one
    assert "forward" not in vars(network)
    _draw(order, network)
    assert network.orders[9:] == [True, True]
    again = _Network(0.2, 0.1)
    _draw(_of(again, path), again)
    assert again.orders == [True, True]
    entry = json.loads(path.read_text())["card|abc|how|64x64"]
    assert told(entry) == "denoiser with channels last, 100 ms a call instead of 200"


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (_Network(0.1, 0.099), "denoiser in the usual order, 100 ms a call, with channels last 99"),
        (_Network(0.2, 0.1, off=0.1), "denoiser in the usual order: with channels last its pictures would differ"),
    ],
)
def test_the_usual_order_stays_where_the_other_gains_nothing_or_changes_pictures(
    network: _Network, words: str, path: Path
) -> None:
    order = _of(network, path)
    _draw(order, network)
    assert not network.is_last and not network.orders[-1]
    before = len(network.orders)
    _draw(order, network)
    assert network.orders[before:] == [False, False]
    assert [told(entry) for entry in json.loads(path.read_text()).values()] == [words]


def test_what_takes_long_is_not_tried_often(path: Path) -> None:
    for usual, last, calls in ((10.0, 8.0, 2), (2.0, 1.0, 4)):
        network = _Network(usual, last)
        _draw(_of(network, path), network, (8 * int(usual), 64), calls=1)
        assert len(network.orders) == calls and network.is_last


def test_each_shape_has_an_order_of_its_own(path: Path) -> None:
    network = _Network(0.2, 0.1)
    order = _of(network, path)
    _draw(order, network)
    network.seconds = 0.1, 0.2
    _draw(order, network, (128, 64))
    assert not network.is_last
    _draw(order, network)
    assert network.is_last


def test_where_the_memory_does_not_suffice_nothing_is_remembered(path: Path) -> None:
    network = _Network(0.2, 0.1, fails=True)
    order = _of(network, path)
    _draw(order, network)
    _draw(order, network)
    assert network.orders == [False] * 4 and not path.exists()


def test_what_another_worker_found_meanwhile_holds_here_too(path: Path) -> None:
    network = _Network(0.2, 0.1)
    order = _of(network, path)
    with order.drawing(SHAPE):
        Remembered("any", path).note("card|abc|how|64x64", lambda _: {"denoiser": 0, "denoiser_same": 1})
        network(torch.ones(1, 4, 8, 8))
    assert not network.is_last
    _draw(order, network)
    assert not network.is_last


def test_a_drawing_that_ends_before_its_first_call_leaves_nothing(path: Path) -> None:
    network = _Network(0.2, 0.1)
    order = _of(network, path)
    with pytest.raises(KeyboardInterrupt), order.drawing(SHAPE):
        raise KeyboardInterrupt
    assert "forward" not in vars(network) and not path.exists()
    with order.drawing(SHAPE, may_try=False):
        network(torch.ones(1, 4, 8, 8))
    assert network.orders == [False]
    _draw(order, network)
    assert network.is_last


def test_a_hook_in_the_place_of_forward_stays(path: Path) -> None:
    network = _Network(0.2, 0.1)
    hook = network.forward
    network.forward = hook  # type: ignore[method-assign]
    _draw(_of(network, path), network)
    assert vars(network)["forward"] == hook and network.is_last


def test_on_and_off_try_nothing(path: Path) -> None:
    network = _Network(0.1, 0.2)
    _draw(_of(network, path, "off"), network)
    assert network.orders == [False, False]
    _draw(_of(network, path, "on"), network)
    assert network.orders[2:] == [True, True]
    assert not path.exists()
    with pytest.raises(UsageError, match="has no effect on SimpleNamespace"):
        _of(nn.Linear(4, 4), path, "on")


def test_weights_can_be_changed_after_a_trial(path: Path) -> None:
    """As a LoRA does: none of them came of inference mode."""
    network = _Network(0.2, 0.1)
    _draw(_of(network, path), network)
    network.conv.weight.requires_grad_(True).sum().backward()


def test_doctor_tells_what_was_found() -> None:
    own = fingerprint(Catalogue().resolve("shapes", Kind.GENERATE))
    file = Remembered("channels-last.json")
    for model in (own, "another"):
        file.note(key("cpu", model, "bfloat16|torch 2", 128, 128), lambda _: Trial(0.1, 0.05, True).numbers("vae"))
    (found,) = orders(Settings())
    assert found.message == (
        "shapes on cpu, bfloat16, torch 2, 128x128: vae with channels last, 50 ms a call instead of 100; "
        f"deleting {file.path} forgets it"
    )
    assert read_key("cpu|abc|a|b|1x1") == ("cpu", "abc", "a, b, 1x1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("order") / "sd15"
    tiny.sd15().save_pretrained(root)
    yield root


def _generator(folder: Path, setting: str) -> Generator:
    spec = Catalogue().resolve(str(folder), Kind.GENERATE)
    return Generator(spec, CPU, RunnerSettings(precision="float32", channels_last=setting))


def _pictures(generator: Generator, *seeds: int) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    shared = {"prompt": "a cat", "width": 64, "height": 64, "steps": 2}
    drawn = list(generator.draw([GenerationRequest(seed, {**shared, "seed": seed}) for seed in seeds]))
    assert all(each.image is not None for each in drawn)
    return np.stack([np.asarray(each.image, dtype=int) for each in drawn]), dict(drawn[0].settings or {})


@pytest.mark.slow
def test_pictures_are_the_same_from_the_first_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trial, "is_better", property(lambda self: self.is_same))
    plain, settings = _pictures(_generator(folder, "off"), 1, 2)
    assert "channels_last" not in settings
    generator = _generator(folder, "auto")
    first, _ = _pictures(generator, 1, 2)
    assert generator.found_of_order({"width": 64, "height": 64})["vae"] == 1
    assert (_pictures(generator, 1, 2)[0] == first).all()
    assert (_pictures(_generator(folder, "auto"), 1, 2)[0] == first).all()
    assert abs(first - plain).max() <= 1
    assert abs(_pictures(generator, 2)[0][0] - first[1]).max() <= 1
    pipeline = generator._resident.pipeline  # which knows where it is, and is called as it was
    assert type(pipeline).__name__ == "StableDiffusionPipeline"
    assert vars(type(pipeline))["_execution_device"] == CPU


@pytest.mark.slow
def test_what_was_asked_for_is_recorded(folder: Path) -> None:
    _, settings = _pictures(_generator(folder, "on"), 1)
    assert settings["channels_last"] is True
    spec = from_metadata("a.png", explained(settings).text)
    assert spec.notes == (
        "it was drawn with generate.channels_last = 'on': with other settings it looks otherwise",
    )
