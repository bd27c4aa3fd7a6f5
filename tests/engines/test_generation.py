"""Text to image with tiny pipelines of the three families: real architectures, worthless pictures."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import socket
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import psutil
import pytest
import torch
import transformers
from diffusers import AutoencoderKL, FluxTransformer2DModel, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, tokenization_utils_base

from hotfolder import __version__
from hotfolder.core.memory_plan import GIB, MemoryPlan, begin_on, next_step
from hotfolder.core.samplers import SAMPLERS
from hotfolder.engines.generation import generator as generator_module
from hotfolder.engines.generation import loaded as loaded_module
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.picture import init_image
from hotfolder.engines.generation.requests import GenerationRequest, GenerationResult, Hooks
from hotfolder.engines.generation.textual_inversion import TextualInversions
from hotfolder.errors import BadInput, DeviceTrouble, FailedPicture, HotfolderError
from hotfolder.files.regular import open_regular
from hotfolder.models.registry import Catalogue
from hotfolder.types import FailureClass, Kind, RunnerSettings
from tests.support import checkpoints, tiny

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
FAMILIES = ("sd15", "sdxl", "flux")
#: Of a family: what is recorded as family, sampler and guidance.
RECORDED = {
    "sd15": ("sd15", "PLMS", 7.5),
    "sdxl": ("sdxl", "Euler", 5.0),
    "flux": ("flux-schnell", "FlowMatchEulerDiscrete", 0.0),
}
#: A family -> one whose LoRA does not fit it.
STRANGER = {"sd15": "sdxl", "sdxl": "sd15", "flux": "sd15"}
each_family = pytest.mark.parametrize("family", FAMILIES)

Load = Callable[..., Generator]


@pytest.fixture(scope="module", autouse=True)
def asked_network() -> Iterator[list[str]]:
    """Every address that was asked for: none may be."""
    asked: list[str] = []

    def refuse(*args: Any, **_: Any) -> None:
        asked.append(str(args[-2:]))
        raise OSError("this test has no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield asked
    assert asked == []


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for models: three pipelines, two LoRAs for each, and a picture of 100 x 60 to begin from."""
    folder = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        pipeline = getattr(tiny, family)()
        pipeline.save_pretrained(folder / family)
        for seed in (1, 2):
            checkpoints.lora_file(pipeline, folder / f"{family}-{seed}.safetensors", seed=seed)
    _noise(100, 60).save(folder / "init.png")
    return folder


@pytest.fixture(scope="module")
def usual(models: Path) -> Iterator[Callable[[str], Generator]]:
    """Of each family one with the usual settings, for all tests that leave it as it was."""
    kept = functools.cache(lambda family: _load(models, family))
    yield kept
    for family in FAMILIES:
        kept(family).close()


@pytest.fixture
def load(models: Path, usual: Callable[[str], Generator]) -> Iterator[Load]:
    """The usual generator of a family; or one of its own for the test, with these hooks and settings."""
    own: list[Generator] = []

    def either(family: str, hooks: Hooks | None = None, **settings: Any) -> Generator:
        if hooks is None and not settings:
            found = usual(family)
            found.hooks = _hooks(models)
            return found
        own.append(_load(models, family, hooks, **settings))
        return own[-1]

    yield either
    for generator in own:
        generator.close()


def _load(
    models: Path, family: str, hooks: Hooks | None = None, begin: MemoryPlan | None = None, **settings: Any
) -> Generator:
    """In float32, unless it is told otherwise: 'auto' takes bfloat16 on some CPUs."""
    entry = {
        "name": f"tiny-{family}", "kind": "generate", "files": [{"path": "model_index.json"}],
        "defaults": {"width": 32, "height": 32, "steps": 2},
    }  # fmt: skip
    spec = Catalogue((str(models / family),), (entry,)).resolve(f"tiny-{family}", Kind.GENERATE)
    chosen = RunnerSettings(**{"precision": "float32", **settings})
    return Generator(spec, CPU, chosen, hooks or _hooks(models), begin)


def _hooks(models: Path, **more: Any) -> Hooks:
    find = {kind: lambda name: models / f"{name}.safetensors" for kind in ("lora", "embedding")}
    return Hooks(**{**find, **more})


def _noise(width: int, height: int, seed: int = 0) -> Image.Image:
    # Blocks, so that something of it is left when it is made smaller.
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)


def _orders(count: int, **params: Any) -> list[GenerationRequest]:
    """Of different words and seeds; their keys are not their places."""
    return [
        GenerationRequest(100 + n, {"prompt": "a cat" + " xy" * n, "seed": 50 + n, **params}) for n in range(count)
    ]


def _solo(generator: Generator, order: GenerationRequest) -> Image.Image:
    image, settings = generator.draw_one(order.params)
    assert settings["batch_size"] == 1
    return image


def _off(one: Image.Image | None, other: Image.Image | None) -> int:
    """The largest difference of any value, of 255."""
    assert one is not None
    assert other is not None
    assert one.size == other.size
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


def _off_on_average(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).mean())


def _weights(generator: Generator) -> dict[str, torch.Tensor]:
    parts = generator._resident.pipeline.components.items()
    return {
        f"{name}.{key}": tensor.clone()
        for name, part in parts
        if isinstance(part, torch.nn.Module)
        for key, tensor in part.state_dict().items()
    }


def _are_same(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> bool:
    assert before
    return before.keys() == after.keys() and all(
        before[key].dtype is after[key].dtype and torch.equal(before[key], after[key]) for key in before
    )


def _settings(drawn: Sequence[GenerationResult], key: str) -> list[Any]:
    return [one.settings[key] if one.settings else None for one in drawn]


def _count_steps(patch: pytest.MonkeyPatch, then: Callable[[int], None]) -> list[int]:
    """Calls `then` with a number before each time the UNet is asked; gives the list of how many it was asked for."""
    asked: list[int] = []
    theirs = UNet2DConditionModel.forward

    def forward(self: Any, sample: torch.Tensor, *args: Any, **more: Any) -> Any:
        asked.append(len(sample))
        then(len(asked))
        return theirs(self, sample, *args, **more)

    patch.setattr(UNet2DConditionModel, "forward", forward)
    return asked


# --- what is drawn -------------------------------------------------------------------------------


@each_family
def test_a_picture_comes_from_a_folder_without_any_network(
    load: Load, models: Path, family: str, asked_network: list[str]
) -> None:
    generator = load(family, _hooks(models))  # loaded here, behind the guard
    steps: list[tuple[int, int, int]] = []
    generator.hooks = _hooks(models, report=lambda *step: steps.append(step))
    first, settings = generator.draw_one({"prompt": "a cat", "seed": 7, "width": 48, "height": 32, "steps": 3})
    assert asked_network == []
    assert first.mode == "RGB"
    assert first.size == (settings["width"], settings["height"]) == (48, 32)
    assert (settings["family"], settings["sampler"], settings["guidance"]) == RECORDED[family]
    assert (settings["model"], settings["steps"], settings["seed"]) == (f"tiny-{family}", 3, 7)
    assert (settings["prompt"], settings["negative_prompt"]) == ("a cat", "")
    assert len(settings["model_sha256"]) == 64
    assert set(settings["model_sha256"]) <= set("0123456789abcdef")
    assert (settings["precision"], settings["memory"]) == ("float32", "full")
    assert (settings["batch_index"], settings["batch_size"]) == (0, 1)
    assert [settings[name] for name in ("hotfolder", "diffusers", "transformers", "torch")] == [
        __version__, diffusers.__version__, transformers.__version__, torch.__version__,
    ]  # fmt: skip
    assert settings["device"].startswith("cpu")
    assert not {"lora", "init_image", "strength"} & set(settings)
    assert [step for _, step, _ in steps] == list(range(1, len(steps) + 1))
    assert {(key, total) for key, _, total in steps} == {(0, len(steps))}
    assert json.loads(json.dumps(settings)) == settings  # it goes into files


@each_family
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(load: Load, family: str) -> None:
    def draw(generator: Generator, **params: Any) -> bytes:
        return generator.draw_one({"prompt": "a cat", "seed": 7, **params})[0].tobytes()

    generator = load(family)
    first = draw(generator)
    assert draw(generator, seed=8) != first
    assert draw(generator, prompt="a dog") != first
    assert draw(generator, steps=4) != first
    assert draw(generator) == first
    assert draw(load(family, draw_together=1)) == first  # loaded once more


def test_what_an_order_says_reaches_the_pipeline(load: Load) -> None:
    generator = load("sd15")

    def draw(**params: Any) -> tuple[bytes, Any]:
        image, settings = generator.draw_one({"prompt": "a cat", "seed": 7, **params})
        return image.tobytes(), settings

    plain = draw()[0]
    for key, value in (("guidance", 2.0), ("guidance", 0), ("negative_prompt", "a dog")):
        pixels, settings = draw(**{key: value})
        assert pixels != plain, key
        assert settings[key] == value


def test_the_words_of_one_prompt_do_not_reach_another(load: Load) -> None:
    drawn = list(load("sd15").draw(_orders(2, negative_prompt="blurred")))
    assert _settings(drawn, "prompt") == ["a cat", "a cat xy"]
    assert _settings(drawn, "negative_prompt") == ["blurred", "blurred"]


# --- batches -------------------------------------------------------------------------------------


@each_family
def test_a_picture_of_a_batch_is_the_one_it_is_alone(load: Load, family: str) -> None:
    generator, orders = load(family), _orders(4)
    drawn = list(generator.draw(orders))
    assert [one.key for one in drawn] == [100, 101, 102, 103]
    assert _settings(drawn, "seed") == [50, 51, 52, 53]
    assert _settings(drawn, "batch_index") == [0, 1, 2, 3]
    assert _settings(drawn, "batch_size") == [4, 4, 4, 4]
    alone = [_solo(generator, order) for order in orders]
    assert [_off(one.image, other) <= 1 for one, other in zip(drawn, alone, strict=True)] == [True] * 4
    assert min(_off(alone[0], other) for other in alone[1:]) > 1  # or the line above says nothing


def test_only_what_has_one_shape_is_drawn_together(load: Load) -> None:
    orders = [
        order if n % 3 else GenerationRequest(order.key, {**order.params, "width": 40})
        for n, order in enumerate(_orders(7))
    ]
    drawn = list(load("sd15").draw(orders))
    assert [one.key for one in drawn] == [order.key for order in orders]
    assert _settings(drawn, "width") == [40, 32, 32, 40, 32, 32, 40]
    assert _settings(drawn, "batch_size") == [1, 2, 2, 1, 2, 2, 1]


def test_a_pipeline_that_fails_at_one_picture_leaves_the_others(
    load: Load, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time, as on a small GPU: the pipeline itself breaks at the third of eight."""
    orders = _orders(8)
    alone = [_solo(load("sd15"), order) for order in orders]
    generator = load("sd15", _hooks(models), draw_together=1)

    def fail_third(number: int) -> None:
        if number == 8:  # three times for each: PLMS draws one step twice
            raise RuntimeError("something broke")

    asked = _count_steps(monkeypatch, fail_third)
    drawn = list(generator.draw(orders))
    assert len(asked) == 7 * 3 + 2
    assert [one.key for one in drawn] == [order.key for order in orders]
    assert [n for n, one in enumerate(drawn) if one.error] == [2]
    assert "something broke" in str(drawn[2].error)
    assert _settings(drawn, "seed") == [50, 51, None, 53, 54, 55, 56, 57]
    assert [_off(drawn[n].image, alone[n]) for n in (0, 1, 3, 4, 5, 6, 7)] == [0] * 7


def _break_to_picture(patch: pytest.MonkeyPatch) -> None:
    """The third picture of all cannot be made of its pixels."""
    asked = 0
    theirs = generator_module.to_picture

    def to_picture(pixels: torch.Tensor, background: str) -> Image.Image:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise ValueError("no picture of this")
        return theirs(pixels, background)

    patch.setattr(generator_module, "to_picture", to_picture)


def _break_second_try(patch: pytest.MonkeyPatch) -> None:
    """The third picture is black, drawn with others and alone, and drawing it in float32 breaks."""
    asked: list[int] = []

    def spoil(pixels: torch.Tensor) -> torch.Tensor:
        asked.append(len(pixels))
        return _spoil(pixels, 2 if len(pixels) > 1 else 0, float("nan")) if len(asked) <= 2 else pixels

    _decode_as(patch, spoil)

    def again(_: Any, __: Any, order: GenerationRequest) -> None:
        raise RuntimeError(f"no second try of {order.key}")

    patch.setattr(Generator, "_again_in_float32", again)


@pytest.mark.parametrize("break_one", [_break_to_picture, _break_second_try])
def test_a_failure_at_one_picture_of_a_batch_leaves_the_others(
    load: Load, monkeypatch: pytest.MonkeyPatch, break_one: Callable[[pytest.MonkeyPatch], None]
) -> None:
    generator, orders = load("sd15"), _orders(8)
    alone = [_solo(generator, order) for order in orders]
    break_one(monkeypatch)
    drawn = list(generator.draw(orders))
    assert [one.key for one in drawn] == [order.key for order in orders]  # none twice, none missing
    assert [n for n, one in enumerate(drawn) if one.error] == [2]
    assert _settings(drawn, "seed") == [50, 51, None, 53, 54, 55, 56, 57]
    assert [_off(drawn[n].image, alone[n]) <= 1 for n in (0, 1, 3, 4, 5, 6, 7)] == [True] * 7


def test_a_prompt_that_breaks_the_pipeline_fails_alone(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its batch fail with it, and nobody knows whose fault it was: they are drawn one by one, the rest not."""
    generator, orders = load("sd15"), _orders(8)
    alone = [_solo(generator, order) for order in orders]
    culprit = orders[2].params["prompt"]

    def refuse(_: Any, prompts: list[str]) -> bool:
        if culprit in prompts:
            raise RuntimeError("something broke")
        return True

    asked = _ration(monkeypatch, refuse)
    drawn = list(generator.draw(orders))
    assert asked == [4, 1, 1, 1, 1, 4]
    assert [one.key for one in drawn] == [order.key for order in orders]
    assert [n for n, one in enumerate(drawn) if one.error] == [2]
    assert _settings(drawn, "seed") == [50, 51, None, 53, 54, 55, 56, 57]
    assert [_off(drawn[n].image, alone[n]) <= 1 for n in (0, 1, 3, 4, 5, 6, 7)] == [True] * 7


def test_a_failure_that_all_share_is_told_once_for_each(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> bool:
        raise RuntimeError("something broke")

    with monkeypatch.context() as patch:
        asked = _ration(patch, refuse)
        drawn = list(load("sd15").draw(_orders(5)))
    assert [one.key for one in drawn] == [100, 101, 102, 103, 104]
    assert [str(one.error) for one in drawn] == ["something broke"] * 5
    assert len(asked) <= 6
    assert [one.error for one in load("sd15").draw(_orders(1))] == [None]


# --- LoRA ----------------------------------------------------------------------------------------


def _wearing(generator: Generator, *lora: tuple[str, float]) -> tuple[Image.Image, Any]:
    return generator.draw_one({"prompt": "a cat", "seed": 7, "lora": lora})


@each_family
def test_lora_changes_the_picture_and_comes_off_without_a_trace(load: Load, family: str) -> None:
    generator = load(family)
    weights = _weights(generator)
    plain, settings = _wearing(generator)
    assert "lora" not in settings
    one, settings = _wearing(generator, (f"{family}-1", 1.0))
    assert settings["lora"] == {f"{family}-1": 1.0}
    other, _ = _wearing(generator, (f"{family}-2", 1.0))
    both, settings = _wearing(generator, (f"{family}-1", 0.8), (f"{family}-2", 0.6))
    assert settings["lora"] == {f"{family}-1": 0.8, f"{family}-2": 0.6}
    less, _ = _wearing(generator, (f"{family}-1", 0.4))
    pictures = [plain, one, other, both, less]
    apart = [_off_on_average(a, b) for n, a in enumerate(pictures) for b in pictures[n + 1 :]]
    assert min(apart) > 1, apart
    none, _ = _wearing(generator, (f"{family}-1", 0.0))
    assert none.tobytes() == plain.tobytes()
    assert _wearing(generator, (f"{family}-1", 1.0))[0].tobytes() == one.tobytes()
    assert _wearing(generator)[0].tobytes() == plain.tobytes()
    assert _are_same(weights, _weights(generator))


@each_family
def test_a_lora_of_another_family_is_refused_and_leaves_no_trace(load: Load, family: str) -> None:
    generator, stranger = load(family), f"{STRANGER[family]}-1"
    weights = _weights(generator)
    plain, worn = _wearing(generator)[0], _wearing(generator, (f"{family}-1", 1.0))[0]
    for lora in ((stranger,), (f"{family}-1", stranger)):
        with pytest.raises(BadInput, match=rf"{stranger}\.safetensors does not fit"):
            _wearing(generator, *((name, 1.0) for name in lora))
        assert _wearing(generator)[0].tobytes() == plain.tobytes()
    assert _wearing(generator, (f"{family}-1", 1.0))[0].tobytes() == worn.tobytes()
    assert _wearing(generator)[0].tobytes() == plain.tobytes()
    assert _are_same(weights, _weights(generator))


def test_a_lora_in_kohyas_layout_is_the_same(load: Load, models: Path) -> None:
    checkpoints.kohya_lora_file(tiny.sd15(), models / "kohya.safetensors", seed=1)
    one, other = _wearing(load("sd15"), ("sd15-1", 1.0))[0], _wearing(load("sd15"), ("kohya", 1.0))[0]
    assert _off(one, other) <= 1


def _cut(whole: Path, path: Path) -> None:
    path.write_bytes(whole.read_bytes()[:-100])


def _cut_in_its_header(whole: Path, path: Path) -> None:
    path.write_bytes(whole.read_bytes()[:60])


def _as_text(whole: Path, path: Path) -> None:
    path.write_text("<html>404</html>")


def _as_empty(whole: Path, path: Path) -> None:
    path.write_bytes(b"")


def _as_pickle(whole: Path, path: Path) -> None:
    torch.save(load_file(whole), path)


def _as_nothing_of_it(whole: Path, path: Path) -> None:
    save_file({"x": torch.zeros(1)}, path)


def _as_wrong_shapes(whole: Path, path: Path) -> None:
    save_file({key: torch.zeros(3, 5) for key in load_file(whole)}, path)


def _as_one_half(whole: Path, path: Path) -> None:
    save_file({key: weights for key, weights in load_file(whole).items() if "lora_A" in key}, path)


_SPOILT = [_cut, _cut_in_its_header, _as_text, _as_empty, _as_pickle, _as_nothing_of_it, _as_wrong_shapes]


@pytest.mark.parametrize("spoil", [*_SPOILT, _as_one_half])
def test_a_spoilt_lora_is_refused_by_name(
    load: Load, models: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path, Path], None]
) -> None:
    unpickled: list[Any] = []
    monkeypatch.setattr(torch, "load", lambda *args, **_: unpickled.append(args))
    spoil(models / "sd15-1.safetensors", models / "spoilt.safetensors")
    generator = load("sd15")
    plain = _wearing(generator)[0]
    with pytest.raises(HotfolderError, match=r"spoilt\.safetensors") as caught:
        _wearing(generator, ("spoilt", 1.0))
    assert caught.value.failure in (FailureClass.BAD_INPUT, FailureClass.ENVIRONMENT)
    assert unpickled == []
    assert _wearing(generator)[0].tobytes() == plain.tobytes()


def test_a_lora_may_end_in_sft(load: Load, models: Path) -> None:
    """As Catalogue.resolve finds them."""
    shutil.copy(models / "sd15-1.safetensors", models / "other.sft")
    generator = load("sd15")
    want = _wearing(generator, ("sd15-1", 1.0))[0]
    generator.hooks = Hooks(lora=lambda name: models / f"{name}.sft")
    assert _wearing(generator, ("other", 1.0))[0].tobytes() == want.tobytes()


def test_a_lora_that_was_replaced_is_read_again(load: Load, models: Path) -> None:
    generator = load("sd15")
    want = _wearing(generator, ("sd15-2", 1.0))[0]
    shutil.copy(models / "sd15-1.safetensors", models / "changing.safetensors")
    assert _off_on_average(_wearing(generator, ("changing", 1.0))[0], want) > 1
    (models / "changing.safetensors").unlink()
    shutil.copy(models / "sd15-2.safetensors", models / "changing.safetensors")
    assert _wearing(generator, ("changing", 1.0))[0].tobytes() == want.tobytes()


def test_a_lora_that_is_gone_is_named(load: Load) -> None:
    with pytest.raises(HotfolderError, match=r"nowhere\.safetensors"):
        _wearing(load("sd15"), ("nowhere", 1.0))


# --- textual inversion ----------------------------------------------------------------------------


def _inversion(models: Path, name: str, family: str, vectors: int = 3, seed: int = 1) -> str:
    """A file in the layout of Civitai's: 'emb_params', or one tensor for each of SDXL's encoders."""
    torch.manual_seed(seed)
    widths = {"sd15": {"emb_params": 32}, "sdxl": {"clip_l": 24, "clip_g": 40}}[family]
    tensors = {key: torch.randn(vectors, width) * 3 for key, width in widths.items()}
    save_file(tensors, models / f"{name}.safetensors")
    return name


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_textual_inversion_changes_the_pictures_that_name_it_and_no_others(
    load: Load, models: Path, family: str
) -> None:
    name = _inversion(models, f"style-{family}", family)
    other = _inversion(models, f"other-{family}", family, vectors=1, seed=2)
    generator = load(family, _hooks(models))

    def drawn(prompt: str, **more: Any) -> Image.Image:
        return generator.draw_one({"prompt": prompt, "seed": 7, **more})[0]

    plain, long = drawn("a cat"), drawn(f"{WORDS} red")
    tag = f"<embedding:{name}>"
    one = drawn(f"a cat {tag}")
    pictures = [
        plain,
        one,
        drawn(f"a cat embedding:{other}"),
        drawn(f"a cat (embedding:{name}:1.4)"),
        drawn("a cat", negative_prompt=tag),
        drawn(f"a cat {tag} <embedding:{other}>"),
    ]
    apart = [_off_on_average(a, b) for n, a in enumerate(pictures) for b in pictures[n + 1 :]]
    assert min(apart) > 0.01, apart
    assert _off_on_average(drawn(f"{WORDS} {tag}"), long) > 0.01  # also where compel reads
    assert drawn(f"a cat embedding:{name}").tobytes() == one.tobytes()
    assert drawn("a cat").tobytes() == plain.tobytes()
    assert drawn(f"{WORDS} red").tobytes() == long.tobytes()
    _, settings = generator.draw_one({"prompt": f"a cat {tag}", "seed": 7})
    assert settings["prompt"] == f"a cat {tag}"  # as it was asked for, so that it can be drawn again

    _inversion(models, name, family, seed=3)
    assert _off_on_average(drawn(f"a cat {tag}"), one) > 0.01  # the file was replaced


def test_the_end_of_a_text_with_a_textual_inversion_is_found_with_an_old_configuration(models: Path) -> None:
    pipeline = tiny.sdxl()
    transformer = pipeline.text_encoder_2.text_model
    expected, transformer.eos_token_id = transformer.eos_token_id, 2
    spec = Catalogue().resolve(str(models / "sdxl"), Kind.GENERATE)
    name = _inversion(models, "old", "sdxl", vectors=1)
    text = TextualInversions(pipeline, spec).applied(f"<embedding:{name}> a cat", _hooks(models).embedding)
    tokens = pipeline.tokenizer_2(text, return_tensors="pt")
    with torch.inference_mode():
        found = pipeline.text_encoder_2(**tokens).text_embeds
        transformer.eos_token_id = expected
        assert torch.equal(found, pipeline.text_encoder_2(**tokens).text_embeds)
        transformer.eos_token_id = 2
        assert not torch.equal(found, pipeline.text_encoder_2(**tokens).text_embeds)


def test_a_textual_inversion_that_does_not_fit_stops_only_the_prompts_that_name_it(
    load: Load, models: Path
) -> None:
    _inversion(models, "for-sdxl", "sdxl")
    save_file({"emb_params": torch.zeros(2, 33)}, models / "wide.safetensors")
    save_file({"emb_params": torch.full((2, 32), torch.nan)}, models / "nan.safetensors")
    (models / "text.safetensors").write_text("<html>404</html>")
    names = ("for-sdxl", "wide", "nan", "text", "nowhere")
    generator = load("sd15", Hooks(embedding=lambda name: models / f"{name}.safetensors"))
    asked = [{"prompt": f"a cat embedding:{name}", "seed": 7} for name in names]
    *refused, drawn = sorted(
        generator.draw(
            [GenerationRequest(n, params) for n, params in enumerate([*asked, {"prompt": "a cat", "seed": 7}])]
        ),
        key=lambda result: result.key,
    )
    assert drawn.image is not None
    for name, result in zip(names, refused, strict=True):
        assert isinstance(result.error, BadInput)
        assert name in str(result.error)
    with pytest.raises(BadInput, match="cannot use the textual inversion"):
        load("flux", Hooks(embedding=lambda name: models / f"{name}.safetensors")).draw_one(
            {"prompt": "a cat embedding:wide", "seed": 7}
        )


# --- from a picture ------------------------------------------------------------------------------


@each_family
def test_a_picture_begins_from_another(load: Load, models: Path, family: str) -> None:
    generator, path = load(family), models / "init.png"
    params = {"prompt": "a cat", "seed": 7, "steps": 4, "init_image": str(path)}
    plain = generator.draw_one({"prompt": "a cat", "seed": 7})[0]
    image, settings = generator.draw_one({**params, "strength": 0.5})
    # 32 x 32 pixels are usual here, and 5 : 3 the proportions: 41.3 x 24.8, to multiples of 8 or 16.
    assert image.size == (settings["width"], settings["height"]) == ((48, 32) if family == "flux" else (40, 24))
    assert (settings["init_image"], settings["strength"], settings["steps"]) == (str(path), 0.5, 4)
    with Image.open(path) as file:
        pixels = hashlib.sha256(file.convert("RGB").tobytes()).hexdigest()
    assert settings["init_image_sha256"] == pixels
    with pytest.raises(BadInput, match="is not the one that this was made from"):
        generator.draw_one({**params, "init_image_sha256": "0" * 64})
    with pytest.raises(BadInput, match="is not the model that this was made with"):
        generator.draw_one({"prompt": "a cat", "seed": 7, "model_sha256": "0" * 64})
    for digits in (64, 10):  # other programs write only the beginning
        digest = settings["model_sha256"][:digits]
        assert generator.draw_one({"prompt": "a cat", "seed": 7, "model_sha256": digest})[1]
    for other in ("deadbeef12", settings["model_sha256"][:8]):
        with pytest.raises(BadInput, match="is not the model that this was made with"):
            generator.draw_one({"prompt": "a cat", "seed": 7, "model_sha256": other})
    assert generator.draw_one({**params, "strength": 0.5})[0].tobytes() == image.tobytes()
    assert generator.draw_one({**params, "strength": 0.5, "seed": 8})[0].tobytes() != image.tobytes()
    assert generator.draw_one({**params, "strength": 1.0})[0].tobytes() != image.tobytes()
    _noise(100, 60, seed=1).save(models / "other.png")
    other = generator.draw_one({**params, "strength": 0.5, "init_image": str(models / "other.png")})[0]
    assert other.tobytes() != image.tobytes()
    sized, settings = generator.draw_one({**params, "strength": 0.5, "width": 32, "height": 48})
    assert sized.size == (settings["width"], settings["height"]) == (32, 48)
    assert generator.draw_one({"prompt": "a cat", "seed": 7})[0].tobytes() == plain.tobytes()


@each_family
def test_pictures_that_begin_from_one_are_drawn_together(load: Load, models: Path, family: str) -> None:
    generator = load(family)
    orders = _orders(3, init_image=str(models / "init.png"), steps=4, strength=0.5)
    drawn = list(generator.draw(orders))
    assert _settings(drawn, "batch_size") == [3, 3, 3]
    alone = [_solo(generator, order) for order in orders]
    assert [_off(one.image, other) <= 1 for one, other in zip(drawn, alone, strict=True)] == [True] * 3


def test_orders_that_begin_from_different_files_are_not_mixed(load: Load, models: Path) -> None:
    generator = load("sd15")
    _noise(64, 64, seed=3).save(models / "three.png")
    orders = [
        GenerationRequest(
            n, {"prompt": "a", "seed": 1, "steps": 4, "init_image": str(models / name), "strength": strength}
        )
        for n, (name, strength) in enumerate((("init.png", 0.5), ("three.png", 0.5), ("three.png", 0.75)))
    ]
    drawn = list(generator.draw(orders))
    assert _settings(drawn, "batch_size") == [1, 1, 1]
    assert [_off(one.image, _solo(generator, order)) for one, order in zip(drawn, orders, strict=True)] == [0] * 3


def test_the_file_is_read_where_it_lies_and_recorded_as_it_was_asked(load: Load, models: Path) -> None:
    """In the ledger its path is relative to the root."""
    params = {"prompt": "a", "seed": 1, "steps": 4, "init_image": "library/a.png"}
    image, settings = load("sd15").draw_one({**params, "init_file": str(models / "init.png")})
    assert settings["init_image"] == "library/a.png"
    whole = load("sd15").draw_one({**params, "init_image": str(models / "init.png")})
    assert whole[0].tobytes() == image.tobytes()
    assert whole[1]["strength"] == 0.75


def test_lora_and_sampler_work_from_a_picture_too(load: Load, models: Path) -> None:
    generator = load("sd15")
    params = {"prompt": "a", "seed": 1, "steps": 4, "strength": 0.5, "init_image": str(models / "init.png")}
    plain, settings = generator.draw_one(params)
    assert settings["sampler"] == "PLMS"
    worn, settings = generator.draw_one({**params, "lora": [("sd15-1", 1.0)]})
    assert _off_on_average(worn, plain) > 1
    other, settings = generator.draw_one({**params, "sampler": "Euler"})
    assert settings["sampler"] == "Euler"
    assert other.tobytes() != plain.tobytes()
    assert generator.draw_one(params)[0].tobytes() == plain.tobytes()


def test_too_little_strength_is_refused_in_numbers(load: Load, models: Path) -> None:
    generator = load("sd15")
    params = {"prompt": "a cat", "seed": 7, "init_image": str(models / "init.png"), "strength": 0.2}
    with pytest.raises(BadInput, match=r"4 steps with strength 0\.2 leave no step") as caught:
        generator.draw_one({**params, "steps": 4})
    assert "at least 5 steps" in caught.value.fix
    assert generator.draw_one({**params, "steps": 5})[1]["strength"] == 0.2  # what the fix says, works


def test_a_picture_to_begin_from_has_to_be_there_and_be_one(load: Load, models: Path) -> None:
    (models / "text.png").write_text("no picture")
    generator = load("sd15")
    plain = generator.draw_one({"prompt": "a cat", "seed": 7})[0]
    for name in ("nowhere.png", "text.png"):
        drawn = list(generator.draw(_orders(2, init_image=str(models / name))))
        assert [one.key for one in drawn] == [100, 101]
        assert [type(one.error).mro().index(BadInput) >= 0 for one in drawn] == [True, True]
    with pytest.raises(BadInput, match=r"nowhere\.png is not there"):
        generator.draw_one({"prompt": "a", "seed": 1, "init_image": str(models / "nowhere.png")})
    assert generator.draw_one({"prompt": "a cat", "seed": 7})[0].tobytes() == plain.tobytes()


@pytest.mark.parametrize(
    ("size", "wanted", "expected"),
    [
        ((512, 512), (None, None), (512, 512)),
        ((200, 104), (None, None), (200, 104)),  # never larger
        ((100, 80), (None, None), (96, 80)),  # 100 lies between 96 and 104
        ((1024, 1024), (None, None), (512, 512)),
        ((2048, 512), (None, None), (1024, 256)),
        ((3, 3), (None, None), (8, 8)),
        ((1600, 1200), (None, None), (592, 440)),
        ((300, 200), (152, None), (152, 104)),
        ((300, 200), (None, 400), (600, 400)),
        ((300, 200), (64, 64), (64, 64)),
        ((20, 10), (640, 128), (640, 128)),
    ],
)
def test_the_size_follows_the_picture(
    tmp_path: Path, size: tuple[int, int], wanted: tuple[int | None, int | None], expected: tuple[int, int]
) -> None:
    _noise(*size).save(tmp_path / "a.png")
    image, _ = _begin_from(tmp_path / "a.png", wanted)
    assert image.size == expected
    if None in wanted and min(size) > 8:
        assert image.width / image.height == pytest.approx(size[0] / size[1], rel=0.06)


def test_both_sides_given_are_covered_and_nothing_is_squeezed(tmp_path: Path) -> None:
    wide = Image.new("RGB", (120, 40), "red")
    wide.paste("blue", (40, 0, 80, 40))
    wide.save(tmp_path / "wide.png")
    image, _ = _begin_from(tmp_path / "wide.png", (80, 80))
    assert image.size == (80, 80)
    assert {image.getpixel(at) for at in ((9, 3), (70, 40), (40, 76))} == {(0, 0, 255)}  # the middle third of it


def test_what_is_transparent_lies_on_the_background(tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    image, _ = _begin_from(tmp_path / "clear.png", (None, None))
    assert image.mode == "RGB"
    assert image.getpixel((5, 5)) == (255, 255, 255)


def _begin_from(path: Path, size: tuple[int | None, int | None]) -> tuple[Image.Image, str]:
    return init_image(
        path, size, (512, 512), max_pixels=10**7, max_bytes=10**7, background="white", opens=open_regular
    )


# --- samplers ------------------------------------------------------------------------------------


def test_every_sampler_draws_and_is_recorded_by_its_name(load: Load) -> None:
    generator = load("sd15")
    plain = generator.draw_one({"prompt": "a cat", "seed": 7})[0]
    drawn = {
        name: generator.draw_one({"prompt": "a cat", "seed": 7, "sampler": name, "steps": 3}) for name in SAMPLERS
    }
    assert [settings["sampler"] for _, settings in drawn.values()] == list(SAMPLERS)
    assert {settings["steps"] for _, settings in drawn.values()} == {3}
    pictures = [image.tobytes() for image, _ in drawn.values()]
    assert len(set(pictures)) == len(SAMPLERS)  # and each is one of its own
    assert generator.draw_one({"prompt": "a cat", "seed": 7})[0].tobytes() == plain.tobytes()


#: Those that add noise as they go: of each picture's own.
_NOISY = ("Euler a", "DPM2 a", "DPM++ 2M SDE", "DDPM", "LCM")


@pytest.mark.parametrize("name", _NOISY)
def test_a_sampler_draws_a_batch_as_it_draws_one(load: Load, name: str) -> None:
    generator, orders = load("sd15"), _orders(2, sampler=name)
    drawn = list(generator.draw(orders))
    alone = [_solo(generator, order) for order in orders]
    assert [_off(one.image, other) <= 1 for one, other in zip(drawn, alone, strict=True)] == [True, True]


def test_flux_takes_no_sampler(load: Load) -> None:
    generator = load("flux")
    plain = generator.draw_one({"prompt": "a cat", "seed": 7})[0]
    with pytest.raises(BadInput, match="sampler of its own") as caught:
        generator.draw_one({"prompt": "a cat", "seed": 7, "sampler": "Euler"})
    assert "sampler" in caught.value.fix
    assert generator.draw_one({"prompt": "a cat", "seed": 7})[0].tobytes() == plain.tobytes()


# --- memory --------------------------------------------------------------------------------------


def _is_fp8(pipeline: Any) -> bool:
    return any(weights.dtype is torch.float8_e4m3fn for weights in pipeline.unet.parameters())


def _ration(patch: pytest.MonkeyPatch, fits: Callable[[Any, list[str]], bool]) -> list[int]:
    """Where `fits` says no of a pipeline and prompts, the memory runs out. Gives how many were asked for at once."""
    asked: list[int] = []
    theirs = StableDiffusionPipeline.__call__

    @functools.wraps(theirs)
    def call(self: Any, **arguments: Any) -> Any:
        asked.append(len(arguments["prompt"]))
        if not fits(self, arguments["prompt"]):
            raise torch.OutOfMemoryError("out of memory: not really")
        return theirs(self, **arguments)

    patch.setattr(StableDiffusionPipeline, "__call__", call)
    return asked


def test_first_others_make_room(load: Load, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want, made = list(load("sd15").draw(_orders(4))), [True, False]
    generator = load("sd15", _hooks(models, make_room=lambda: made.pop(0)))

    def run_out(number: int) -> None:
        if number == 3:  # in the middle of a picture
            raise torch.OutOfMemoryError("out of memory: not really")

    asked = _count_steps(monkeypatch, run_out)
    drawn = list(generator.draw(_orders(4)))
    assert made == [False]  # asked once
    assert set(asked) == {8}  # 4 pictures, with guidance: twice each
    assert [one.key for one in drawn] == [one.key for one in want]
    assert [_off(one.image, other.image) for one, other in zip(drawn, want, strict=True)] == [0] * 4
    assert set(_settings(drawn, "memory")) == {"full"}


def test_then_fewer_are_drawn_together_from_then_on(
    load: Load, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room: list[int] = []
    generator = load("sd15", _hooks(models, make_room=lambda: bool(room.append(1))), draw_together=4)
    want = list(load("sd15").draw(_orders(5)))
    asked = _ration(monkeypatch, lambda _, prompts: len(prompts) <= 2)
    drawn = list(generator.draw(_orders(5)))
    assert asked == [4, 2, 2, 1]
    assert room == [1]
    assert [one.key for one in drawn] == [100, 101, 102, 103, 104]
    assert _settings(drawn, "batch_size") == [2, 2, 2, 2, 1]
    assert [_off(one.image, other.image) <= 1 for one, other in zip(drawn, want, strict=True)] == [True] * 5
    asked.clear()
    assert len(list(generator.draw(_orders(4)))) == 4
    assert asked == [2, 2]
    assert generator.step is MemoryPlan.FULL


def test_then_it_goes_down_the_ladder(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load("sd15", draw_together=4)
    reached: list[MemoryPlan] = []

    def fits(pipeline: Any, _: list[str]) -> bool:
        reached.append(generator.step)
        assert pipeline.vae.use_tiling == (generator.step is not MemoryPlan.FULL)
        return _is_fp8(pipeline)

    asked = _ration(monkeypatch, fits)
    drawn = list(generator.draw(_orders(4)))
    assert asked == [4, 2, 1] * 2 + [4]  # on each step it is found out anew how many fit
    assert reached[::3] == [MemoryPlan.FULL, MemoryPlan.TILED, MemoryPlan.FP8]
    assert [one.key for one in drawn] == [100, 101, 102, 103]
    assert all(one.image for one in drawn)
    assert _settings(drawn, "seed") == [50, 51, 52, 53]
    assert _settings(drawn, "memory") == ["fp8"] * 4
    assert generator.step is MemoryPlan.FP8  # what the station begins with next time
    asked.clear()
    assert len(list(generator.draw(_orders(2)))) == 2
    assert asked == [2]


def test_prompts_that_take_too_much_are_not_blamed_on_the_number_of_pictures(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load("sd15", draw_together=4)
    resident, drawn_at, read_at = generator._resident, [], []
    theirs = CLIPTextModel.forward

    def forward(self: Any, *args: Any, **more: Any) -> Any:
        read_at.append(generator.step)
        if generator.step is MemoryPlan.FULL:
            raise torch.OutOfMemoryError("out of memory: not really")
        return theirs(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(CLIPTextModel, "forward", forward)
        patch.setattr(resident, "too_many", lambda count, _: drawn_at.append(count))
        drawn = list(generator.draw(_orders(4)))
    assert read_at[:2] == [MemoryPlan.FULL, MemoryPlan.TILED]
    assert drawn_at == [1]  # the step alone is what was too much
    assert _settings(drawn, "batch_size") == [4] * 4
    assert not resident.ran_out_reading()


def test_on_a_cpu_it_is_not_begun_in_8_bits_because_memory_ran_out_once(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, noted = load("sd15"), []
    monkeypatch.setattr(generator._resident, "too_many", lambda count, _: noted.append(generator.step))
    assert generator._resident.step_down()
    assert generator._resident.step_down()
    assert generator.step is MemoryPlan.FP8
    assert noted == [MemoryPlan.FULL]


def test_a_ladder_is_begun_where_it_fitted_before(models: Path) -> None:
    generator = _load(models, "sd15", begin=MemoryPlan.TILED)
    assert generator.draw_one({"prompt": "a cat", "seed": 7})[1]["memory"] == "tiled"
    generator.close()


def test_the_old_weights_are_gone_before_the_frugal_ones_come(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load("sd15", draw_together=1)
    old = weakref.ref(generator._resident.pipeline.unet)
    theirs, found = loaded_module.load, []

    def spy(*args: Any) -> Any:
        found.append(old())
        return theirs(*args)

    monkeypatch.setattr(loaded_module, "load", spy)
    _ration(monkeypatch, lambda pipeline, _: pipeline.vae.use_tiling)
    drawn = list(generator.draw(_orders(1)))
    assert _settings(drawn, "memory") == ["tiled"]
    assert [unet is None for unet in found] == [True]


def test_where_nothing_helps_every_order_fails_and_the_generator_stays(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load("sd15", draw_together=4)
    with monkeypatch.context() as patch:
        asked = _ration(patch, lambda *_: False)
        drawn = list(generator.draw(_orders(5)))
    assert [one.key for one in drawn] == [100, 101, 102, 103, 104]
    assert [type(one.error) for one in drawn] == [torch.OutOfMemoryError] * 5
    assert [one.image for one in drawn] == [None] * 5
    assert asked == [4, 2, 1] * 3 + [1] * 4
    again = list(generator.draw(_orders(2)))
    assert [one.error for one in again] == [None, None]


def test_where_even_loading_runs_out_every_order_fails_and_the_generator_stays(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory: not really")

    generator = load("sd15", draw_together=2)
    with monkeypatch.context() as patch:
        patch.setattr(loaded_module, "load", run_out)
        _ration(patch, lambda *_: False)
        drawn = list(generator.draw(_orders(3)))
    assert [one.key for one in drawn] == [100, 101, 102]
    assert [type(one.error) for one in drawn] == [torch.OutOfMemoryError] * 3
    again = list(generator.draw(_orders(2)))
    assert [one.error for one in again] == [None, None]


def test_loading_itself_goes_down_the_ladder(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, tried = loaded_module.load, []

    def scarce(spec: Any, device: Any, dtype: Any, step: MemoryPlan) -> Any:
        tried.append(step)
        if step is not MemoryPlan.FP8:
            raise torch.OutOfMemoryError("out of memory: not really")
        return theirs(spec, device, dtype, step)

    monkeypatch.setattr(loaded_module, "load", scarce)
    generator = load("sd15", draw_together=2)
    assert tried == [MemoryPlan.FULL, MemoryPlan.TILED, MemoryPlan.FP8]
    assert generator.draw_one({"prompt": "a cat", "seed": 7})[1]["memory"] == "fp8"


def test_a_step_that_was_chosen_is_kept(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load("sd15", memory="tiled", draw_together=2)
    with monkeypatch.context() as patch:
        asked = _ration(patch, lambda *_: False)
        drawn = list(generator.draw(_orders(2)))
    assert asked == [2, 1, 1]
    assert [type(one.error) for one in drawn] == [torch.OutOfMemoryError] * 2
    assert generator.step is MemoryPlan.TILED
    assert generator.draw_one({"prompt": "a cat", "seed": 7})[1]["memory"] == "tiled"
    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(loaded_module, "load", _raise_out_of_memory)
        load("sd15", memory="full")


def _raise_out_of_memory(*_: Any) -> None:
    raise torch.OutOfMemoryError("out of memory: not really")


@each_family
def test_fp8_keeps_the_network_in_8_bits_and_the_picture_close(load: Load, models: Path, family: str) -> None:
    generator = load(family, memory="fp8")
    network = loaded_module.denoiser_of(generator._resident.pipeline)
    stored = [weights for name, weights in network.named_parameters() if weights.dtype is torch.float8_e4m3fn]
    total = sum(weights.numel() for weights in network.parameters())
    assert sum(weights.numel() for weights in stored) > total / 2
    plain, settings = _wearing(generator)
    assert (settings["memory"], settings["precision"]) == ("fp8", "float32")
    close = _off_on_average(plain, _wearing(load(family, memory="tiled"))[0])
    assert 0 < close < 3, close
    weights = _weights(generator)
    worn, _ = _wearing(generator, (f"{family}-1", 0.5))
    assert _off_on_average(worn, plain) > 3
    prefix = "transformer." if family == "flux" else "unet."
    given = load_file(models / f"{family}-1.safetensors")
    kept = {
        name.replace(".lora_0.", "."): tensor for name, tensor in network.named_parameters() if "lora_" in name
    }
    assert {prefix + name.replace(".base_layer", "") for name in kept} == set(given)
    assert all(torch.equal(tensor, given[prefix + name]) for name, tensor in kept.items())  # with all its digits
    usual = _wearing(load(family, memory="tiled"), (f"{family}-1", 0.5))[0]
    assert _off_on_average(worn, usual) < _off_on_average(worn, plain) / 2  # the LoRA's change, not noise
    assert _wearing(generator)[0].tobytes() == plain.tobytes()
    assert _are_same(weights, _weights(generator))


def test_a_picture_begins_from_another_in_8_bits_too(load: Load, models: Path) -> None:
    generator = load("sd15", memory="fp8")
    params = {"prompt": "a", "seed": 1, "steps": 4, "strength": 0.5, "init_image": str(models / "init.png")}
    image, settings = generator.draw_one(params)
    assert settings["memory"] == "fp8"
    assert 0 < _off_on_average(image, load("sd15", memory="tiled").draw_one(params)[0]) < 3


def test_4_bits_need_a_gpu(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceTrouble, match="nf4") as caught:
        load("sd15", memory="nf4")
    assert "generate.memory" in caught.value.fix


@pytest.mark.parametrize("step", ["offload", "group"])
def test_offloading_on_a_cpu_is_tiling(load: Load, step: str) -> None:
    generator = load("sd15", memory=step)
    assert generator.draw_one({"prompt": "a cat", "seed": 7})[1]["memory"] == "tiled"


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (80, "full"), (17.1, "full"), (16.9, "tiled"), (13.1, "tiled"), (12.9, "offload"),
        (7.6, "offload"), (7.4, "fp8"), (4.8, "fp8"), (4.7, "nf4"), (3.6, "nf4"), (3.5, "group"), (0, "group"),
    ],
)  # fmt: skip
def test_the_ladder_is_begun_on_the_first_step_that_fits(free: float, expected: str) -> None:
    """10 GiB of weights, the largest part 5: with a tenth more, and 6 or 2 GiB to work in, 17, 13, 7.5 and 4.75."""
    assert begin_on(tuple(MemoryPlan), int(free * GIB), 10 * GIB, 5 * GIB) is MemoryPlan(expected)


def test_the_ladder_ends_on_what_is_possible() -> None:
    steps = (MemoryPlan.FULL, MemoryPlan.TILED, MemoryPlan.FP8)
    assert begin_on(steps, 0, 10 * GIB, 5 * GIB) is MemoryPlan.FP8
    assert begin_on(steps, 10 * GIB, 10 * GIB, 5 * GIB) is MemoryPlan.FP8  # nothing is offloaded here
    assert [next_step(steps, step) for step in steps] == [MemoryPlan.TILED, MemoryPlan.FP8, None]
    assert next_step(tuple(MemoryPlan), MemoryPlan.FP8) is MemoryPlan.INT8
    assert list(MemoryPlan) == ["full", "tiled", "offload", "fp8", "int8", "nf4", "group"]


# --- pictures that fail --------------------------------------------------------------------------


def _decode_as(patch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.dtype]:
    """What the VAE gives is changed; gives the precisions it was asked in."""
    asked: list[torch.dtype] = []
    theirs = AutoencoderKL.decode

    def decode(self: Any, latents: torch.Tensor, *args: Any, **more: Any) -> Any:
        found = theirs(self, latents, *args, **more)
        asked.append(latents.dtype)
        return (change(found[0]), *found[1:])

    patch.setattr(AutoencoderKL, "decode", decode)
    return asked


def _spoil(pixels: torch.Tensor, index: int, value: float) -> torch.Tensor:
    changed = pixels.clone()
    changed[index, :, 10:20] = value
    if value == value:  # black has to be so all over
        changed[index] = value
    return changed


#: -1 is black where a VAE gives -1 to 1.
_FAILURES = {"not numbers": float("nan"), "black": -1.0}
each_failure = pytest.mark.parametrize("value", _FAILURES.values(), ids=_FAILURES)


@each_failure
@each_family
def test_a_picture_that_fails_is_drawn_again_in_full_precision(
    load: Load, monkeypatch: pytest.MonkeyPatch, family: str, value: float
) -> None:
    generator, orders = load(family, precision="bfloat16", draw_together=3), _orders(3)
    want, weights = list(generator.draw(orders)), _weights(generator)
    assert _settings(want, "precision") == ["bfloat16"] * 3

    def spoil_second(pixels: torch.Tensor) -> torch.Tensor:
        return _spoil(pixels, 1, value) if pixels.dtype is torch.bfloat16 else pixels

    with monkeypatch.context() as patch:
        asked = _decode_as(patch, spoil_second)
        drawn = list(generator.draw(orders))
    assert asked == [torch.bfloat16, torch.float32]
    assert [one.key for one in drawn] == [100, 101, 102]
    assert [one.error for one in drawn] == [None] * 3
    assert _settings(drawn, "precision") == ["bfloat16", "float32", "bfloat16"]
    assert _settings(drawn, "seed") == [50, 51, 52]
    assert [_off(drawn[n].image, want[n].image) for n in (0, 2)] == [0, 0]
    again, before = drawn[1].image, want[1].image
    assert again is not None
    assert before is not None
    assert 0 < _off_on_average(again, before) < 3  # the same picture, drawn with more digits
    assert _are_same(weights, _weights(generator))
    assert [_off(a.image, b.image) for a, b in zip(generator.draw(orders), want, strict=True)] == [0] * 3


@each_failure
def test_a_picture_that_fails_in_full_precision_too_fails_alone(
    load: Load, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    generator, orders = load("sd15", precision="bfloat16", draw_together=3), _orders(3)
    want, weights = list(generator.draw(orders)), _weights(generator)

    def spoil_second(pixels: torch.Tensor) -> torch.Tensor:
        return _spoil(pixels, 1 if pixels.dtype is torch.bfloat16 else 0, value)

    with monkeypatch.context() as patch:
        asked = _decode_as(patch, spoil_second)
        drawn = list(generator.draw(orders))
    assert asked == [torch.bfloat16, torch.float32]
    assert [one.key for one in drawn] == [100, 101, 102]
    error = drawn[1].error
    assert isinstance(error, FailedPicture)
    assert error.failure is FailureClass.BAD_INPUT
    assert "seed 51" in error.message
    assert drawn[1].image is None
    assert [_off(drawn[n].image, want[n].image) for n in (0, 2)] == [0, 0]
    assert _are_same(weights, _weights(generator))


def test_full_precision_that_runs_out_of_memory_is_tidied_and_not_learnt_as_the_steps_need(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load("sd15", precision="bfloat16", draw_together=2)
    resident, done, metered = generator._resident, [], []

    class Meter:
        @contextmanager
        def drawing(self, _: object) -> Iterator[None]:
            metered.append(resident._reads_in)
            yield

    monkeypatch.setattr(resident, "_meter", Meter())
    for name in ("forget", "tidy"):
        monkeypatch.setattr(resident, name, functools.partial(done.append, name))

    def change(pixels: torch.Tensor) -> torch.Tensor:
        if pixels.dtype is torch.float32:
            raise torch.OutOfMemoryError("out of memory: not really")
        return _spoil(pixels, 1, -1.0)

    _decode_as(monkeypatch, change)
    drawn = list(generator.draw(_orders(2)))
    assert [type(one.error) for one in drawn] == [type(None), FailedPicture]
    assert drawn[1].error is not None
    assert drawn[1].error.__suppress_context__
    assert done == ["forget", "forget", "tidy"]  # before each run, so that no cache has what came before
    assert metered == [torch.bfloat16]


def test_full_precision_is_not_tried_twice(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _decode_as(monkeypatch, lambda pixels: _spoil(pixels, 0, -1.0))
    drawn = list(load("sd15").draw(_orders(2)))
    assert asked == [torch.float32]
    assert [type(one.error) for one in drawn] == [FailedPicture, type(None)]


def test_a_dark_picture_is_one(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    _decode_as(monkeypatch, lambda pixels: torch.full_like(pixels, 2 * 3 / 255 - 1))
    (drawn,) = load("sd15").draw(_orders(1))
    assert drawn.image is not None
    assert drawn.image.getextrema() == ((3, 3),) * 3


def test_drawing_again_keeps_its_lora_and_its_picture(
    load: Load, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load("sd15", precision="bfloat16", draw_together=3)
    params = {"prompt": "a", "seed": 1, "steps": 4, "strength": 0.5, "init_image": str(models / "init.png")}
    plain, weights = generator.draw_one(params)[0], _weights(generator)
    want = generator.draw_one({**params, "lora": [("sd15-1", 0.5)]})[0]

    def spoil(pixels: torch.Tensor) -> torch.Tensor:
        return _spoil(pixels, 0, float("nan")) if pixels.dtype is torch.bfloat16 else pixels

    with monkeypatch.context() as patch:
        _decode_as(patch, spoil)
        again, settings = generator.draw_one({**params, "lora": [("sd15-1", 0.5)]})
    assert settings["precision"] == "float32"
    assert settings["lora"] == {"sd15-1": 0.5}
    assert _off_on_average(again, want) < 3 < _off_on_average(again, plain)
    assert generator.draw_one({**params, "lora": [("sd15-1", 0.5)]})[0].tobytes() == want.tobytes()
    assert generator.draw_one(params)[0].tobytes() == plain.tobytes()
    assert _are_same(weights, _weights(generator))


# --- what nobody wants ---------------------------------------------------------------------------


def _watch_network(patch: pytest.MonkeyPatch, family: str, then: Callable[[], None]) -> list[int]:
    """Calls `then` while the network works; gives one entry for each time it was asked."""
    network: Any = FluxTransformer2DModel if family == "flux" else UNet2DConditionModel
    theirs, asked = network.forward, []

    def forward(self: Any, *args: Any, **more: Any) -> Any:
        asked.append(1)
        then()
        return theirs(self, *args, **more)

    patch.setattr(network, "forward", forward)
    return asked


@each_family
def test_a_batch_that_nobody_wants_ends_before_its_next_step(
    load: Load, models: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    generator, orders = load(family), _orders(4)
    want = list(generator.draw(orders[:2]))
    cancelled: set[int] = set()
    reports: list[int] = []
    generator.hooks = _hooks(models, report=lambda *_: reports.append(1), is_cancelled=cancelled.__contains__)
    with monkeypatch.context() as patch:
        asked = _watch_network(patch, family, lambda: cancelled.update(range(100, 104)))
        assert list(generator.draw(orders)) == []
    assert len(asked) == 1
    assert reports == []
    generator.hooks = _hooks(models)
    assert [_off(a.image, b.image) for a, b in zip(generator.draw(orders[:2]), want, strict=True)] == [0, 0]


def test_after_a_cancelled_batch_comes_the_next(load: Load, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, cancelled, steps = load("sd15"), set[int](), list[tuple[int, int]]()

    def report(key: int, step: int, _: int) -> None:
        steps.append((key, step))
        if step == 2:
            cancelled.update(range(100, 104))

    generator.hooks = _hooks(models, report=report, is_cancelled=cancelled.__contains__)
    drawn = list(generator.draw(_orders(6)))
    assert [one.key for one in drawn] == [104, 105]
    assert {step for key, step in steps if key < 104} == {1, 2}
    assert {step for key, step in steps if key >= 104} == {1, 2, 3}


def test_cancelling_one_of_a_batch_leaves_the_others(load: Load, models: Path) -> None:
    generator, orders = load("sd15"), _orders(4)
    alone, cancelled = [_solo(generator, order) for order in orders], set[int]()
    generator.hooks = _hooks(
        models, report=lambda key, *_: cancelled.add(102), is_cancelled=cancelled.__contains__
    )
    drawn = list(generator.draw(orders))
    assert [one.key for one in drawn] == [100, 101, 103]
    assert [_off(one.image, alone[n]) <= 1 for one, n in zip(drawn, (0, 1, 3), strict=True)] == [True] * 3
    assert _settings(drawn, "batch_index") == [0, 1, 3]


def test_what_was_cancelled_before_is_not_begun(load: Load, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load("sd15")
    generator.hooks = _hooks(models, is_cancelled=lambda key: key != 102)
    asked = _ration(monkeypatch, lambda *_: True)
    assert [one.key for one in generator.draw(_orders(5))] == [102]
    assert asked == [1]


def test_a_stop_comes_between_batches(load: Load, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, reports = load("sd15"), list[int]()
    generator.hooks = _hooks(models, report=lambda key, *_: reports.append(key), should_stop=lambda: bool(reports))
    drawn = list(generator.draw(_orders(8)))
    assert [one.key for one in drawn] == [100, 101, 102, 103]
    assert all(one.image for one in drawn)
    assert set(reports) == {100, 101, 102, 103}


# --- letting go ----------------------------------------------------------------------------------


@each_family
def test_what_is_closed_is_gone(load: Load, models: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """After all that could have left something of it."""
    generator = load(family, precision="bfloat16")
    init = {"init_image": str(models / "init.png"), "steps": 4}
    generator.draw_one({"prompt": "a", "seed": 1, "lora": [(f"{family}-1", 1.0)]})
    generator.draw_one({"prompt": "a", "seed": 1, **init})
    assert [one.error is None for one in generator.draw(_orders(1, lora=[(f"{STRANGER[family]}-1", 1.0)]))] == [
        False
    ]
    with monkeypatch.context() as patch:
        _decode_as(patch, lambda pixels: _spoil(pixels, 0, float("nan")))
        assert [one.error is None for one in generator.draw(_orders(1))] == [False]
    cancelled = set[int]()
    generator.hooks = _hooks(
        models, report=lambda key, *_: cancelled.add(key), is_cancelled=cancelled.__contains__
    )
    assert list(generator.draw(_orders(1))) == []
    parts = [
        weakref.ref(part)
        for part in generator._resident.pipeline.components.values()
        if isinstance(part, torch.nn.Module)
    ]
    assert len(parts) >= 3
    assert [part() is None for part in parts] == [False] * len(parts)
    generator.close()
    assert [part() is None for part in parts] == [True] * len(parts)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two pipelines of 40 MB each, so that one that stays is seen."""
    folder = tmp_path_factory.mktemp("heavy")
    for family in ("sd15", "flux"):
        pipeline = getattr(tiny, family)()
        pipeline.text_encoder.resize_token_embeddings(320_000)
        pipeline.save_pretrained(folder / family)
    return [folder / "sd15", folder / "flux"]


def test_two_models_in_turn_take_no_more_memory_each_time(heavy: list[Path]) -> None:
    settings, process, taken = RunnerSettings(precision="float32"), psutil.Process(), []
    for _ in range(10):
        for folder in heavy:
            generator = Generator(Catalogue().resolve(str(folder), Kind.GENERATE), CPU, settings)
            generator.draw_one({"prompt": "a", "seed": 1, "width": 32, "height": 32, "steps": 1})
            network = weakref.ref(loaded_module.denoiser_of(generator._resident.pipeline))
            generator.close()
            assert network() is None
        taken.append(process.memory_info().rss // 2**20)
    assert taken[-1] <= taken[0] * 1.05, f"MiB after each pair: {taken}, {taken[-1] - taken[0]} more at the end"


# --- long prompts and weights ----------------------------------------------------------------------

clip_families = pytest.mark.parametrize("family", ["sd15", "sdxl"])
WORDS = " ".join("abcdefghij"[n % 10] for n in range(299))
#: Words weigh little in a tiny network: one of 300 moves it by less than a grey level unless it is made to listen.
LOUD = {"guidance": 100.0}


def _pixels(generator: Generator, prompt: str, **params: Any) -> np.ndarray:
    return np.asarray(generator.draw_one({"prompt": prompt, "seed": 7, **params})[0]).astype(int)


@clip_families
def test_the_last_word_of_300_changes_the_picture(load: Load, family: str) -> None:
    generator = load(family)
    one, other = (_pixels(generator, f"{WORDS} {word}", **LOUD) for word in ("red", "green"))
    assert (one != other).any()
    assert (one == _pixels(generator, f"{WORDS} red", **LOUD)).all()
    unwanted = [
        _pixels(generator, "a cat", negative_prompt=f"{WORDS} {word}", **LOUD) for word in ("red", "green")
    ]
    assert (unwanted[0] != unwanted[1]).any()


@each_family
def test_a_long_prompt_raises_no_false_alarm(models: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(tokenization_utils_base.logger, "warning", lambda text, *_, **__: said.append(text))
    generator = _load(models, family)
    generator.draw_one({"prompt": f"{WORDS} red", "seed": 7})
    tokenizer = generator._resident.pipeline.tokenizer
    generator.close()
    assert [text for text in said if "indexing errors" in text] == []
    tokenizer.deprecation_warnings.clear()  # which is what keeps it from being said
    tokenizer(WORDS)
    assert ["indexing errors" in text for text in said] == [True]


@clip_families
def test_a_weight_moves_the_picture_and_the_weight_1_does_not(load: Load, family: str) -> None:
    generator = load(family)
    plain = _pixels(generator, "a red cat")
    assert np.abs(plain - _pixels(generator, "a (red:1.0) cat")).max() <= 1
    for weighted in ("a (red:1.4) cat", "a ((red)) cat", "a [red] cat", "a (red:0.3) cat", "a red BREAK cat"):
        assert (plain != _pixels(generator, weighted)).any(), weighted
    stronger = [np.abs(plain - _pixels(generator, f"a (red:{weight}) cat")).mean() for weight in (1.1, 1.4, 2)]
    assert stronger == sorted(stronger)
    assert (plain == _pixels(generator, r"a red cat")).all()


@clip_families
def test_what_is_read_by_compel_is_what_diffusers_reads(load: Load, family: str) -> None:
    """The same words, once in the usual way and once as a piece of their own, with all weights 1."""
    generator = load(family)
    pipeline, words = generator._resident.pipeline, generator._resident.words
    assert words is not None
    with torch.inference_mode():
        given = words.embedded(pipeline, ["a red cat"], "", 1)
        usual = pipeline.encode_prompt(
            "a red cat", device=CPU, num_images_per_prompt=1, do_classifier_free_guidance=True
        )
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    for name, tensor in zip(names, usual, strict=False):
        assert torch.allclose(given[name], tensor, atol=1e-5), name


@clip_families
def test_a_picture_is_the_same_beside_a_longer_prompt(load: Load, family: str) -> None:
    generator = load(family)
    prompts = ["a cat", f"{WORDS} red", "a (red:1.4) cat", "a dog"]
    orders = [GenerationRequest(n, {"prompt": prompt, "seed": 7}) for n, prompt in enumerate(prompts)]
    for result in generator.draw(orders):
        assert result.image is not None
        alone = _pixels(generator, prompts[result.key])
        assert np.abs(np.asarray(result.image).astype(int) - alone).max() <= 1


@clip_families
def test_long_prompts_begin_from_a_picture_too(load: Load, family: str, tmp_path: Path) -> None:
    _noise(32, 32).save(tmp_path / "a.png")
    more = {"init_image": str(tmp_path / "a.png"), "strength": 0.9, "steps": 4, **LOUD}
    one, other = (_pixels(load(family), f"{WORDS} {word}", **more) for word in ("red", "green"))
    assert (one != other).any()


def test_flux_is_told_weights_as_words_and_says_so(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    generator = load("flux")
    _, settings = generator.draw_one({"prompt": "a (red:1.4) cat", "seed": 7})
    assert settings["notes"] == ["weights and BREAK are words to tiny-flux, as in 'red'"]
    assert "weights and BREAK are words" in caplog.text
    assert "notes" not in generator.draw_one({"prompt": "a red cat", "seed": 7})[1]
    (note,) = generator.draw_one({"prompt": f"{WORDS} red", "seed": 7})[1]["notes"]
    assert note.startswith("tiny-flux reads 256 tokens of the prompt's ")


def test_shapes_reads_the_last_of_300_words() -> None:
    generator = Generator(Catalogue().resolve("shapes", Kind.GENERATE), CPU, RunnerSettings(precision="float32"))
    begin = "a red circle on a blue background, " + "intricate, " * 290
    one, other = (_pixels(generator, begin + word, steps=4) for word in ("star", "ring"))
    assert (one != other).any()
    generator.close()
