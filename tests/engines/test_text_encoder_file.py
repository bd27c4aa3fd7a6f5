"""Text encoders in scaled fp8: drawn as their weights are, or refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.text_encoder_file import has_scales, read_encoders
from hotfolder.errors import ModelDamaged, UsageError
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings
from tests.support import tiny

pytestmark = pytest.mark.slow
F8 = torch.float8_e4m3fn


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FLUX.1 whose T5 has weights that fp8 with their scales gives exactly."""
    folder = tmp_path_factory.mktemp("plain") / "pipeline"
    pipeline = tiny.flux()
    with torch.no_grad():
        for name, weights in pipeline.text_encoder_2.named_parameters():
            if _is_scaled(name, weights):
                weights.copy_(_kept(weights).float() * _scale(weights))
    pipeline.save_pretrained(folder)
    return folder


def _is_scaled(name: str, weights: torch.Tensor) -> bool:
    return weights.ndim == 2 and "block" in name and "relative" not in name


def _scale(weights: torch.Tensor) -> torch.Tensor:
    return torch.tensor(2.0**-6)


def _kept(weights: torch.Tensor) -> torch.Tensor:
    return (weights / _scale(weights)).clamp(-400, 400).to(F8)


def _scaled(plain: Path, to: Path, spelling: str) -> Path:
    shutil.copytree(plain, to)
    path = to / "text_encoder_2" / "model.safetensors"
    given: dict[str, torch.Tensor] = {}
    metadata = {"format": "pt"}
    for name, weights in load_file(path).items():
        if not _is_scaled(name, weights):
            given[name] = weights
            continue
        layer = name.removesuffix(".weight")
        given[name] = _kept(weights)
        given[f"{layer}.{'scale_weight' if spelling == 'old' else 'weight_scale'}"] = _scale(weights)
        if spelling != "old":
            told = json.dumps({"format": "float8_e4m3fn" if spelling == "new" else spelling}).encode()
            given[f"{layer}.comfy_quant"] = torch.tensor(list(told), dtype=torch.uint8)
    if spelling == "old":
        given["scaled_fp8"] = torch.empty(2, dtype=F8)
    save_file(given, path, metadata)
    return to


@contextmanager
def _generator(folder: Path, **settings: Any) -> Iterator[Generator]:
    spec = Catalogue().resolve(str(folder), Kind.GENERATE)
    generator = Generator(spec, torch.device("cpu"), RunnerSettings(precision="float32", **settings))
    try:
        yield generator
    finally:
        generator.close()


def _draw(folder: Path) -> np.ndarray:
    with _generator(folder) as generator:
        params = {"prompt": "a cat on a hill", "seed": 7, "width": 64, "height": 64, "steps": 2}
        return np.asarray(generator.draw_one(params)[0], dtype=int)


@pytest.mark.parametrize("spelling", ["old", "new"])
def test_it_draws_as_the_same_weights_do_at_full_width(plain: Path, tmp_path: Path, spelling: str) -> None:
    folder = _scaled(plain, tmp_path / "scaled", spelling)
    with _generator(folder) as generator:
        ours, theirs = (
            part.text_encoder_2.state_dict()
            for part in (generator._resident.pipeline, type(generator._resident.pipeline).from_pretrained(plain))
        )
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert abs(_draw(folder) - _draw(plain)).max() <= 1
    assert has_scales(folder / "text_encoder_2" / "model.safetensors")  # it is counted as large as it becomes
    assert not has_scales(plain / "text_encoder_2" / "model.safetensors")


def test_full_weights_are_read_whatever_lies_beside_them(plain: Path, tmp_path: Path) -> None:
    folder = _scaled(plain, tmp_path / "scaled", "old")
    path = folder / "text_encoder_2" / "model.safetensors"
    path.rename(path.with_name("a_t5xxl_fp8_scaled.safetensors"))
    with _generator(folder):
        pass  # the only one there is
    shutil.copyfile(plain / "text_encoder_2" / "model.safetensors", path)
    index = json.loads((folder / "model_index.json").read_text())
    assert read_encoders(folder, index, torch.float32) == {}


def test_two_files_with_the_same_weights_are_refused(plain: Path, tmp_path: Path) -> None:
    folder = _scaled(plain, tmp_path / "scaled", "old")
    path = folder / "text_encoder_2" / "model.safetensors"
    shutil.copyfile(plain / "text_encoder_2" / "model.safetensors", path.with_name("b.safetensors"))
    path.rename(path.with_name("a.safetensors"))
    with (
        pytest.raises(UsageError, match=r"b\.safetensors and another file beside it both have"),
        _generator(folder),
    ):
        pass


def test_the_shards_of_an_index_are_read_and_nothing_else(plain: Path, tmp_path: Path) -> None:
    folder = _scaled(plain, tmp_path / "scaled", "old")
    path = folder / "text_encoder_2" / "model.safetensors"
    shutil.copyfile(plain / "text_encoder_2" / "model.safetensors", path.with_name("b.safetensors"))
    path.rename(path.with_name("a.safetensors"))
    told = path.with_name("model.safetensors.index.json")
    index = json.loads((folder / "model_index.json").read_text())
    for shard, is_scaled in (("a.safetensors", True), ("b.safetensors", False)):
        told.write_text(json.dumps({"metadata": {}, "weight_map": {"x": shard}}))
        assert list(read_encoders(folder, index, torch.float32)) == ["text_encoder_2"] * is_scaled
    for hostile in ("../x.safetensors", 3, "/etc/passwd"):
        told.write_text(json.dumps({"weight_map": {"x": hostile}}))
        with pytest.raises(ModelDamaged, match="is not what it should be"):
            read_encoders(folder, index, torch.float32)


def test_another_format_is_refused_by_its_name(plain: Path, tmp_path: Path) -> None:
    folder = _scaled(plain, tmp_path / "scaled", "mxfp8")
    with pytest.raises(UsageError, match="quantised as mxfp8"), _generator(folder):
        pass


def test_one_that_is_incomplete_is_refused(plain: Path, tmp_path: Path) -> None:
    folder = _scaled(plain, tmp_path / "scaled", "old")
    path = folder / "text_encoder_2" / "model.safetensors"
    given = load_file(path)
    lost = next(name for name in given if name.endswith("SelfAttention.q.weight"))
    save_file({name: weights for name, weights in given.items() if not name.startswith(lost[:-7])}, path)
    with (
        pytest.raises(UsageError, match=r"does not fit .*text_encoder_2: 1 weights are missing"),
        _generator(folder),
    ):
        pass
