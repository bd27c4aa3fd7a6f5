"""Each family of generators as a tiny pipeline in its real format on disk: what hotfolder.core.families says is so."""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage21 import pipeline_qwenimage21
from diffusers.pipelines.sana import pipeline_sana, pipeline_sana_sprint, pipeline_sana_sprint_img2img
from diffusers.utils import dummy_torch_and_transformers_and_sentencepiece_objects as stand_ins
from PIL import Image

from hotfolder.core.families import FAMILIES, Guidance, Picture, Together
from hotfolder.engines.device import is_out_of_memory
from hotfolder.engines.generation import generator as generator_module
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.loaded import denoiser_of
from hotfolder.engines.generation.requests import GenerationRequest, Hooks
from hotfolder.errors import BadInput, DeviceTrouble, UsageError
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings
from tests.support import checkpoints
from tests.support.tiny_families import TINY, made, of_no_family

pytestmark = pytest.mark.slow

#: A family that wants a package of its own is tested where that is installed.
each_family = pytest.mark.parametrize(
    "family",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                bool(package := FAMILIES[name].package) and importlib.util.find_spec(package) is None,
                reason=f"it needs the package {package}",
            ),
        )
        for name in TINY
    ],
)
#: Two steps, so that the second sees what the first left.
SMALL = {"width": 64, "height": 64, "steps": 2}
#: Sizes that those families know which draw the nearest of some; the real ones are 512 and 1024 pixels a side.
BINS = {"0.5": [64.0, 128.0], "1.0": [96.0, 96.0], "2.0": [128.0, 64.0]}
Load = Callable[..., Generator]


@pytest.fixture(scope="module", autouse=True)
def _no_network() -> Iterator[None]:
    asked: list[str] = []

    def refuse(*args: Any, **_: Any) -> None:
        asked.append(str(args[-2:]))
        raise OSError("this test has no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield
    assert asked == []


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """What is a size of the code, and not of the model's configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_sana, "ASPECT_RATIO_512_BIN", BINS)
        for module in (pipeline_sana_sprint, pipeline_sana_sprint_img2img):
            patch.setattr(module, "ASPECT_RATIO_1024_BIN", BINS)
        theirs = pipeline_qwenimage21.calculate_dimensions
        patch.setattr(pipeline_qwenimage21, "calculate_dimensions", lambda _, ratio: theirs(128 * 128, ratio))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where the pipeline of a family lies, with a LoRA and a picture beside it."""
    root = tmp_path_factory.mktemp("families")
    blocks = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for name, turned in (("init", blocks), ("other", 255 - blocks)):
        Image.fromarray(turned).resize((96, 64), Image.Resampling.NEAREST).save(root / f"{name}.png")

    @functools.cache
    def saved(family: str) -> Path:
        pipeline = made(family)
        place = root / f"{list(TINY).index(family)}" / "pipeline"  # whose name says nothing
        pipeline.save_pretrained(place)
        if FAMILIES[family].lora:
            checkpoints.lora_file(pipeline, place.parent / "style.safetensors", seed=1)
        return place

    return saved


@pytest.fixture(scope="module")
def load(folder: Callable[[str], Path]) -> Iterator[Load]:
    @functools.cache
    def loaded(family: str, **settings: Any) -> Generator:
        spec = Catalogue().resolve(str(folder(family)), Kind.GENERATE)
        chosen = RunnerSettings(**{"precision": "float32", **settings})
        generator = Generator(spec, torch.device("cpu"), chosen, Hooks(lora=_lora(folder(family))))
        if FAMILIES[family].fixed_area:
            generator._resident.pipeline.default_sample_size = 32  # with a VAE of scale 1, 32 x 32 pixels
        return generator

    yield loaded


def _lora(place: Path) -> Callable[[str], Path]:
    return lambda name: place.parent / f"{name}.safetensors"


def _draw(generator: Generator, **params: Any) -> tuple[Image.Image, dict[str, Any]]:
    image, settings = generator.draw_one({"prompt": "a cat", "seed": 7, **SMALL, **params})
    return image, dict(settings)


def _off(one: Image.Image, other: Image.Image) -> int:
    assert one.size == other.size
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


@each_family
def test_a_family_is_found_by_its_files_and_drawn_as_it_is_recorded(load: Load, family: str) -> None:
    generator, known = load(family), FAMILIES[family]
    steps: list[tuple[int, int]] = []
    generator.hooks = Hooks(report=lambda _, step, total: steps.append((step, total)))
    image, settings = _draw(generator)
    assert (settings["family"], settings["model"]) == (family, generator.name)
    assert image.mode == "RGB"
    assert image.size == (settings["width"], settings["height"]) == ((32, 32) if known.fixed_area else (64, 64))
    ran = 3 if "2.1-turbo" in family else 2
    assert steps == [(number + 1, ran) for number in range(ran)]
    assert settings["steps"] == ran
    assert settings["guidance"] == known.defaults["guidance"]
    assert np.asarray(image).std() > 1  # something is on it
    notes = settings.get("notes", [])
    expected = [known.fixed_area, known.bins, ran != 2]
    assert [any(word in note for note in notes) for word in ("was asked", "resized", "own 3 steps")] == expected
    # The same again, from what stands in its file.
    repeated = {key: settings[key] for key in ("prompt", "seed", "steps", "guidance", "width", "height")}
    repeated |= {"negative_prompt": settings["negative_prompt"], "model_sha256": settings["model_sha256"]}
    assert generator.draw_one(repeated)[0].tobytes() == image.tobytes()
    assert _off(_draw(generator, seed=8)[0], image) > 1
    assert _off(_draw(generator, prompt="a dog on a hill")[0], image) > 0


@each_family
def test_a_picture_of_a_batch_is_the_one_it_is_alone(load: Load, family: str) -> None:
    """Prompts of unlike length, and two of the same."""
    generator = load(family)
    prompts = ["a cat", "a dog that runs over a wide field", "a cow"]
    orders = [
        GenerationRequest(n, {"prompt": prompt, "seed": n, **SMALL, "negative_prompt": ""})
        for n, prompt in enumerate(prompts)
    ]
    drawn = {result.key: result for result in generator.draw(orders)}
    sizes = [drawn[n].settings["batch_size"] for n in range(3) if drawn[n].settings]
    expected = {Together.ANY: [3, 3, 3], Together.EQUAL_LENGTH: [1, 1, 1]}[FAMILIES[family].together]
    assert sizes == expected
    for order in orders:
        image = drawn[order.key].image
        assert image is not None
        assert _off(image, generator.draw_one(order.params)[0]) <= 1


def test_prompts_of_one_length_are_drawn_together_where_that_is_the_rule(load: Load) -> None:
    generator = load("qwen-image-2.1")
    orders = [
        GenerationRequest(n, {"prompt": f"a {word}", "seed": n, **SMALL}) for n, word in enumerate(("cat", "dog"))
    ]
    for result in generator.draw(orders):
        assert result.image is not None
        assert result.settings is not None
        assert result.settings["batch_size"] == 2
        assert _off(result.image, generator.draw_one(orders[result.key].params)[0]) <= 1


@each_family
def test_cancelling_ends_it_within_a_step(load: Load, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(family)
    before, _ = _draw(generator)
    cancelled: list[int] = []
    network = denoiser_of(generator._resident.pipeline)
    hook = network.register_forward_hook(lambda *_: cancelled.append(1))
    generator.hooks = Hooks(is_cancelled=lambda _: bool(cancelled))
    try:
        assert list(generator.draw([GenerationRequest(0, {"prompt": "a", "seed": 1, **SMALL})])) == []
    finally:
        hook.remove()
        generator.hooks = Hooks()
    assert 1 <= len(cancelled) <= 2  # of one step: some ask twice, with the prompt and without
    assert _draw(generator)[0].tobytes() == before.tobytes()


@each_family
def test_what_a_picture_to_begin_from_becomes(load: Load, folder: Callable[[str], Path], family: str) -> None:
    generator, known = load(family), FAMILIES[family]
    asked: dict[str, Any] = {"init_image": str(folder(family).parents[1] / "init.png"), "steps": 4}
    if known.picture is Picture.NO:
        with pytest.raises(BadInput, match="cannot begin from a picture"):
            _draw(generator, **asked)
        return
    other = {**asked, "init_image": asked["init_image"].replace("init.png", "other.png")}
    image, settings = _draw(generator, **asked)
    assert image.size == (64, 64)
    assert _off(image, _draw(generator, **other)[0]) > 0
    assert len(settings["init_image_sha256"]) == 64
    assert _draw(generator, **asked)[0].tobytes() == image.tobytes()
    own = generator.draw_one({"prompt": "a cat", "seed": 7, **asked})[0]
    assert [side % known.grid for side in own.size] == [0, 0]
    assert own.width > own.height  # its proportions, about
    if known.picture is Picture.REFERENCE:
        assert "strength" not in settings
        with pytest.raises(BadInput, match="there is no strength"):
            _draw(generator, **asked, strength=0.5)
    else:
        assert settings["strength"] == known.defaults.get("strength", 0.75)
        if not known.samplers:
            with pytest.raises(BadInput, match=r"leave nothing of the picture") as caught:
                _draw(generator, **{**asked, "steps": 3, "strength": 0.75})
            assert "at least 4 steps" in caught.value.fix
        assert _off(_draw(generator, **asked, strength=0.25)[0], image) > 0
    orders = [GenerationRequest(n, {"prompt": "a cat", "seed": n, **SMALL, **asked}) for n in range(2)]
    for result in generator.draw(orders):
        assert result.image is not None
        assert result.settings is not None
        assert result.settings["batch_size"] == 2
        assert _off(result.image, generator.draw_one(orders[result.key].params)[0]) <= 1


@each_family
def test_guidance_is_off_where_the_table_says_and_needs_no_negative_prompt(load: Load, family: str) -> None:
    generator, known = load(family), FAMILIES[family]
    # With few steps Lumina 2 ends it before the first.
    draw = functools.partial(_draw, generator, steps=4 if family == "lumina2" else 2)
    off = draw(guidance=known.off)[0]
    strong, settings = draw(guidance=30.0)
    changes = _off(strong, off) > 0
    assert changes is (known.guidance is not Guidance.NONE)
    if known.guidance is Guidance.NONE:
        assert settings["guidance"] == known.defaults["guidance"]  # not what had no effect
    if not known.negative:
        with pytest.raises(BadInput, match="takes no negative prompt"):
            _draw(generator, negative_prompt="blurred")
        return
    assert _off(draw(guidance=30.0, negative_prompt="blurred, dark")[0], strong) > 0
    assert draw(guidance=known.off, negative_prompt="blurred, dark")[0].tobytes() == off.tobytes()
    assert known.is_guided(known.off) is False
    assert known.is_guided(known.off + 0.1)


@each_family
def test_an_odd_size_is_refused_with_one_that_is_drawn(load: Load, family: str) -> None:
    generator, known = load(family), FAMILIES[family]
    with pytest.raises(BadInput, match=rf"width is a multiple of {known.grid}, and 60 is not") as caught:
        _draw(generator, width=60)
    near = known.near(60)
    assert caught.value.fix == f"use {near}"
    size = _draw(generator, width=near)[0].size
    assert size == ((32, 32) if known.fixed_area else (near, 64))


@each_family
def test_another_sampler_is_used_or_refused_and_never_draws_garbage(load: Load, family: str) -> None:
    generator = load(family)
    plain = _draw(generator)[0]
    if FAMILIES[family].samplers:
        other = "DDIM" if family == "kolors" else "Euler"  # which is its own
        image, settings = _draw(generator, sampler=other)
        assert settings["sampler"] == other
        assert _off(image, plain) > 0
    else:
        with pytest.raises(BadInput, match="sampler of its own"):
            _draw(generator, sampler="Euler")
    assert _draw(generator)[0].tobytes() == plain.tobytes()


@each_family
def test_a_lora_goes_on_and_off(load: Load, folder: Callable[[str], Path], family: str) -> None:
    generator = load(family)
    generator.hooks = Hooks(lora=_lora(folder(family)))
    plain = _draw(generator)[0]
    if not FAMILIES[family].lora:
        with pytest.raises(BadInput, match="takes no LoRA"):
            _draw(generator, lora=[("style", 1.0)])
    else:
        worn, settings = _draw(generator, lora=[("style", 1.0)])
        assert settings["lora"] == {"style": 1.0}
        assert _off(worn, plain) > 0
    assert _draw(generator)[0].tobytes() == plain.tobytes()


@each_family
def test_what_half_precision_spoils_is_drawn_again_in_float32(
    load: Load, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(family, precision="bfloat16")
    before, settings = _draw(generator)
    assert settings["precision"] == "bfloat16"
    verdicts = [True, False]
    with monkeypatch.context() as patch:
        patch.setattr(generator_module, "is_failed", lambda _: verdicts.pop(0))
        image, settings = _draw(generator)
    assert (settings["precision"], verdicts) == ("float32", [])
    assert np.abs(np.asarray(image, dtype=int) - np.asarray(before, dtype=int)).mean() < 12
    assert _draw(generator)[0].tobytes() == before.tobytes()


@each_family
def test_the_denoiser_in_8_bits_and_the_picture_in_tiles(load: Load, family: str) -> None:
    plain = np.asarray(_draw(load(family))[0], dtype=int)
    image, settings = _draw(load(family, memory="fp8"))
    assert settings["memory"] == "fp8"
    assert np.abs(np.asarray(image, dtype=int) - plain).mean() < 12


# --- what is in no table ------------------------------------------------------------------------


def test_a_pipeline_of_no_family_draws_alone_and_says_so(tmp_path: Path) -> None:
    of_no_family().save_pretrained(tmp_path / "model")
    spec = Catalogue().resolve(str(tmp_path / "model"), Kind.GENERATE)
    assert spec.family == ""
    generator = Generator(spec, torch.device("cpu"), RunnerSettings(precision="float32"))
    orders = [
        GenerationRequest(n, {"prompt": prompt, "seed": n, **SMALL}) for n, prompt in enumerate(("a cat", "a cow"))
    ]
    for result in generator.draw(orders):
        assert result.image is not None
        assert result.settings is not None
        assert (result.image.size, result.settings["batch_size"]) == ((64, 64), 1)
        assert result.settings["notes"] == ["nothing is known of AuraFlowPipeline but its signature"]
    strong = _draw(generator, guidance=9.0)[0]
    assert _off(strong, _draw(generator, guidance=1.0)[0]) > 0
    assert _off(strong, _draw(generator, guidance=9.0, negative_prompt="blurred")[0]) > 0
    with pytest.raises(BadInput, match="sampler of its own"):
        _draw(generator, sampler="Euler")
    with pytest.raises(BadInput, match="cannot begin from a picture"):
        Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
        _draw(generator, init_image=str(tmp_path / "a.png"))
    generator.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": ["pipeline", "MyPipeline"]}, "needs code of its own"),
        ({"_class_name": "MyPipeline"}, "needs code of its own"),
        ({"transformer": ["my_net", "MyNet"]}, "is code that lies beside it"),
        ({"_class_name": "StableVideoDiffusionPipeline"}, "does not draw pictures from words"),
        ({"_class_name": "WanPipeline"}, "does not draw pictures from words"),
    ],
)
def test_a_folder_that_needs_code_of_its_own_is_refused(
    folder: Callable[[str], Path], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    shutil.copytree(folder("lumina2"), tmp_path / "model")
    index = json.loads((tmp_path / "model/model_index.json").read_text())
    (tmp_path / "model/model_index.json").write_text(json.dumps({**index, **changes}))
    (tmp_path / "model/transformer/my_net.py").write_text("raise SystemExit('this was run')")
    spec = Catalogue().resolve(str(tmp_path / "model"), Kind.GENERATE)
    with pytest.raises(UsageError, match=message):
        Generator(spec, torch.device("cpu"), RunnerSettings(precision="float32"))


def test_a_package_that_is_missing_is_named(
    folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffusers, "KolorsPipeline", stand_ins.KolorsPipeline)  # as where it is missing
    shutil.copytree(folder("lumina2"), tmp_path / "model")
    index = json.loads((tmp_path / "model/model_index.json").read_text())
    (tmp_path / "model/model_index.json").write_text(json.dumps({**index, "_class_name": "KolorsPipeline"}))
    spec = Catalogue().resolve(str(tmp_path / "model"), Kind.GENERATE)
    assert spec.family == "kolors"
    with pytest.raises(DeviceTrouble, match="sentencepiece") as caught:
        Generator(spec, torch.device("cpu"), RunnerSettings(precision="float32"))
    assert caught.value.fix == "uv pip install sentencepiece"


def test_memory_that_sana_hides_is_memory() -> None:
    assert is_out_of_memory(UnboundLocalError("cannot access local variable 'image' where it is not associated"))
    assert not is_out_of_memory(UnboundLocalError("cannot access local variable 'other'"))
