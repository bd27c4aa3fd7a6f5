"""The built-in pack keeps the promises of its model cards (a quick form of tools/measure_builtin.py)."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from hotfolder.demo.pictures import draw_landscape, spoil
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.requests import Hooks
from hotfolder.engines.scoring import load_scorer
from hotfolder.engines.scoring.base import Bench
from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.engines.upscaling.upscaler import Upscaler
from hotfolder.errors import ModelDamaged
from hotfolder.models import registry
from hotfolder.models.registry import BUILTIN, Catalogue
from hotfolder.types import Kind, RunnerSettings
from tools import measure_best_of
from tools.builtin import measure
from tools.builtin.captions import SHAPES, SIZES, Spec
from tools.builtin.outlines import shape_seen
from tools.builtin.renders import draw_spec

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator(Catalogue(()).resolve("shapes", Kind.GENERATE), CPU, RunnerSettings())


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler(Catalogue(()).resolve("x4-compact", Kind.UPSCALE), CPU, RunnerSettings())


@pytest.fixture(scope="module")
def ensemble() -> ScorerEnsemble:
    return ScorerEnsemble.load("technical", RunnerSettings(), CPU)


def test_the_pack_is_small() -> None:
    assert sum(path.stat().st_size for path in BUILTIN.rglob("*") if path.is_file()) <= 12_000_000


def test_outlines_are_told_apart() -> None:
    rng = random.Random(5)
    for shape in SHAPES:
        for size in SIZES:
            drawn = draw_spec(Spec("red", shape, "white", size), rng)
            assert shape_seen(drawn) == shape
    blob = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(blob).polygon([(30, 60), (50, 20), (100, 40), (90, 90), (60, 70)], fill="red")
    assert shape_seen(blob) is None
    assert shape_seen(Image.new("RGB", (128, 128), "white")) is None


def test_shapes_and_colours_come_out_as_asked(generator: Generator) -> None:
    def draw(prompt: str, seed: int) -> Image.Image:
        return generator.draw_one({"prompt": prompt, "seed": seed})[0]

    figures = measure.measure_shapes(draw, 40)
    assert figures.shape >= 0.8  # of so few; tools/measure_builtin.py looks at more
    assert figures.both >= 0.95
    assert figures.seconds_per_image <= 3.0


def test_the_same_seed_gives_the_same_pixels_and_another_does_not(generator: Generator) -> None:
    def pixels(seed: int) -> bytes:
        steps: list[tuple[int, int]] = []
        generator.hooks = Hooks(report=lambda _, *step: steps.append(step))
        image, settings = generator.draw_one({"prompt": "a red star on a white background", "seed": seed})
        assert steps == [(n, 8) for n in range(1, 9)]
        assert (settings["steps"], settings["width"], image.size) == (8, 128, (128, 128))
        return image.tobytes()

    assert pixels(3) == pixels(3) != pixels(4)


def test_enlarging_beats_bicubic_on_unseen_renders(upscaler: Upscaler) -> None:
    gains = measure.measure_compact(upscaler, 12)
    assert gains["scenes"] >= 0.5
    assert gains["shapes"] >= 0.5


def test_enlarging_is_not_worse_than_bicubic_on_photographs(upscaler: Upscaler, real_images: Path) -> None:
    found = measure.photographs(real_images)
    gains = {name: measure.gain_over_bicubic(upscaler, image) for name, image in found.items()}
    assert len(gains) >= 4
    assert min(gains.values()) >= 0, gains


def test_the_score_falls_with_every_step_of_every_fault(ensemble: ScorerEnsemble) -> None:
    figures = measure.measure_technical(ensemble, 12)
    assert figures.falling_overall >= 0.95
    assert min(figures.falling.values()) >= 0.9
    assert figures.lowest <= 3
    assert figures.highest >= 8


def test_a_faithful_enlargement_gains_and_one_of_a_blurred_picture_loses(
    upscaler: Upscaler, ensemble: ScorerEnsemble
) -> None:
    figures = measure.measure_gains(upscaler, ensemble, 16)
    assert figures.clean >= 0
    assert figures.clean_not_negative >= 0.7
    assert figures.blurred < 0
    assert figures.blurred_negative >= 0.8


def test_scores_do_not_depend_on_the_company(ensemble: ScorerEnsemble) -> None:
    images = [draw_landscape(i) for i in range(3)] + [Image.new("RGB", (1, 1)), Image.new("RGB", (3000, 2), "red")]
    together = [judged.score.value for judged in ensemble.judge(images)]
    alone = [ensemble.judge([image])[0].score.value for image in images]
    assert np.allclose(together, alone, atol=1e-4)
    assert all(1 <= value <= 10 for value in together)


def test_a_score_says_how_it_was_come_by(ensemble: ScorerEnsemble) -> None:
    score = ensemble.judge([draw_landscape(1)])[0].score
    assert (score.scorer, score.precision) == ("technical", "float32")
    assert len(score.weights_sha256) == 64
    assert score.preprocessing


def test_the_scorer_sees_what_a_person_sees(ensemble: ScorerEnsemble) -> None:
    image = draw_landscape(5)
    clean, blurred = (judged.score.value for judged in ensemble.judge([image, spoil(image, "blur", 4)]))
    assert clean > 6.5 > 5.0 > blurred


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "technical"
    folder.mkdir()
    for path in (BUILTIN / "technical").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    monkeypatch.setattr(registry, "BUILTIN", tmp_path)
    with pytest.raises(ModelDamaged, match="is not the file"):
        ScorerEnsemble.load("technical", RunnerSettings(), CPU)


def test_a_wrong_golden_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Catalogue(()).resolve("technical", Kind.SCORE)
    monkeypatch.setitem(spec.golden, "score", spec.golden["score"] + 0.1)  # type: ignore[arg-type]
    with pytest.raises(ModelDamaged, match="golden"):
        load_scorer(spec, Bench(CPU, torch.float32, RunnerSettings(), {}))


def test_the_best_of_several_scores_better_than_a_single_draw() -> None:
    found = measure_best_of.measure(8, 4)
    assert found["best"] > found["single"] + 0.1, found
