"""Text encoders and denoiser on a device one after the other, with a device that stands in for a card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.engines.generation import loaded as loaded_module
from hotfolder.engines.generation import loading
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.loading import takes_turns
from hotfolder.engines.generation.requests import GenerationRequest, Hooks
from hotfolder.engines.generation.residence import Turns
from hotfolder.errors import DeviceTrouble, UsageError
from hotfolder.models.registry import Catalogue, ModelSpec
from hotfolder.types import Kind, RunnerSettings
from tests.support import checkpoints, tiny
from tests.support.tiny_families import made

#: The memory of the card, by another name than the machine's.
CARD = torch.device("cpu", 0)
SMALL = {"width": 64, "height": 64, "steps": 2}


class _Watch:
    """Where each part of a pipeline was moved last, and where all were when one was asked."""

    def __init__(self) -> None:
        self.where: dict[str, str] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.moves: list[tuple[str, str]] = []

    def __call__(self, pipeline: Any) -> Any:
        for name, part in pipeline.components.items():
            if isinstance(part, torch.nn.Module):
                self.where[name] = "cpu"
                part.to = self._moving(name)
                part.register_forward_hook(self._asking(name))
        return pipeline

    def _moving(self, name: str) -> Callable[..., None]:
        def to(device: torch.device) -> None:
            if self.where[name] != str(device):
                self.where[name] = str(device)
                self.moves.append((name, str(device)))

        return to

    def _asking(self, name: str) -> Callable[..., None]:
        return lambda *_: self.asked.append((name, dict(self.where)))


class _Pipeline:
    def __init__(self) -> None:
        names = ("text_encoder", "text_encoder_2", "pe", "transformer", "vae")
        self.components: dict[str, Any] = {name: torch.nn.Linear(2, 2) for name in names}
        self.components["tokenizer"] = object()


def _on_card(watch: _Watch) -> set[str]:
    return {name for name, place in watch.where.items() if place == str(CARD)}


def test_each_part_is_there_when_it_is_asked_and_no_two_large_ones_at_a_time() -> None:
    watch, pipeline = _Watch(), _Pipeline()
    watch(pipeline)
    turns = Turns(pipeline, CARD)
    assert _on_card(watch) == {"transformer", "vae"}
    x = torch.ones(1, 2)
    with turns.reading():
        assert _on_card(watch) == {"vae"}
        pipeline.components["text_encoder"](x)
        assert _on_card(watch) == {"vae", "text_encoder"}
        with turns.reading():
            pipeline.components["text_encoder_2"](x)
            turns.settle()  # as one does before each picture: not while prompts are read
        assert _on_card(watch) == {"vae", "text_encoder_2"}
    assert _on_card(watch) == {"transformer", "vae"}
    before = len(watch.moves)
    turns.settle()
    assert len(watch.moves) == before


def test_what_runs_out_of_memory_on_its_way_back_is_moved_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch, pipeline = _Watch(), _Pipeline()
    watch(pipeline)
    turns = Turns(pipeline, CARD)
    transformer = pipeline.components["transformer"]
    theirs = transformer.to

    def scarce(device: torch.device) -> None:
        if device == CARD:
            raise torch.OutOfMemoryError("out of memory: not really")
        theirs(device)

    transformer.to = scarce
    with pytest.raises(torch.OutOfMemoryError), turns.reading():
        pass
    transformer.to = theirs
    turns.settle()
    assert _on_card(watch) == {"transformer", "vae"}


@pytest.mark.slow
def test_parts_that_do_not_fit_when_they_are_placed_leave_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once when it is loaded, so that the next step is taken; and once more after a step down, so that it is tried."""
    tiny.sd15().save_pretrained(tmp_path / "pipeline")
    spec = Catalogue().resolve(str(tmp_path / "pipeline"), Kind.GENERATE)
    for module in (loaded_module, loading):
        monkeypatch.setattr(module, "takes_turns", lambda *_: True)
    left, made_by = ["first", "after a step down"], []

    def scarce(pipeline: Any, device: torch.device) -> Turns:
        made_by.append(pipeline)
        if left:
            left.pop()
            raise torch.OutOfMemoryError("out of memory: not really")
        return Turns(pipeline, device)

    monkeypatch.setattr(loaded_module, "Turns", scarce)
    generator = Generator(spec, CARD, RunnerSettings(precision="float32"), Hooks())
    assert generator.step is MemoryPlan.FP8
    assert len(made_by) == 3
    del made_by[:]
    assert generator.draw_one({"prompt": "a cat", "seed": 1, **SMALL})[1]["memory"] == "fp8"

    # Where there is no step below, all of the jobs fail for the right reason, and the next one is drawn.
    generator._resident.close()
    left.append("once more")
    orders = [GenerationRequest(n, {"prompt": "a dog", "seed": n, **SMALL}) for n in range(2)]
    first = list(generator.draw(orders[:1]))
    assert [type(each.error) for each in first] == [torch.OutOfMemoryError]
    assert [each.error for each in generator.draw(orders)] == [None, None]
    generator.close()


def test_which_steps_take_turns() -> None:
    card, cpu = torch.device("cuda", 0), torch.device("cpu")

    class Reads:
        def __init__(self, **components: object) -> None:
            self.components = components

        def encode_prompt(self) -> None:
            pass

    class Quantised:
        hf_quantizer = object()

    assert not any(takes_turns(Reads(text_encoder_2=Quantised()), card, step) for step in MemoryPlan)
    assert takes_turns(Reads(transformer=Quantised()), card, MemoryPlan.OFFLOAD)  # GGUF
    steps = [step for step in MemoryPlan if takes_turns(Reads(), card, step)]
    assert steps == [MemoryPlan.OFFLOAD, MemoryPlan.FP8, MemoryPlan.INT8]
    Quantised.is_loaded_in_8bit = True  # type: ignore[attr-defined]
    steps = [step for step in MemoryPlan if takes_turns(Reads(text_encoder=Quantised()), card, step)]
    assert steps == [MemoryPlan.INT8]  # the one that made them so, with a bitsandbytes that can move them
    assert not any(takes_turns(Reads(), cpu, step) for step in MemoryPlan)
    assert not any(takes_turns(object(), card, step) for step in MemoryPlan)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sdxl", "flux", "z-image", "qwen-image"])
def test_prompts_are_read_before_the_denoiser_comes_and_no_pixel_shows_it(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = getattr(tiny, family)() if hasattr(tiny, family) else made(family)
    pipeline.save_pretrained(tmp_path / "pipeline")
    spec = Catalogue().resolve(str(tmp_path / "pipeline"), Kind.GENERATE)
    settings = RunnerSettings(precision="float32", draw_together=2)
    prompts = ["a cat", "a dog that runs", "a cow", "a cow"]

    def drawn(generator: Generator) -> list[bytes]:
        orders = [GenerationRequest(n, {"prompt": p, "seed": n, **SMALL}) for n, p in enumerate(prompts)]
        results = list(generator.draw(orders))
        assert [each.error for each in results] == [None] * 4
        return [each.image.tobytes() for each in results if each.image]

    generator = Generator(spec, CARD, settings, Hooks())
    plain = drawn(generator)
    generator.close()

    watch, theirs = _Watch(), loaded_module.load
    monkeypatch.setattr(loaded_module, "load", lambda *args: watch(theirs(*args)))
    for module in (loaded_module, loading):
        monkeypatch.setattr(module, "takes_turns", lambda *_: True)
    generator = Generator(spec, CARD, settings, Hooks())
    assert drawn(generator) == plain
    for name, where in watch.asked:
        there = {each for each, place in where.items() if place == str(CARD)}
        assert there == (
            {"vae", name} if name.startswith("text_encoder") else {"vae", "transformer", "unet"} & set(where)
        )
    moved = [place for name, place in watch.moves if name in ("unet", "transformer")]
    assert moved == ["cpu:0", "cpu", "cpu:0"]  # when it was loaded; then once for both batches
    assert drawn(generator) == plain
    assert len([1 for name, _ in watch.moves if name in ("unet", "transformer")]) == 3  # all prompts were known
    generator.close()


@pytest.mark.slow
def test_prompts_with_weights_that_are_known_do_not_move_the_denoiser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.sd15().save_pretrained(tmp_path / "pipeline")
    spec = Catalogue().resolve(str(tmp_path / "pipeline"), Kind.GENERATE)
    watch, theirs = _Watch(), loaded_module.load
    monkeypatch.setattr(loaded_module, "load", lambda *args: watch(theirs(*args)))
    for module in (loaded_module, loading):
        monkeypatch.setattr(module, "takes_turns", lambda *_: True)
    generator = Generator(spec, CARD, RunnerSettings(precision="float32"), Hooks())
    for seed in range(3):
        generator.draw_one({"prompt": "a (cat:1.4)", "seed": seed, **SMALL})
    assert [place for name, place in watch.moves if name == "unet"] == ["cpu:0", "cpu", "cpu:0"]
    generator.close()


def test_in_fewer_bits_are_large_text_encoders_too(tmp_path: Path) -> None:
    """Where there is a card and bitsandbytes: what is asked of it, since neither is here."""
    for name, count in {"text_encoder": 900, "text_encoder_2": 10, "transformer": 600, "vae": 500}.items():
        (tmp_path / name).mkdir()
        save_file({"weight": torch.zeros(count)}, tmp_path / name / "model.safetensors")
    (tmp_path / "model_index.json").write_text("{}")
    spec = ModelSpec("it", Kind.GENERATE, "diffusers", tmp_path, ())
    asked = loading._four_bits(spec, torch.bfloat16)
    assert sorted(asked.components_to_quantize) == ["text_encoder", "transformer"]
    assert asked.quant_backend == "bitsandbytes_4bit"
    assert asked.quant_kwargs == {
        "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16,
    }  # fmt: skip
    asked = loading._eight_bits(spec)
    assert {name: config.load_in_8bit for name, config in asked.quant_mapping.items()} == {"text_encoder": True}
    (tmp_path / "text_encoder/model.safetensors").unlink()
    assert loading._eight_bits(spec) is None  # nothing of it would be smaller


@pytest.mark.parametrize(
    ("version", "step", "is_there"),
    [("0.49.1", "int8", True), ("0.46.0", "int8", False), ("0.46.0", "nf4", True), (None, "nf4", False)],
)
def test_which_steps_there_are(
    version: str | None, step: str, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the version of bitsandbytes that is installed; without a GPU it is asked for in vain."""

    def told(package: str) -> str:
        if package == "bitsandbytes" and version is None:
            raise loading.importlib.metadata.PackageNotFoundError
        return version or "" if package == "bitsandbytes" else theirs(package)

    theirs = loading.importlib.metadata.version
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda _: object() if version else None)
    monkeypatch.setattr(loading.importlib.metadata, "version", told)
    (tmp_path / "unet").mkdir()
    save_file({"weight": torch.zeros(9)}, tmp_path / "unet/model.safetensors")
    spec = ModelSpec("it", Kind.GENERATE, "diffusers", tmp_path, ())
    steps = loading.possible_steps(spec, torch.device("cuda", 0))
    assert (step in steps) is is_there
    assert steps[-1] is MemoryPlan.GROUP
    monkeypatch.setattr(loading, "memory_of", lambda _: (0, 10))  # less than all weights
    assert loading.possible_steps(spec, torch.device("cuda", 0)) == steps[:-1]
    assert loading.possible_steps(spec, CARD) == (MemoryPlan.FULL, MemoryPlan.TILED, MemoryPlan.FP8)
    with pytest.raises(DeviceTrouble, match=f"generate.memory = '{step}' needs a GPU and bitsandbytes"):
        loading._check_bitsandbytes(MemoryPlan(step))


@pytest.mark.slow
def test_layer_by_layer_no_pixel_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as that shows without a GPU: layers that come and go, with LoRA put on and taken off."""
    pipeline = tiny.flux()
    pipeline.save_pretrained(tmp_path / "pipeline")
    lora = checkpoints.lora_file(pipeline, tmp_path / "a.safetensors", seed=1)
    spec = Catalogue().resolve(str(tmp_path / "pipeline"), Kind.GENERATE)
    params = {"prompt": "a cat", "seed": 1, **SMALL}
    styled = {**params, "lora": [("a", 1.0)]}

    def drawn() -> list[bytes]:
        generator = Generator(spec, CARD, RunnerSettings(precision="float32"), Hooks(lora=lambda _: lora))
        try:
            return [generator.draw_one(asked)[0].tobytes() for asked in (params, styled, params)]
        finally:
            generator.close()

    plain, theirs, moved = drawn(), loaded_module.load, []
    assert plain[0] == plain[2] != plain[1]

    def by_layers(*args: Any) -> Any:
        found = theirs(*args)
        loading.in_groups(found, CARD, ahead=False)
        moved.extend(part for part in found.transformer.modules() if hasattr(part, "_diffusers_hook"))
        return found

    monkeypatch.setattr(loaded_module, "load", by_layers)
    assert drawn() == plain
    assert len(moved) > 10


def test_what_cannot_be_moved_by_layers_is_said() -> None:
    class Whole:
        transformer = type("Part", (), {"_supports_group_offloading": False})()

    with pytest.raises(UsageError, match="'group' cannot be had with Whole"):
        loading.in_groups(Whole(), CARD, ahead=False)
