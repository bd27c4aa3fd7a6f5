"""What is to be done on a card, on a simulated one: all of it runs, lies where it should, and waits for nothing."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hotfolder.bench.weights import save_random_clip, save_random_head
from hotfolder.core import formula
from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.core.sizes import Target
from hotfolder.demo.pictures import draw_landscape
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.model_runner import ModelRunner
from hotfolder.engines.scoring.ensemble import ScorerEnsemble, Started
from hotfolder.engines.scoring.looks import Look
from hotfolder.engines.scoring.stream import Seen, judge_all
from hotfolder.engines.transfer import Fetched
from hotfolder.engines.upscaling.upscaler import Request, Upscaler
from hotfolder.executors.inline import InlineExecutor
from hotfolder.models.registry import Catalogue
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, RunnerSettings, SourceFacts
from tests.cuda.conftest import ballast  # noqa: F401
from tests.cuda.test_memory import test_running_out_of_memory_is_recognised_and_passes  # noqa: F401
from tests.executors.test_contract import (  # the same tests, with the executor of this file
    pictures,  # noqa: F401
    test_a_model_that_is_not_there_fails_the_items_and_nothing_else,  # noqa: F401
    test_each_item_has_one_outcome_and_the_batch_ends,  # noqa: F401
    test_several_batches_one_after_the_other,  # noqa: F401
)
from tests.support import tiny, tiny_families
from tests.support.networks import save_compact
from tests.support.simulated_card import CARD, SimulatedCard, simulated_card

pytestmark = pytest.mark.slow

ON_CPU, ON_CARD = (RunnerSettings(device=name, precision="float32") for name in ("cpu", "cuda:0"))
CPU = torch.device("cpu")
#: Of each kind of pipeline one: the others differ in numbers only.
FAMILIES = {name: getattr(tiny, name) for name in ("sd15", "sdxl", "flux")} | {
    name: make
    for name, make in tiny_families.TINY.items()
    if name not in ("flux2-klein-base", "sana-sprint") and not name.endswith("-turbo")
}


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCard]:
    with simulated_card(monkeypatch, memory=2**30) as made:
        yield made


@pytest.fixture
def card(simulated: SimulatedCard) -> torch.device:
    return CARD


def test_what_lies_on_two_devices_does_not_meet(card: torch.device) -> None:
    """The simulation is worth nothing without this."""
    there, here = torch.ones(3, device=card), torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        there + here
    with pytest.raises(TypeError, match="cuda:0"):
        there.numpy()
    assert (there + here.to(card)).cpu().tolist() == [2, 2, 2]
    assert (there * torch.tensor(2.0))[[0, 2]].tolist() == [2, 2]  # numbers, and lists of indices, may lie here


def test_what_is_fetched_is_there_when_it_was_waited_for(card: torch.device) -> None:
    on_its_way = Fetched(torch.arange(3, device=card))
    assert on_its_way._found.tolist() != [0, 1, 2]
    assert on_its_way.wait().tolist() == [0, 1, 2]


@pytest.fixture
def executor(simulated: SimulatedCard) -> Iterator[Any]:
    made = InlineExecutor(replace(ON_CARD, max_pixels=10_000_000, tile=128))
    yield made
    made.close()


def drawn(model: Path, device: torch.device, settings: RunnerSettings) -> Any:
    generator = Generator(Catalogue().resolve(str(model), Kind.GENERATE), device, settings)
    image, how = generator.draw_one({"prompt": "a red circle", "seed": 5, "steps": 2, "width": 64, "height": 64})
    generator.close()
    assert how["memory"] == settings.memory
    return np.asarray(image, np.float64)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_draws_where_its_parts_take_turns(
    family: str, tmp_path: Path, simulated: SimulatedCard
) -> None:
    tiny_families.awake(FAMILIES[family]()).save_pretrained(tmp_path / "it")
    exact = drawn(tmp_path / "it", CPU, replace(ON_CPU, memory="tiled"))
    for step in (MemoryPlan.OFFLOAD, MemoryPlan.GROUP):
        ours = drawn(tmp_path / "it", CARD, replace(ON_CARD, memory=str(step)))
        assert np.abs(ours - exact).max() == 0, step
    gc.collect()
    assert simulated.allocated == 0  # nothing of it is left on the card


@pytest.mark.parametrize("step", [MemoryPlan.FULL, MemoryPlan.FP8])
@pytest.mark.parametrize("family", ["sdxl", "flux"])
def test_drawing_on_the_other_steps(family: str, step: MemoryPlan, tmp_path: Path, card: torch.device) -> None:
    FAMILIES[family]().save_pretrained(tmp_path / "it")
    exact = drawn(tmp_path / "it", CPU, replace(ON_CPU, memory=str(step)))
    ours = drawn(tmp_path / "it", card, replace(ON_CARD, memory=str(step)))
    assert np.abs(ours - exact).max() == 0


def _landscapes(count: int, side: int) -> list[Any]:
    return [np.asarray(draw_landscape(seed, (side, side))) for seed in range(count)]


def _enlarged(upscaler: Upscaler, given: list[Any]) -> list[Any]:
    asked = [Request(number, pixels, Target()) for number, pixels in enumerate(given)]
    found = {answer.key: answer for answer in upscaler.enlarge(asked, lambda *_: None)}
    assert [each.error for each in found.values() if each.error] == []
    return [found[number].pixels for number in range(len(given))]


@pytest.mark.parametrize(
    "settings", [{"tile": 32}, {"tile": 32, "overlap": 2}, {}], ids=["exact", "blended", "whole"]
)
def test_enlarged_pictures_are_those_of_the_cpu(
    settings: dict[str, int], tmp_path: Path, card: torch.device
) -> None:
    spec = Catalogue().resolve(str(save_compact(tmp_path / "it.safetensors")), Kind.UPSCALE)
    landscapes = _landscapes(3, 80)
    there, here = (
        Upscaler(spec, card, replace(ON_CARD, **settings)),
        Upscaler(spec, CPU, replace(ON_CPU, **settings)),
    )
    here._enlarger.tiling = there.tiling  # on a card, all windows are of one size
    ours, exact = _enlarged(there, landscapes), _enlarged(here, landscapes)
    assert max(np.abs(one.astype(int) - other).max() for one, other in zip(ours, exact, strict=True)) <= 1


def test_the_next_tiles_are_begun_before_the_card_is_waited_for(
    tmp_path: Path, simulated: SimulatedCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Catalogue().resolve(str(save_compact(tmp_path / "it.safetensors")), Kind.UPSCALE)
    upscaler = Upscaler(spec, CARD, replace(ON_CARD, tile=64))
    upscaler._enlarger.batch = 1
    run, order = upscaler.network.run, []
    monkeypatch.setattr(upscaler.network, "run", lambda given: (order.append("begins"), run(given))[1])
    monkeypatch.setattr(simulated, "waited", lambda: order.append("waits"))
    _enlarged(upscaler, _landscapes(4, 64))
    begun = [order[:at].count("begins") for at, what in enumerate(order) if what == "waits"]
    assert begun[0] == 2 and begun[-1] == 4
    firsts = [at for at, what in enumerate(order) if what == "begins"]
    # Between two that are begun, the one before them is fetched, and nothing else is waited for.
    assert "waits" not in order[firsts[0] : firsts[1]]
    assert all("waits" in order[one:other] for one, other in itertools.pairwise(firsts[1:]))


def test_where_two_batches_do_not_fit_they_are_worked_one_after_the_other(
    tmp_path: Path, simulated: SimulatedCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is found out once: what runs out of memory each time takes twice as long."""
    spec = Catalogue().resolve(str(save_compact(tmp_path / "it.safetensors")), Kind.UPSCALE)
    landscapes = _landscapes(5, 64)
    exact = _enlarged(Upscaler(spec, CPU, ON_CPU), landscapes)
    upscaler = Upscaler(spec, CARD, replace(ON_CARD, tile=64))
    upscaler._enlarger.batch = 1
    run, made, refused = upscaler.network.run, list[weakref.ref[Any]](), []

    def narrow(given: Any) -> Any:
        if any(each() is not None for each in made):
            refused.append(len(made))
            raise torch.OutOfMemoryError("CUDA out of memory")
        made.append(weakref.ref(found := run(given)))
        return found

    monkeypatch.setattr(upscaler.network, "run", narrow)
    ours = _enlarged(upscaler, landscapes)
    assert refused == [1]
    assert len(made) == 5
    assert upscaler.tiling.tile == 64
    assert max(np.abs(one.astype(int) - other).max() for one, other in zip(ours, exact, strict=True)) <= 1


def test_what_the_card_was_given_is_ended_where_a_report_fails(tmp_path: Path, simulated: SimulatedCard) -> None:
    """Else it would still read from memory, and write into it, that is given to the next picture."""
    spec = Catalogue().resolve(str(save_compact(tmp_path / "it.safetensors")), Kind.UPSCALE)
    upscaler = Upscaler(spec, CARD, replace(ON_CARD, tile=64))

    def report(*_: object) -> None:
        raise KeyError("told by nobody")

    simulated.waits.clear()
    with pytest.raises(KeyError):
        list(upscaler.enlarge([Request(0, _landscapes(1, 64)[0], Target())], report))
    assert simulated.waits[-1] == "enlarge.py:_fetching"


def test_what_no_memory_is_left_for_is_enlarged_in_smaller_parts(
    tmp_path: Path, simulated: SimulatedCard, caplog: pytest.LogCaptureFixture
) -> None:
    spec = Catalogue().resolve(str(save_compact(tmp_path / "it.safetensors")), Kind.UPSCALE)
    landscapes = _landscapes(3, 96)
    exact = _enlarged(Upscaler(spec, CPU, ON_CPU), landscapes)
    upscaler = Upscaler(spec, CARD, replace(ON_CARD, tile=96))
    upscaler._enlarger.batch = 1
    before = upscaler.tiling.tile
    simulated.others = simulated.memory - simulated.allocated - 2**20
    ours = _enlarged(upscaler, landscapes)
    assert upscaler.tiling.tile < before
    assert "out of memory" in caplog.text
    assert max(np.abs(one.astype(int) - other).max() for one, other in zip(ours, exact, strict=True)) <= 1
    simulated.others = 0
    del upscaler
    gc.collect()
    assert simulated.allocated == 0


def test_scores_are_those_of_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ViT-L/14 and by `technical`: what the device computes, and what is computed of that here."""
    save_random_clip(tmp_path)
    save_random_head(tmp_path)
    text = formula.of(str(tmp_path / "random-head.safetensors")).text
    images = [Image.fromarray(each) for each in _landscapes(3, 96)]

    def judged(device: torch.device, settings: RunnerSettings) -> list[float]:
        settings = replace(settings, model_folders=(str(tmp_path),), scorers=("technical",))
        ensemble = ScorerEnsemble.load(text, settings, device)
        return [part.value for each in ensemble.judge(images) for part in (each.score, *each.parts)]

    exact = judged(CPU, ON_CPU)
    with simulated_card(monkeypatch, memory=4 * 2**30):
        ours = judged(CARD, ON_CARD)
    assert len(ours) == 6
    assert max(abs(one - other) for one, other in zip(ours, exact, strict=True)) <= 1e-4


def test_the_next_looks_are_begun_before_scores_are_waited_for(
    tmp_path: Path, simulated: SimulatedCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a card that could work does not wait for a picture that is decoded."""
    ensemble = ScorerEnsemble.load("technical", ON_CARD, CARD)
    (runner,) = ensemble.runners.values()
    runner.sizing = replace(runner.sizing, size=64, settled=True)
    start, order = ensemble.start, []
    is_begun = threading.Event()

    def begin(looks: Sequence[Look]) -> Started:
        order.append(len(looks))
        is_begun.set()
        return start(looks)

    monkeypatch.setattr(ensemble, "start", begin)
    monkeypatch.setattr(simulated, "waited", lambda: order.append("waits"))
    image = Image.fromarray(_landscapes(1, 96)[0])

    def look(item: Item) -> Seen:
        if item.job_id >= 20:  # these take until the others are on the card
            assert is_begun.wait(60)
        return SourceFacts("0" * 64, 96, 96), ensemble.look(image)

    told: list[Outcome] = []
    asked = [Item(number, 1, None, "") for number in range(30)]
    with ThreadPoolExecutor(2) as pool:
        judge_all(ensemble, asked, look, pool, told.append, lambda item, error: pytest.fail(str(error)))
    assert [each.job_id for each in told] == list(range(30))
    assert len({each.score.value for each in told if each.score is not None}) == 1
    assert order == [20, 10, "waits", "waits"]  # the last ten are begun before the first twenty are waited for


def test_models_that_are_changed_leave_nothing_on_the_card(
    tmp_path: Path,
    simulated: SimulatedCard,
    pictures: list[Path],  # noqa: F811
) -> None:
    tiny.sd15().save_pretrained(tmp_path / "sd15")
    save_compact(tmp_path / "it.safetensors")
    runner = ModelRunner(replace(ON_CARD, tile=64))
    told: list[Outcome | Progress] = []
    params = {"prompt": "a", "seed": 1, "steps": 1, "width": 64, "height": 64}
    try:
        for number in range(3):
            source, staging = str(pictures[0]), str(tmp_path / str(number))
            for kind, model, item in (
                (Kind.UPSCALE, str(tmp_path / "it.safetensors"), Item(number, 1, source, f"{staging}-u")),
                (Kind.SCORE, "technical", Item(number, 1, source, "")),
                (Kind.GENERATE, str(tmp_path / "sd15"), Item(number, 1, None, f"{staging}-g", params)),
            ):
                runner.work(Batch(number, kind, model, (item,)), told.append, lambda: False)
            assert simulated.allocated > 0
            runner.unload()
            assert simulated.allocated == 0
    finally:
        runner.close()
    assert [event.error for event in told if isinstance(event, Outcome) and event.error] == []
