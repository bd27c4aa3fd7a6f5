"""Prompts are read once by the text encoders, and no pixel shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hotfolder.engines.generation.embeddings import Embeddings
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.requests import GenerationRequest, Hooks
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings
from tests.support import checkpoints, tiny
from tests.support.tiny_families import made

CPU = torch.device("cpu")
SMALL = {"width": 64, "height": 64, "steps": 2}


class _Pipeline:
    """Reads by counting letters, two rows a prompt where a negative one is given."""

    def __init__(self) -> None:
        self.read: list[list[str]] = []
        self.noise = 0.0

    def encode_prompt(
        self, prompt: list[str], negative_prompt: list[str] | None = None, image: object = None, length: int = 4
    ) -> Any:
        self.read.append(list(prompt))
        rows = torch.tensor([[float(len(text))] * length for text in prompt])
        rows = rows + self.noise * torch.arange(len(prompt))[:, None]
        prompt[:] = ["overwritten"] * len(prompt)  # as Z-Image does
        return rows, [row.clone() for row in rows], None, torch.zeros(3)


def _watched(most: int = 10**6, state: Callable[[], Any] = tuple) -> tuple[_Pipeline, Embeddings]:
    pipeline, embeddings = _Pipeline(), Embeddings(state, most=most)
    embeddings.watch(pipeline)
    return pipeline, embeddings


def _same(one: Any, other: Any) -> bool:
    return (
        torch.equal(one[0], other[0])
        and len(one[1]) == len(other[1])
        and all(map(torch.equal, one[1], other[1]))
        and one[2] is other[2] is None
        and torch.equal(one[3], other[3])
    )


def test_what_was_read_already_brings_no_text_encoder() -> None:
    entered: list[int] = []

    @contextmanager
    def reading() -> Iterator[None]:
        entered.append(1)
        yield

    class Given:
        def encode_prompt(self, prompt: Any, prompt_embeds: Any = None, negative_prompt_embeds: Any = None) -> Any:
            return prompt_embeds

    pipeline, rows = Given(), torch.ones(1, 2)
    Embeddings(tuple, reading).watch(pipeline)
    assert pipeline.encode_prompt(None, prompt_embeds=rows, negative_prompt_embeds=rows) is rows
    assert entered == []
    pipeline.encode_prompt(None, prompt_embeds=rows, negative_prompt_embeds=None)  # which may have to be read
    assert entered == [1]


def test_the_same_words_are_read_once_and_what_was_given_may_be_written_over() -> None:
    pipeline, _ = _watched()
    first = pipeline.encode_prompt(["a cat", "a dog!"], length=3)
    again = pipeline.encode_prompt(["a cat", "a dog!"], length=3)
    assert _same(first, again)
    again[0].zero_()
    first[0].zero_()
    assert float(pipeline.encode_prompt(["a cat", "a dog!"], length=3)[0][0, 0]) == 5
    assert len(pipeline.read) == 1
    pipeline.encode_prompt(["a cat", "a dog!"])
    pipeline.encode_prompt(["a dog!", "a cat"])
    pipeline.encode_prompt(["a cat", "a dog!"], ["x", "x"])
    assert len(pipeline.read) == 4


def test_a_prompt_that_is_drawn_several_times_is_read_alone_where_that_is_the_same() -> None:
    pipeline, _ = _watched()
    four = pipeline.encode_prompt(["a cat"] * 4)
    assert pipeline.read == [["a cat"], ["a cat"] * 4]  # both, to compare them
    assert _same(four, pipeline.encode_prompt(["a cat"] * 4))
    assert _same(pipeline.encode_prompt(["a horse"] * 4), _Pipeline().encode_prompt(["a horse"] * 4))
    assert pipeline.read[2:] == [["a horse"]]
    assert _same(pipeline.encode_prompt(["a horse"]), _Pipeline().encode_prompt(["a horse"]))
    assert pipeline.read[3:] == []


def test_where_a_row_comes_out_otherwise_beside_others_it_is_read_beside_them() -> None:
    pipeline, _ = _watched()
    pipeline.noise = 1e-6
    plain = _Pipeline()
    plain.noise = 1e-6
    for prompt in ("a cat", "a cat", "a horse", "a horse"):
        assert _same(pipeline.encode_prompt([prompt] * 3), plain.encode_prompt([prompt] * 3))
    assert pipeline.read == [["a cat"], ["a cat"] * 3, ["a horse"] * 3]


class _Weighing:
    """Reads a negative prompt, too, as Stable Diffusion does; `mixes` makes it differ beside other prompts."""

    def __init__(self, mixes: float = 0.0) -> None:
        self.mixes = mixes
        self.read: list[str] = []

    def encode_prompt(
        self, prompt: list[str], do_classifier_free_guidance: bool, negative_prompt: list[str] | None = None
    ) -> Any:
        self.read += prompt
        rows = torch.tensor([[float(len(text)), 1.0] for text in prompt])
        if not do_classifier_free_guidance:
            return rows, None
        against = negative_prompt or [""] * len(prompt)
        self.read += [f"not {text}" for text in against]
        return rows, torch.tensor([[float(len(text)), self.mixes * len(prompt[0])] for text in against])


@pytest.mark.parametrize("mixes", [0.0, 1.0])
def test_a_negative_prompt_is_not_read_again_where_it_is_the_same_beside_others(mixes: float) -> None:
    pipeline, plain = _Weighing(mixes), _Weighing(mixes)
    Embeddings(tuple).watch(pipeline)
    for word in ("a", "bb", "ccc", "dddd"):
        for negative in (None, ["x", "x"]):
            own, other = (each.encode_prompt([word, "other"], True, negative) for each in (pipeline, plain))
            assert all(map(torch.equal, own, other))
    assert pipeline.read[:4] == ["a", "other", "not ", "not "]  # nothing more for one alone
    both = ["ccc", "other", "not ", "not ", "ccc", "other", "not x", "not x"]
    assert (
        pipeline.read[-2 * len(both) : -len(both)] == both
        if mixes
        else pipeline.read[-4:] == ["dddd", "other"] * 2
    )
    assert len(pipeline.read) == (32 + 2 if mixes else 28)


def test_what_changes_the_encoders_is_read_anew_and_a_picture_is_no_key() -> None:
    state = ["plain"]
    pipeline, embeddings = _watched(state=lambda: tuple(state))
    pipeline.encode_prompt(["a"])
    state[0] = "with a LoRA"
    pipeline.encode_prompt(["a"])
    pipeline.encode_prompt(["a"])
    state[0] = "plain"
    pipeline.encode_prompt(["a"])
    assert len(pipeline.read) == 2
    for _ in range(2):
        pipeline.encode_prompt(["a"], image=object())
    assert len(pipeline.read) == 4
    assert embeddings.recall("key", lambda: {"embeds": torch.ones(2)})["embeds"].tolist() == [1, 1]
    assert embeddings.recall("key", lambda: pytest.fail("it is known"))["embeds"].tolist() == [1, 1]


def test_only_so_much_is_kept_and_what_was_asked_for_longest_ago_goes() -> None:
    # A prompt: a row of 16 bytes twice, and 12 bytes.
    pipeline, _ = _watched(most=100)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        pipeline.encode_prompt([prompt])
    assert pipeline.read == [["a"], ["b"], ["c"], ["b"]]
    large, _ = _watched(most=40)
    for _ in range(2):
        large.encode_prompt(["a"])
    assert len(large.read) == 2


@contextmanager
def _generator(folder: Path, **settings: Any) -> Iterator[Generator]:
    spec = Catalogue().resolve(str(folder), Kind.GENERATE)
    chosen = RunnerSettings(**{"precision": "float32", **settings})
    generator = Generator(spec, CPU, chosen, Hooks())
    try:
        yield generator
    finally:
        generator.close()


def _drawn(generator: Generator, prompts: list[str], **more: Any) -> list[bytes]:
    orders = [GenerationRequest(n, {"prompt": p, "seed": n, **SMALL, **more}) for n, p in enumerate(prompts)]
    results = list(generator.draw(orders))
    assert [each.error for each in results] == [None] * len(prompts)
    return [each.image.tobytes() for each in results if each.image]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux", "z-image", "qwen-image", "sd35"])
def test_pixels_are_the_same_with_and_without(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = getattr(tiny, family)() if hasattr(tiny, family) else made(family)
    pipeline.save_pretrained(tmp_path / "pipeline")
    batches = [["a cat"] * 3, ["a cat"], ["a cat"] * 3, ["a cat", "a dog that runs"], ["a cat", "a dog that runs"]]
    with monkeypatch.context() as patch:
        patch.setattr(Embeddings, "watch", lambda *_: None)
        with _generator(tmp_path / "pipeline") as generator:
            plain = [_drawn(generator, prompts) for prompts in batches]
    with _generator(tmp_path / "pipeline") as generator:
        encoder = generator._resident.pipeline.text_encoder
        asked: list[int] = []
        with encoder.register_forward_hook(lambda *_: asked.append(1)):
            counts = []
            for prompts, expected in zip(batches, plain, strict=True):
                before = len(asked)
                assert _drawn(generator, prompts) == expected
                counts.append(len(asked) - before)
    assert counts[0] > 0
    assert counts[2] == counts[4] == 0, counts  # across batches
    assert counts[3] > 0


@pytest.mark.slow
def test_a_lora_on_the_text_encoder_is_read_with_and_without(tmp_path: Path) -> None:
    pipeline = tiny.sd15()
    pipeline.save_pretrained(tmp_path / "pipeline")
    torch.manual_seed(1)
    layers = {
        name: layer
        for name, layer in pipeline.text_encoder.named_modules()
        if isinstance(layer, torch.nn.Linear) and "self_attn" in name
    }
    assert layers
    weights = {}
    for name, layer in layers.items():
        weights[f"text_encoder.{name}.lora_A.weight"] = torch.randn(2, layer.in_features)
        weights[f"text_encoder.{name}.lora_B.weight"] = torch.randn(layer.out_features, 2)
    save_file(weights, tmp_path / "words.safetensors")
    checkpoints.lora_file(pipeline, tmp_path / "style.safetensors", seed=1)
    with _generator(tmp_path / "pipeline") as generator:
        generator.hooks = Hooks(lora=lambda name: tmp_path / f"{name}.safetensors")
        worn = [(), (("words", 1.0),), (("words", 0.5),), (("style", 1.0),), (("style", 1.0), ("words", 1.0))]
        first = [_drawn(generator, ["a cat"], lora=lora) for lora in worn]
        assert len({pixels[0] for pixels in first}) == len(worn)
        for _ in range(2):  # one after the other, in another order
            assert [_drawn(generator, ["a cat"], lora=lora) for lora in reversed(worn)] == first[::-1]
        embeddings = generator._resident.embeddings
        assert embeddings is not None
        # Without any, and both weights of the one that the text encoder wears: one of the denoiser changes no words.
        assert len(embeddings._kept) == 3
