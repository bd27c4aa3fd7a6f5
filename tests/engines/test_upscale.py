"""Enlarging: exact sizes, no seams, alpha and grey kept, bad weights refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hotfolder.demo.pictures import draw_landscape
from hotfolder.engines.upscale import Upscaler
from hotfolder.errors import ModelDamaged
from hotfolder.imaging.decode import decode
from hotfolder.models.registry import ModelFile, ModelSpec, resolve
from hotfolder.types import Kind

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def builtin() -> Upscaler:
    return Upscaler(resolve("x4-compact", Kind.UPSCALE, ()), CPU)


def enlarge(upscaler: Upscaler, image: Image.Image, tile: int = 256, overlap: int = 32) -> Image.Image:
    return upscaler.enlarge(image, tile, overlap, lambda *_: None)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (63, 65), (130, 40)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_exactly_four_times_in_the_same_mode(builtin: Upscaler, size: tuple[int, int], mode: str) -> None:
    enlarged = enlarge(builtin, Image.new(mode, size, 100 if mode == "L" else (100,) * len(mode)), tile=64)
    assert (enlarged.size, enlarged.mode) == ((size[0] * 4, size[1] * 4), mode)


def test_tiles_leave_no_seam(builtin: Upscaler) -> None:
    image = draw_landscape(3, (150, 101))
    whole = np.asarray(enlarge(builtin, image, tile=4096), np.int16)
    tiled = np.asarray(enlarge(builtin, image, tile=64), np.int16)
    assert np.abs(whole - tiled).max() <= 1


@pytest.mark.parametrize(
    ("name", "overlap"), [("realesr-animevideov3.pth", 20), ("realesr-general-x4v3.safetensors", 34)]
)
def test_real_models_tile_exactly(real_weights: Path, real_images: Path, name: str, overlap: int) -> None:
    upscaler = Upscaler(resolve(str(real_weights / name), Kind.UPSCALE, ()), CPU)
    image = decode(real_images / "0014.jpg", 10**9).image.crop((0, 0, 100, 90))
    whole = np.asarray(enlarge(upscaler, image, tile=4096), np.int16)
    tiled = np.asarray(enlarge(upscaler, image, tile=64, overlap=overlap), np.int16)
    assert np.abs(whole - tiled).max() <= 1


def test_progress_counts_every_tile(builtin: Upscaler) -> None:
    seen: list[tuple[int, int]] = []
    builtin.enlarge(Image.new("RGBA", (100, 70)), 64, 8, lambda *s: seen.append(s))
    assert seen == [(n, 8) for n in range(1, 9)]


def test_hidden_colours_do_not_bleed_into_the_edges(builtin: Upscaler) -> None:
    """A white disc on transparency whose hidden colour is black: no dark rim where it is half transparent."""
    y, x = np.mgrid[0:48, 0:48]
    inside = np.hypot(x - 24, y - 24) < 15
    pixels = np.zeros((48, 48, 4), np.uint8)
    pixels[inside] = 255
    enlarged = np.asarray(enlarge(builtin, Image.fromarray(pixels)), np.int16)
    visible = enlarged[..., 3] > 8
    assert visible.any()
    assert enlarged[visible][:, :3].min() >= 250


def test_a_flat_colour_stays_what_it_was(builtin: Upscaler) -> None:
    enlarged = np.asarray(enlarge(builtin, Image.new("RGB", (40, 40), (200, 60, 20))), np.int16)
    assert np.abs(enlarged[40:-40, 40:-40] - [200, 60, 20]).mean() < 2


class _Explosive:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("content", [b"", b"not weights", pickle.dumps({"a": 1})])
def test_files_that_are_no_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(ModelDamaged):
        Upscaler(ModelSpec("m", Kind.UPSCALE, "spandrel", tmp_path, (ModelFile(path),)), CPU)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth"
    torch.save({"params": _Explosive()}, path)
    with pytest.raises(ModelDamaged):
        Upscaler(ModelSpec("m", Kind.UPSCALE, "spandrel", tmp_path, (ModelFile(path),)), CPU)
    assert not (tmp_path / "exploded").exists()
