"""A card whose memory runs out, and a card that is given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hotfolder.bench.document import MOST_SCORE
from hotfolder.bench.measure import psnr
from hotfolder.core import formula
from hotfolder.engines.device import free_memory, is_out_of_memory, memory_of
from hotfolder.engines.model_runner import ModelRunner
from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.engines.upscaling.upscaler import Upscaler
from hotfolder.models.registry import Catalogue
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, RunnerSettings
from tests.cuda.conftest import MIB, Ballast

pytestmark = [pytest.mark.cuda, pytest.mark.slow]

#: Of smaller tiles: x4plus sees further than they overlap, so that they are blended.
_BLENDED_PSNR = 40.0
#: Model changes after which the memory is to be what it was.
CHANGES = 20


def test_running_out_of_memory_is_recognised_and_passes(card: torch.device, ballast: Ballast) -> None:
    with ballast(64), pytest.raises(RuntimeError) as caught:
        torch.empty(512 * MIB, dtype=torch.uint8, device=card)
    assert is_out_of_memory(caught.value)
    assert float((torch.ones(8, device=card) * 2).sum()) == 16


def test_scoring_halves_its_batches_when_memory_runs_out(
    models: Path, pictures: Sequence[Path], card: torch.device, ballast: Ballast
) -> None:
    settings = RunnerSettings(device="cuda", model_folders=(str(models),))
    ensemble = ScorerEnsemble.load(formula.of(str(models / "random-head.safetensors")).text, settings, card)
    with Image.open(pictures[0]) as file:
        picture = file.convert("RGB")
    (exact,) = ensemble.judge([picture])
    looks = [ensemble.look(picture)] * 512
    (runner,) = ensemble.runners.values()
    runner.sizing = replace(runner.sizing, size=256)  # the largest that a card is given
    with ballast(350):
        found = ensemble.finish(ensemble.start(looks))
    assert runner.sizing.size < 256
    scores = [each.score.value for each in found if not isinstance(each, Exception)]
    assert len(scores) == len(looks)  # none is lost
    assert max(abs(score - exact.score.value) for score in scores) <= MOST_SCORE


def test_enlarging_takes_smaller_tiles_when_memory_runs_out(
    models: Path, card: torch.device, ballast: Ballast
) -> None:
    spec = Catalogue().resolve(str(models / "random-rrdb.safetensors"), Kind.UPSCALE)
    pixels = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    upscaler = Upscaler(spec, card, RunnerSettings(device="cuda", tile=320))
    exact = upscaler.enlarge_one(pixels)
    before = upscaler.tiling.tile
    with ballast(300):
        ours = upscaler.enlarge_one(pixels)
    assert upscaler.tiling.tile < before
    assert psnr(np.asarray(ours), np.asarray(exact, np.float64)) >= _BLENDED_PSNR


def test_memory_is_what_it_was_after_many_changes_of_models(
    models: Path, pictures: Sequence[Path], tmp_path: Path, card: torch.device
) -> None:
    runner = ModelRunner(RunnerSettings(device="cuda", tile=128))
    told: list[Outcome | Progress] = []

    def change(number: int) -> None:
        """One model of each kind is loaded in the place of another."""
        upscaler = str(models / f"random-{('rrdb', 'compact')[number % 2]}.safetensors")
        generator = str(models / ("sd15", "sdxl")[number % 2])
        params = {"prompt": "a", "seed": number, "steps": 1, "width": 64, "height": 64}
        source, staging = str(pictures[0]), str(tmp_path / str(number))
        for kind, model, item in (
            (Kind.UPSCALE, upscaler, Item(number, 1, source, f"{staging}-u")),
            (Kind.GENERATE, generator, Item(number, 1, None, f"{staging}-g", params)),
        ):
            runner.work(Batch(number, kind, model, (item,)), told.append, lambda: False)
        free_memory(card)

    def without_models() -> int:
        """Of the whole card: with models, the allocator's segments are filled otherwise each time."""
        runner.unload()
        free_memory(card)
        return memory_of(card)[0]

    try:
        for number in range(4):  # libraries keep workspaces from their first use on
            change(number)
        allocated = torch.cuda.memory_allocated(card)
        taken = without_models()
        for number in range(4, 4 + CHANGES):
            change(number)
        assert [event.error for event in told if isinstance(event, Outcome) and event.error] == []
        assert abs(torch.cuda.memory_allocated(card) - allocated) <= 0.01 * allocated
        assert abs(without_models() - taken) <= 0.01 * taken
    finally:
        runner.close()
