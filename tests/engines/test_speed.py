"""Ways to draw faster that change the picture: only where they are asked for, and never without a word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

from hotfolder.core.prompts.metadata import from_metadata
from hotfolder.engines.generation import speed
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.requests import GenerationRequest, Hooks
from hotfolder.errors import BadInput, DeviceTrouble, UsageError
from hotfolder.imaging.metadata import explained
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings
from tests.support import tiny
from tests.support.tiny_families import made

pytestmark = pytest.mark.slow
SMALL = {"width": 64, "height": 64, "steps": 4}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("speed")
    for name in ("sd15", "flux"):
        getattr(tiny, name)().save_pretrained(root / name)
    made("qwen-image").save_pretrained(root / "qwen-image")
    return root


@contextmanager
def _generator(folder: Path, **settings: Any) -> Iterator[Generator]:
    spec = Catalogue().resolve(str(folder), Kind.GENERATE)
    generator = Generator(spec, torch.device("cpu"), RunnerSettings(precision="float32", **settings), Hooks())
    try:
        yield generator
    finally:
        generator.close()


def _draw(generator: Generator, **params: Any) -> tuple[np.ndarray, dict[str, Any]]:
    image, settings = generator.draw_one({"prompt": "a cat", "seed": 7, **SMALL, **params})
    return np.asarray(image, dtype=int), dict(settings)


def test_another_attention_is_recorded_and_gone_with_its_model(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _generator(folders / "flux") as generator:
        plain, settings = _draw(generator)
    assert not {"attention", "cache", "cache_threshold"} & set(settings)
    monkeypatch.setitem(speed.ATTENTION, "cudnn", ("_native_math", "torch"))  # which a CPU has
    with _generator(folders / "flux", attention="cudnn") as generator:
        processors = [
            part.processor._attention_backend
            for part in generator.denoiser.modules()
            if hasattr(getattr(part, "processor", None), "_attention_backend")
        ]
        assert set(processors) == {AttentionBackendName._NATIVE_MATH}
        other, settings = _draw(generator)
    assert settings["attention"] == "cudnn"
    assert abs(other - plain).max() <= 1
    assert _AttentionBackendRegistry._active_backend is AttentionBackendName.NATIVE


def test_that_it_was_compiled_is_recorded_where_it_was() -> None:
    settings = RunnerSettings(compile=True)
    assert speed.recorded(settings, torch.device("cuda", 0)) == {"compile": True}
    assert speed.recorded(settings, torch.device("cpu")) == {}
    shown = {"prompt": "a", "seed": 1, "model": "m", "width": 64, "height": 64, "compile": True}
    spec = from_metadata("a.png", {"hotfolder": json.dumps(shown)})
    assert any("executor.compile = true" in note for note in spec.notes)


def test_an_attention_that_is_not_here_or_has_no_effect_is_an_error(folders: Path) -> None:
    with pytest.raises(DeviceTrouble, match=r"generate\.attention = 'flash' cannot be had here") as caught:
        Generator(
            Catalogue().resolve(str(folders / "flux"), Kind.GENERATE), torch.device("cpu"),
            RunnerSettings(precision="float32", attention="flash"),
        )  # fmt: skip
    assert "flash-attn" in caught.value.fix
    with (
        pytest.raises(UsageError, match="no effect on StableDiffusionPipeline"),
        _generator(folders / "sd15", attention="cudnn"),
    ):
        pass
    assert _AttentionBackendRegistry._active_backend is AttentionBackendName.NATIVE


@pytest.mark.parametrize("family", ["flux", "qwen-image"])
def test_a_cache_draws_one_at_a_time_and_is_told(family: str, folders: Path) -> None:
    with _generator(folders / family) as generator:
        plain, _ = _draw(generator)
    with _generator(folders / family, cache="first-block", cache_threshold=1.0) as generator:
        other, settings = _draw(generator)
        assert (settings["cache"], settings["cache_threshold"]) == ("first-block", 1.0)
        orders = [GenerationRequest(n, {"prompt": "a cat", "seed": 7 + n, **SMALL}) for n in range(3)]
        results = list(generator.draw(orders))
        assert [each.settings["batch_size"] for each in results if each.settings] == [1, 1, 1]
        assert results[0].image is not None
        assert (np.asarray(results[0].image, dtype=int) == other).all()  # nothing of one picture is in the next
        # Nor of one that was not finished.
        cancelled: list[int] = []
        generator.hooks = Hooks(
            report=lambda key, step, _: cancelled.append(key) if step == 2 else None,
            is_cancelled=lambda _: bool(cancelled),
        )
        assert list(generator.draw(orders[1:2])) == []
        generator.hooks = Hooks()
        assert (_draw(generator)[0] == other).all()
    assert abs(other - plain).max() > 0  # it is another picture


def test_a_cache_where_it_cannot_be_is_an_error(folders: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"generate\.cache = 'first-block' cannot be had with StableDiff"),
        _generator(folders / "sd15", cache="first-block"),
    ):
        pass
    with _generator(folders / "flux", cache="first-block") as generator:
        image, _ = generator.draw_one({"prompt": "a cat", "seed": 7, **SMALL})
        image.save(tmp_path / "init.png")
        for _ in range(2):
            with pytest.raises(BadInput, match="cannot be had with FluxImg2ImgPipeline"):
                _draw(generator, init_image=str(tmp_path / "init.png"), strength=0.5)


def test_a_picture_that_was_drawn_so_says_it_when_it_is_drawn_again(folders: Path) -> None:
    with _generator(folders / "flux", cache="first-block", cache_threshold=0.5) as generator:
        _, settings = _draw(generator)
    spec = from_metadata("a.png", explained(settings).text)
    assert spec.notes == (
        "it was drawn with generate.cache = 'first-block' (0.5): with other settings it looks otherwise",
    )
    plain = {key: value for key, value in settings.items() if not key.startswith("cache")}
    assert from_metadata("a.png", explained(plain).text).notes == ()
