"""The first guess of memory against what is measured: every tensor that is alive at the same time is counted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.core.working_memory import Drawing, denoising
from hotfolder.engines.generation import loaded as loaded_module
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.loading import working_of
from hotfolder.engines.generation.requests import GenerationRequest
from hotfolder.models.registry import Catalogue, ModelSpec
from hotfolder.types import Kind, RunnerSettings
from tests.support import tiny
from tests.support.live_bytes import LiveBytes
from tests.support.tiny_families import made

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")


def _spec(name: str, folder: Path, width: int, height: int) -> ModelSpec:
    if name == "shapes":
        files = Catalogue().resolve("shapes", Kind.GENERATE).folder
    else:
        files = folder / "pipeline"
        (getattr(tiny, name)() if hasattr(tiny, name) else made(name)).save_pretrained(files)
    entry = {
        "name": "measured", "kind": "generate", "files": [{"path": "model_index.json"}],
        "defaults": {"width": width, "height": height, "steps": 2},
    }  # fmt: skip
    return Catalogue((str(files),), (entry,)).resolve("measured", Kind.GENERATE)


@pytest.mark.parametrize(
    ("model", "width", "height", "count"),
    [
        ("shapes", 128, 128, 4), ("shapes", 256, 192, 1), ("sd15", 64, 64, 1), ("sd15", 96, 64, 4),
        ("sdxl", 128, 128, 2), ("sd35", 192, 192, 2),
    ],
)  # fmt: skip
def test_the_formula_is_within_15_percent_of_what_is_measured(
    model: str, width: int, height: int, count: int, tmp_path: Path
) -> None:
    """Weights and working together, of UNets and a transformer, where one or the other of two networks is larger."""
    spec = _spec(model, tmp_path, width, height)
    generator = Generator(spec, CPU, RunnerSettings(precision="float32", draw_together=count))
    parts = [
        part for part in generator._resident.pipeline.components.values() if isinstance(part, torch.nn.Module)
    ]
    tensors = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    orders = [GenerationRequest(n, {"prompt": f"a cat {n}", "seed": n}) for n in range(count)]
    with LiveBytes() as live:
        results = list(generator.draw(orders))
    assert [each.settings["batch_size"] for each in results if each.settings] == [count] * count
    generator.close()
    working = working_of(spec, torch.float32, count)
    assert working is not None
    assert weights + working.whole == pytest.approx(weights + live.peak, rel=0.15)


def _flux() -> tuple[Any, Callable[[Any], object]]:
    network = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=128,
        num_attention_heads=2, joint_attention_dim=64, pooled_projection_dim=32, axes_dims_rope=(16, 56, 56),
    )  # fmt: skip
    return network, lambda net: net(
        hidden_states=torch.randn(1, 1024, 16), encoder_hidden_states=torch.randn(1, 256, 64),
        pooled_projections=torch.randn(1, 32), timestep=torch.tensor([0.5]), img_ids=torch.zeros(1024, 3),
        txt_ids=torch.zeros(256, 3),
    )  # fmt: skip


def _qwen() -> tuple[Any, Callable[[Any], object]]:
    network = diffusers.QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=128, num_attention_heads=2,
        joint_attention_dim=64, axes_dims_rope=(16, 56, 56),
    )  # fmt: skip
    return network, lambda net: net(
        hidden_states=torch.randn(1, 1024, 16), encoder_hidden_states=torch.randn(1, 256, 64),
        encoder_hidden_states_mask=None, timestep=torch.tensor([0.5]), img_shapes=[[(1, 32, 32)]],
    )  # fmt: skip


def _sd35() -> tuple[Any, Callable[[Any], object]]:
    network = diffusers.SD3Transformer2DModel(
        sample_size=64, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=64, num_attention_heads=4,
        joint_attention_dim=64, caption_projection_dim=256, pooled_projection_dim=32, out_channels=4,
        pos_embed_max_size=64,
    )  # fmt: skip
    return network, lambda net: net(
        hidden_states=torch.randn(1, 4, 64, 64), encoder_hidden_states=torch.randn(1, 256, 64),
        pooled_projections=torch.randn(1, 32), timestep=torch.tensor([0.5]),
    )  # fmt: skip


@pytest.mark.parametrize("make", [_flux, _qwen, _sd35])
def test_a_transformer_takes_about_what_its_tokens_do(make: Callable[[], Any]) -> None:
    """One number for all of them: within a quarter. Of sizes at which tokens count, and not tables of positions."""
    network, call = make()
    network.eval().requires_grad_(False)
    with torch.inference_mode(), LiveBytes() as live:
        call(network)
    guess = denoising(network.config, Drawing(512, 512, bytes=4, text=256), 8)
    assert guess == pytest.approx(live.peak, rel=0.25)


def test_counting_sees_what_is_alive_and_not_what_is_gone() -> None:
    with LiveBytes() as live:
        kept = torch.ones(1000)
        for _ in range(5):
            other = kept * 2  # 4000 bytes, while the one before is still there
        view = kept.reshape(10, 100)[0]
        other += 1
    assert live.peak == 12_000
    assert view.sum() == 100


# --- remembered ------------------------------------------------------------------------------------


def test_where_it_fitted_last_is_where_the_next_start_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _spec("sd15", tmp_path, 64, 64)
    theirs, tried = loaded_module.load, []

    def scarce(spec: Any, device: Any, dtype: Any, step: MemoryPlan) -> Any:
        tried.append(step)
        if step is MemoryPlan.FULL:
            raise torch.OutOfMemoryError("out of memory: not really")
        return theirs(spec, device, dtype, step)

    monkeypatch.setattr(loaded_module, "load", scarce)
    monkeypatch.setattr(loaded_module, "free_of", lambda _: 2**30)
    for _ in range(2):
        Generator(spec, CPU, RunnerSettings(precision="float32")).close()
    assert tried == [MemoryPlan.FULL, MemoryPlan.TILED, MemoryPlan.TILED]
    # A step that a person chose is tried, whatever was learnt.
    with pytest.raises(torch.OutOfMemoryError):
        Generator(spec, CPU, RunnerSettings(precision="float32", memory="full"))
    # With more memory than then, it may fit.
    monkeypatch.setattr(loaded_module, "free_of", lambda _: 2**31)
    del tried[:]
    Generator(spec, CPU, RunnerSettings(precision="float32")).close()
    assert tried == [MemoryPlan.FULL, MemoryPlan.TILED]


def test_so_many_as_fitted_are_drawn_together_after_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _spec("sd15", tmp_path, 64, 64)
    theirs, asked = diffusers.StableDiffusionPipeline.__call__, []

    @functools.wraps(theirs)
    def call(self: Any, **given: Any) -> Any:
        asked.append(len(given["prompt"]))
        if len(given["prompt"]) > 2:
            raise torch.OutOfMemoryError("out of memory: not really")
        return theirs(self, **given)

    orders = [GenerationRequest(n, {"prompt": f"a {n}", "seed": n}) for n in range(4)]
    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "__call__", call)
    monkeypatch.setattr(loaded_module, "free_of", lambda _: 2**30)
    for _ in range(2):
        generator = Generator(spec, CPU, RunnerSettings(precision="float32", draw_together=4))
        assert [each.error for each in generator.draw(orders)] == [None] * 4
        generator.close()
    assert asked == [4, 2, 2, 2, 2]
