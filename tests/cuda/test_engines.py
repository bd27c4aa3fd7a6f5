"""Each engine on a card, in each precision, against float32 on the CPU; compiled, and on each step of memory."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hotfolder.bench.document import LEAST_PSNR, MOST_LEVELS, MOST_SCORE
from hotfolder.bench.measure import psnr
from hotfolder.bench.part_denoise import compared
from hotfolder.bench.plain import PlainNetwork
from hotfolder.core import formula
from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.gguf_encoder import read_gguf
from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.engines.upscaling.upscaler import Upscaler
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings
from tests.cuda.conftest import Once
from tests.support import tiny
from tests.support.gguf_files import write_text_encoder

pytestmark = [pytest.mark.cuda, pytest.mark.slow]

CPU = torch.device("cpu")
EXACT = RunnerSettings(device="cpu", precision="float32")
#: Between two values of bfloat16 lies a whole level where it is bright: a picture is rounded to them several times.
_LEVELS = {"float32": MOST_LEVELS, "float16": MOST_LEVELS, "bfloat16": 4}
each_precision = pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
#: Drawing adds up the rounding of every step, of networks that were never trained: of half precision a picture of the
#: same thing is asked here, and of float32 the same picture.
_DRAWN_PSNR = {"float32": LEAST_PSNR, "float16": 30.0, "bfloat16": 25.0}


def on_card(**more: Any) -> RunnerSettings:
    return RunnerSettings(device="cuda", **more)


def opened(paths: Sequence[Path]) -> list[Image.Image]:
    found = []
    for path in paths:
        with Image.open(path) as file:
            found.append(file.convert("RGB"))
    return found


@each_precision
@pytest.mark.parametrize("scorer", ["technical", "random-head"])
def test_scores_are_those_of_the_cpu(
    scorer: str, precision: str, models: Path, pictures: Sequence[Path], card: torch.device, once: Once
) -> None:
    text = scorer if scorer == "technical" else formula.of(str(models / "random-head.safetensors")).text
    folders = (str(models),)
    ours = judged(text, on_card(precision=precision, model_folders=folders), card, pictures)
    exact = once(judged, text, replace(EXACT, model_folders=folders), CPU, pictures)
    assert max(abs(one - other) for one, other in zip(ours, exact, strict=True)) <= MOST_SCORE


def judged(text: str, settings: RunnerSettings, device: torch.device, paths: Sequence[Path]) -> list[float]:
    ensemble = ScorerEnsemble.load(text, settings, device)
    return [each.score.value for each in ensemble.judge(opened(paths))]


@each_precision
@pytest.mark.parametrize("name", ["x4-compact", "random-rrdb.safetensors", "random-compact.safetensors"])
def test_enlarged_pictures_are_those_of_the_cpu(
    name: str, precision: str, models: Path, pictures: Sequence[Path], card: torch.device, once: Once
) -> None:
    model = name if name == "x4-compact" else str(models / name)
    pixels = np.asarray(opened(pictures[:1])[0])[:96, :80]
    ours = enlarged(model, card, on_card(precision=precision), pixels)
    exact = once(plainly, model, pictures[0])
    assert psnr(ours, exact) >= LEAST_PSNR
    assert np.abs(ours - exact).max() <= _LEVELS[precision]


def plainly(model: str, path: Path, rows: int = 96, columns: int = 80) -> Any:
    """A picture's corner, enlarged by the bare network in float32 on the CPU."""
    pixels = np.asarray(opened([path])[0])[:rows, :columns]
    return np.asarray(PlainNetwork(model, EXACT, CPU).enlarge(pixels), np.float64)


def enlarged(model: str, device: torch.device, settings: RunnerSettings, pixels: Any) -> Any:
    spec = Catalogue().resolve(model, Kind.UPSCALE)
    return np.asarray(Upscaler(spec, device, settings).enlarge_one(pixels), np.float64)


def test_tiles_on_a_card_leave_no_seams(models: Path, pictures: Sequence[Path], card: torch.device) -> None:
    model, pixels = str(models / "random-compact.safetensors"), np.asarray(opened(pictures[:1])[0])
    whole, tiled = (enlarged(model, card, on_card(precision="float32", tile=tile), pixels) for tile in (512, 96))
    assert np.abs(whole - tiled).max() <= MOST_LEVELS


@pytest.mark.parametrize("name", ["sdxl", "flux", "z-image"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_denoisers_are_those_of_the_cpu(name: str, dtype: torch.dtype, card: torch.device) -> None:
    found = compared(name, card, dtype)
    assert found.ok, found


def drawn(model: Path, device: torch.device, settings: RunnerSettings) -> tuple[Any, Mapping[str, Any]]:
    spec = Catalogue().resolve(str(model), Kind.GENERATE)
    generator = Generator(spec, device, settings)
    image, how = generator.draw_one({"prompt": "a red circle", "seed": 5, "steps": 3, "width": 64, "height": 64})
    generator.close()
    return np.asarray(image, np.float64), how


@each_precision
@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_drawn_pictures_are_those_of_the_cpu(
    family: str, precision: str, models: Path, card: torch.device, once: Once
) -> None:
    ours, how = drawn(models / family, card, on_card(precision=precision, memory="full"))
    exact, _ = once(drawn, models / family, CPU, replace(EXACT, memory="full"))
    assert how["memory"] == "full"
    assert psnr(ours, exact) >= _DRAWN_PSNR[precision]


@pytest.mark.parametrize("step", list(MemoryPlan))
@pytest.mark.parametrize("family", ["sdxl", "flux"])
def test_each_step_of_memory_draws(
    step: MemoryPlan, family: str, models: Path, card: torch.device, once: Once
) -> None:
    if step in (MemoryPlan.INT8, MemoryPlan.NF4) and importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed (extra 'nf4')")
    ours, how = drawn(models / family, card, on_card(memory=str(step)))
    assert how["memory"] == str(step)
    assert ours.shape == (64, 64, 3)
    if step in (MemoryPlan.OFFLOAD, MemoryPlan.GROUP):  # no bit of the weights is lost
        exact, _ = once(drawn, models / family, card, on_card(memory="tiled"))
        assert np.abs(ours - exact).max() <= MOST_LEVELS


def test_a_text_encoder_in_gguf_reads_as_on_the_cpu(tmp_path: Path, card: torch.device) -> None:
    plain, ids = tiny.t5(), torch.tensor([[5, 80, 17, 3, 250, 9]])
    plain.save_pretrained(tmp_path / "t5")
    write_text_encoder(tmp_path / "it.gguf", plain, "t5encoder")
    ours = read_gguf(tmp_path / "it.gguf", type(plain), tmp_path / "t5", torch.float32)
    with torch.no_grad():
        want = ours(input_ids=ids).last_hidden_state
        for place in (card, torch.device("cpu"), card):  # as it takes turns
            ours.to(place)
        assert {value.device.type for value in ours.parameters()} == {"cuda"}
        found = ours(input_ids=ids.to(card)).last_hidden_state.cpu()
    assert torch.allclose(found, want, atol=1e-3 * float(want.abs().max()))


@pytest.mark.parametrize("compiled", [False, True])
def test_compiled_networks_give_the_same(
    compiled: bool, models: Path, pictures: Sequence[Path], card: torch.device, once: Once
) -> None:
    if compiled and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("there is no C compiler, which torch.compile needs")
    settings = on_card(compile=compiled, tile=64)
    pixels = np.asarray(opened(pictures[:1])[0])[:64, :64]
    ours = enlarged("x4-compact", card, settings, pixels)
    assert psnr(ours, once(plainly, "x4-compact", pictures[0], 64, 64)) >= LEAST_PSNR
    drawn_so, _ = drawn(models / "sdxl", card, on_card(compile=compiled, precision="float32", memory="full"))
    exact, _ = once(drawn, models / "sdxl", CPU, replace(EXACT, memory="full"))
    assert psnr(drawn_so, exact) >= LEAST_PSNR
