"""Enlarging: exact tiles, healed faults, alpha, depth and colour kept, any size, bad weights refused."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN

from hotfolder.core.sizes import Plan, Target, plan
from hotfolder.demo.pictures import draw_landscape
from hotfolder.engines.upscaling import picture, probes
from hotfolder.engines.upscaling.network import Network, read_descriptor
from hotfolder.engines.upscaling.picture import bleed, resize
from hotfolder.engines.upscaling.tiles import Tiling, ramp
from hotfolder.engines.upscaling.upscaler import Request, Upscaler
from hotfolder.errors import ImageTooLarge, ModelDamaged, UsageError
from hotfolder.imaging.colour import srgb
from hotfolder.imaging.decode import decode
from hotfolder.models.registry import Catalogue, ModelFile, ModelSpec
from hotfolder.types import Kind, RunnerSettings
from tests.support.networks import save_compact

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
ANIME, GENERAL, KEEPS_NOISE = (
    "realesr-animevideov3.pth", "realesr-general-x4v3.safetensors", "realesr-general-wdn-x4v3.safetensors",
)  # fmt: skip
PHOTOGRAPHS, DRAWINGS = "realesrgan-x4plus.safetensors", "realesrgan-x4plus-anime-6b.safetensors"
Pixels = NDArray[Any]
FLOAT32, BFLOAT16 = "float32", "bfloat16"
in_every_precision = pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16])


def load(path: Path | str, **settings: Any) -> Upscaler:
    """In float32, unless a test is about another precision: never in what this machine happens to prefer."""
    runner = RunnerSettings(**{"precision": FLOAT32, **settings})
    return Upscaler(Catalogue(()).resolve(str(path), Kind.UPSCALE), CPU, runner)


def difference(a: Pixels, b: Pixels) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max())


@pytest.fixture(scope="module")
def builtin() -> Upscaler:
    return load("x4-compact")


@pytest.fixture(scope="module")
def photograph(real_images: Path) -> Pixels:
    return np.asarray(decode(real_images / "children-alpha.png", 10**9).image.convert("RGB"))


@pytest.fixture
def known_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the probes find of RRDBNet, which takes minutes of a CPU: it reaches far beyond 64 pixels."""
    found = probes.Findings(64, exact=False, channels_last=True, bytes_per_pixel=50_000, near_float32=True)
    monkeypatch.setattr("hotfolder.engines.upscaling.upscaler.probe", lambda network: found)


# --- tiles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "field"), [(ANIME, 18), (GENERAL, 34)])
def test_the_receptive_field_is_found_and_remembered(real_weights: Path, name: str, field: int) -> None:
    upscaler = load(real_weights / name)
    assert (upscaler.findings.overlap, upscaler.findings.exact) == (field, True)
    (cached,) = probes._cache(os.environ).glob(f"{upscaler.weights_sha256[:32]}.json")
    assert f'"overlap": {field}' in cached.read_text()


@pytest.mark.parametrize("name", [ANIME, GENERAL])
@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (63, 65), (150, 101)])
def test_tiled_is_untiled(real_weights: Path, photograph: Pixels, name: str, size: tuple[int, int]) -> None:
    pixels = (
        np.resize(photograph[40:], (*size, 3))
        if size[1] > 500
        else photograph[60 : 60 + size[0], 90 : 90 + size[1]]
    )
    pixels = np.ascontiguousarray(pixels)
    whole = load(real_weights / name, tile=8192, precision="float32").enlarge_one(pixels)
    assert whole.shape == (size[0] * 4, size[1] * 4, 3)
    for tile in (64, 97) if size[1] < 500 else (64,):
        tiled = load(real_weights / name, tile=tile, precision="float32").enlarge_one(pixels)
        # For another shape a CPU may add in another order: what lies between two levels is then rounded otherwise.
        assert difference(tiled, whole) <= 1, tile
        assert np.mean(tiled != whole) <= 1e-4, tile


@in_every_precision
@pytest.mark.parametrize("name", [ANIME, GENERAL])
def test_every_precision_is_near_the_plain_run(
    real_weights: Path, photograph: Pixels, name: str, precision: str
) -> None:
    pixels = np.ascontiguousarray(photograph[40:180, 80:250])
    net = read_descriptor(real_weights / name).model.eval()
    with torch.inference_mode():
        plain = net(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0]
    expected = (plain.clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    upscaler = load(real_weights / name, tile=64, precision=precision)
    assert upscaler.precision == precision
    ours = upscaler.enlarge_one(pixels)
    error = float(((ours - expected) ** 2).mean())
    assert 10 * np.log10(255**2 / error) >= 50
    whole = load(real_weights / name, tile=8192, precision=precision).enlarge_one(pixels)
    assert difference(ours, whole) <= 1
    # 0.5 of a level is what rounding to 8 bits takes.
    off = np.abs(ours - expected)
    mean, most = {FLOAT32: (0.0, 0.0), BFLOAT16: (probes.HALF_MEAN, probes.HALF_MOST)}[precision]
    assert off.mean() <= mean + 0.5
    assert np.quantile(off, 0.999) <= most + 0.51


@pytest.mark.parametrize(("precision", "most", "mean"), [(FLOAT32, 2, 0.05), (BFLOAT16, probes.HALF_MOST, 0.5)])
def test_a_far_reaching_network_is_blended_within_its_bound(
    tmp_path: Path, photograph: Pixels, precision: str, most: float, mean: float
) -> None:
    torch.manual_seed(0)
    # Four of RealESRGAN_x4plus's 23 blocks, half as wide: farther than a tile, 15 pixels each. More takes minutes.
    net = ESRGAN(in_nc=3, out_nc=3, num_filters=32, num_blocks=4, scale=4)
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    for last in list(state)[-2:]:  # weight and bias of the last convolution
        state[last] = state[last] * 16  # few random blocks hardly change their input; now their output has a range
    rrdb = tmp_path / "rrdb.safetensors"
    save_file(state, rrdb)
    pixels = np.ascontiguousarray(photograph[60:156, 100:196])
    whole = load(rrdb, tile=8192, precision=precision).enlarge_one(pixels)
    blending = load(rrdb, tile=48, overlap=16, precision=precision)
    assert blending.precision == precision
    assert blending.tiling.blend == 8
    blended = blending.enlarge_one(pixels)
    assert np.ptp(whole) > 100
    assert difference(blended, whole) <= most
    assert np.abs(blended.astype(int) - whole).mean() < mean


def test_the_field_is_found_with_little_memory_and_is_the_same(tmp_path: Path) -> None:
    """Of RRDBNet's blocks only the inputs are kept: all that is in them took gigabytes when it was loaded first."""
    torch.manual_seed(0)
    net = ESRGAN(in_nc=3, out_nc=3, num_filters=8, num_blocks=4, scale=4)
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, tmp_path / "rrdb.safetensors")
    spec = Catalogue(()).resolve(str(tmp_path / "rrdb.safetensors"), Kind.UPSCALE)
    network = Network(spec, CPU, RunnerSettings(precision=FLOAT32))
    pixels = torch.rand(1, 3, 12, 12, requires_grad=True)
    gradients, kept = [], []
    for manager in (contextlib.nullcontext, network.remembering_little):
        sizes: dict[int, int] = {}

        def note(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        with manager():
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                enlarged = network.differentiable(pixels)
            (found,) = torch.autograd.grad(enlarged.sum(), pixels)
        gradients.append(found)
        kept.append(sum(sizes.values()))
    assert torch.equal(*gradients)
    assert kept[1] < kept[0] / 2
    assert all("forward" not in vars(module) for module in network._full.modules())


@pytest.mark.parametrize("name", [PHOTOGRAPHS, DRAWINGS])
@in_every_precision
def test_real_esrgan_is_near_the_plain_run(
    real_weights: Path, photograph: Pixels, known_field: None, name: str, precision: str
) -> None:
    """The enlarger that most people use: a crop that takes no minutes, whole and in tiles."""
    pixels = np.ascontiguousarray(photograph[80:92, 120:132])
    net = read_descriptor(real_weights / name).model.eval().float()
    with torch.inference_mode():
        plain = net(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0]
    expected = (plain.clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    upscaler = load(real_weights / name, tile=64, precision=precision)
    assert (upscaler.scale, upscaler.precision) == (4, precision)
    ours = upscaler.enlarge_one(pixels)
    off = np.abs(ours - expected)
    mean, most = {FLOAT32: (0.0, 0.0), BFLOAT16: (probes.HALF_MEAN, probes.HALF_MOST)}[precision]
    assert off.mean() <= mean + 0.5
    assert np.quantile(off, 0.999) <= most + 0.51


@pytest.mark.parametrize("name", [PHOTOGRAPHS, DRAWINGS])
def test_real_esrgan_keeps_alpha_and_every_size(
    real_weights: Path, photograph: Pixels, known_field: None, name: str
) -> None:
    upscaler = load(real_weights / name, tile=64)
    for height, width in ((1, 1), (3, 17)):
        alpha = np.full((height, width, 1), 200, np.uint8)
        pixels = np.concatenate([photograph[:height, :width], alpha], axis=2)
        (answer,) = upscaler.enlarge([Request(None, pixels, Target())], lambda *_: None)
        assert answer.pixels is not None
        assert answer.pixels.shape == (4 * height, 4 * width, 4)
        assert np.abs(answer.pixels[..., 3].astype(int) - 200).max() <= 1


def test_a_network_that_half_precision_is_too_little_for_works_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_compact(tmp_path / "small.safetensors", seed=9)
    pixels = np.asarray(draw_landscape(3, (64, 48)))
    monkeypatch.setattr(probes, "HALF_MOST", 0.0)
    with caplog.at_level(logging.WARNING):
        upscaler = load(path, precision=BFLOAT16)
    assert upscaler.precision == FLOAT32
    assert "too far from float32 in bfloat16" in caplog.text
    assert difference(upscaler.enlarge_one(pixels), load(path).enlarge_one(pixels)) == 0


def test_networks_that_take_only_multiples_are_padded_and_aligned(tmp_path: Path, photograph: Pixels) -> None:
    """×2 ESRGAN on pixels packed two by two (as RealESRGAN_x2plus): tiles must not fall on odd positions."""
    torch.manual_seed(1)
    net = ESRGAN(in_nc=12, out_nc=3, num_filters=16, num_blocks=1, scale=4)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "x2.safetensors")
    whole = load(tmp_path / "x2.safetensors", tile=8192)
    assert whole.scale == 2
    assert whole.network.multiple > 1
    pixels = np.ascontiguousarray(photograph[60:151, 100:203])
    expected = whole.enlarge_one(pixels)
    assert expected.shape == (182, 206, 3)
    tiled = load(tmp_path / "x2.safetensors", tile=33)
    assert tiled.findings.exact
    assert difference(tiled.enlarge_one(pixels), expected) == 0


def test_weights_of_blended_tiles_add_up_to_one() -> None:
    for length in (10, 64, 65, 100, 257):
        for tiling in (
            Tiling(32, 8, 8),
            Tiling(32, 8, 0),
            Tiling(24, 4, 3, multiple=4),
            Tiling(32, 8, 8, fixed=True),
        ):
            sums = np.zeros(length * 2)
            spans = list(tiling.spans(length))
            for span in spans:
                assert span.window <= span.keep_from <= span.start < span.stop <= span.keep_to
                assert span.keep_to <= span.window + span.seen <= length
                sums[span.keep_from * 2 : span.keep_to * 2] += ramp(span, tiling.blend, length, 2)
            assert np.allclose(sums, 1)
            assert [s.stop for s in spans[:-1]] == [s.start for s in spans[1:]]
            assert len({s.seen for s in spans}) == 1 or not tiling.fixed


def test_tiles_of_several_pictures_share_a_batch(tmp_path: Path) -> None:
    path = save_compact(tmp_path / "small.safetensors")
    pictures = [np.asarray(draw_landscape(n, (70, 60))) for n in range(5)]
    expected = [load(path).enlarge_one(p) for p in pictures]
    upscaler = load(path, tile=32)
    upscaler._enlarger.batch = 16
    upscaler._enlarger.tiling = replace(upscaler.tiling, fixed=True)
    sizes: list[int] = []
    run = upscaler.network.run

    def counted(pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels))
        return run(pixels)

    upscaler.network.run = counted  # type: ignore[method-assign]
    requests = [Request(n, p, Target()) for n, p in enumerate(pictures)]
    found = {a.key: a.pixels for a in upscaler.enlarge(requests, lambda *_: None)}
    assert sizes == [16, 14]  # 5 pictures of 6 tiles
    for number, pixels in enumerate(expected):
        assert difference(found[number], pixels) <= 1  # type: ignore[arg-type]


def test_progress_counts_the_tiles_of_both_planes(builtin: Upscaler) -> None:
    seen: list[tuple[int, int]] = []
    pixels = np.asarray(Image.radial_gradient("L").convert("RGB").resize((100, 70)))
    alpha = np.asarray(Image.radial_gradient("L").resize((100, 70)))[..., None]
    upscaler = load("x4-compact", tile=64)
    request = Request(None, np.concatenate([pixels, alpha], axis=-1), Target())
    list(upscaler.enlarge([request], lambda _, done, total: seen.append((done, total))))
    assert seen == [(n, 8) for n in range(1, 9)]


# --- what goes wrong -----------------------------------------------------------------------------


def faulty(upscaler: Upscaler, fault: Any) -> list[tuple[int, ...]]:
    """Calls `fault(call number, pixels, result)` around the network; gives the shapes it was asked for."""
    shapes: list[tuple[int, ...]] = []
    run = upscaler.network.run

    def broken(pixels: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(pixels.shape))
        return fault(len(shapes), pixels, run)  # type: ignore[no-any-return]

    upscaler.network.run = broken  # type: ignore[method-assign]
    return shapes


def test_out_of_memory_in_the_middle_is_healed_and_finished_rows_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_compact(tmp_path / "small.safetensors")
    pixels = np.asarray(draw_landscape(3, (128, 192)))
    expected = load(path).enlarge_one(pixels)
    upscaler = load(path, tile=64)

    def fault(call: int, given: torch.Tensor, run: Any) -> torch.Tensor:
        if call > 2 and given.shape[2] * given.shape[3] > 50 * 50:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return run(given)  # type: ignore[no-any-return]

    shapes = faulty(upscaler, fault)
    with caplog.at_level(logging.WARNING):
        assert difference(upscaler.enlarge_one(pixels), expected) == 0
    assert "out of memory: tiles of 32 pixels from now on" in caplog.text
    # The two finished tiles are not done again, and a window as large as the one that failed is not tried again.
    large = [shape[2] * shape[3] for shape in shapes if shape[2] * shape[3] > 50 * 50]
    assert len(large) <= 4
    assert len(set(large[2:])) == len(large[2:])
    assert upscaler.tiling.tile == 32


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize(
    ("size", "tile", "overlap"), [(256, 1024, 64), (200, 1024, 64), (600, 600, 64), (100, 100, 32)]
)
def test_however_large_the_overlap_running_out_of_memory_ends(
    tmp_path: Path, size: int, tile: int, overlap: int, fixed: bool
) -> None:
    path = save_compact(tmp_path / "small.safetensors")
    pixels = np.asarray(draw_landscape(3, (size, size)))
    expected = load(path).enlarge_one(pixels)
    upscaler = load(path, tile=tile, overlap=overlap)
    upscaler._enlarger.tiling = replace(upscaler.tiling, fixed=fixed)
    limit = size * size - 1

    def fault(_: int, given: torch.Tensor, run: Any) -> torch.Tensor:
        if given.shape[2] * given.shape[3] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(given)  # type: ignore[no-any-return]

    faulty(upscaler, fault)
    assert difference(upscaler.enlarge_one(pixels), expected) <= 1


def test_where_the_overlap_alone_is_too_much_it_is_said(tmp_path: Path) -> None:
    upscaler = load(save_compact(tmp_path / "small.safetensors"), tile=64, overlap=64)

    def fault(_: int, given: torch.Tensor, run: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    faulty(upscaler, fault)
    with pytest.raises(torch.OutOfMemoryError):
        upscaler.enlarge_one(np.asarray(draw_landscape(3, (300, 300))))


def test_a_batch_that_is_too_large_is_halved(tmp_path: Path) -> None:
    path = save_compact(tmp_path / "small.safetensors")
    pixels = np.asarray(draw_landscape(3, (128, 128)))
    expected = load(path).enlarge_one(pixels)
    upscaler = load(path, tile=32)
    upscaler._enlarger.batch = 8
    upscaler._enlarger.tiling = replace(upscaler.tiling, fixed=True)

    def fault(_: int, given: torch.Tensor, run: Any) -> torch.Tensor:
        if len(given) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(given)  # type: ignore[no-any-return]

    faulty(upscaler, fault)
    assert difference(upscaler.enlarge_one(pixels), expected) <= 1
    assert upscaler._enlarger.batch == 2
    assert upscaler.tiling.tile == 32


def test_no_memory_for_the_smallest_tile_is_an_error_of_that_picture(tmp_path: Path) -> None:
    upscaler = load(save_compact(tmp_path / "small.safetensors"), tile=32)

    def fault(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    faulty(upscaler, fault)
    with pytest.raises(torch.OutOfMemoryError):
        upscaler.enlarge_one(np.zeros((64, 64, 3), np.uint8))


def test_another_error_of_the_device_is_not_taken_for_lack_of_memory(tmp_path: Path) -> None:
    upscaler = load(save_compact(tmp_path / "small.safetensors"), tile=32)

    def fault(*_: Any) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    shapes = faulty(upscaler, fault)
    with pytest.raises(RuntimeError, match="illegal"):
        upscaler.enlarge_one(np.zeros((64, 64, 3), np.uint8))
    assert len(shapes) == 1


@in_every_precision
def test_a_tile_without_numbers_is_done_again_in_float32(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, precision: str
) -> None:
    path = save_compact(tmp_path / "small.safetensors")
    pixels = np.asarray(draw_landscape(3, (100, 90)))
    full = load(path, tile=32).enlarge_one(pixels)
    own = load(path, tile=32, precision=precision).enlarge_one(pixels)
    upscaler = load(path, tile=32, precision=precision)

    def fault(call: int, given: torch.Tensor, run: Any) -> torch.Tensor:
        return run(given) * (float("nan") if call % 3 == 0 else 1)  # type: ignore[no-any-return]

    faulty(upscaler, fault)
    with caplog.at_level(logging.WARNING):
        enlarged = upscaler.enlarge_one(pixels)
    assert "once more in float32" in caplog.text
    assert ((enlarged == own) | (enlarged == full)).all()
    if precision == FLOAT32:
        assert difference(enlarged, full) == 0
    else:
        assert (enlarged != own).any()


def test_a_network_that_gives_no_numbers_at_all_is_an_error_and_the_next_picture_works(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Compact(num_feat=16, num_conv=1, upscale=2, act_type="prelu")
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    state["body.0.weight"][:, :, 1, 1] = 3e38  # overflows for bright pixels, not for black ones
    save_file(state, tmp_path / "wild.safetensors")
    upscaler = load(tmp_path / "wild.safetensors")
    white, black = np.full((9, 9, 3), 255, np.uint8), np.zeros((9, 9, 3), np.uint8)
    requests = [Request(name, p, Target()) for name, p in (("white", white), ("black", black))]
    bad, good = upscaler.enlarge(requests, lambda *_: None)
    assert "no numbers" in str(bad.error)
    assert good.error is None


# --- alpha, grey, depth, colour ------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (65, 63), (40, 130)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exactly_four_times_in_the_same_channels_and_depth(
    builtin: Upscaler, size: tuple[int, int], channels: int, dtype: Any
) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, np.iinfo(dtype).max + 1, (*size, channels)).astype(dtype)
    enlarged = builtin.enlarge_one(pixels)
    assert (enlarged.shape, enlarged.dtype) == ((size[0] * 4, size[1] * 4, channels), dtype)


@in_every_precision
def test_16_bits_stay_16(real_images: Path, precision: str) -> None:
    source = decode(real_images / "tree_alpha_16bit.png", 10**9, deep=True)
    assert source.pixels.dtype == np.uint16
    assert source.pixels.shape[2] == 4
    upscaler = load("x4-compact", precision=precision)
    (answer,) = upscaler.enlarge([Request(None, source.pixels, Target())], lambda *_: None)
    enlarged = answer.pixels
    assert enlarged is not None
    assert (enlarged.dtype, answer.precision) == (np.uint16, FLOAT32)
    for channel in range(4):
        assert len(np.unique(enlarged[..., channel] & 0xFF)) == 256
        assert len(np.unique(enlarged[..., channel])) > 256
    assert len(np.unique(enlarged[..., :3])) > 60_000
    # Alpha is that of the source, larger.
    small = np.asarray(Image.fromarray((enlarged[..., 3] >> 8).astype(np.uint8)).resize(source.image.size, 4))
    assert np.abs(small.astype(int) - (source.pixels[..., 3] >> 8)).mean() < 8


def test_16_bits_are_the_same_in_every_precision(real_images: Path, real_weights: Path, known_field: None) -> None:
    deep = decode(real_images / "tree_alpha_16bit.png", 10**9, deep=True).pixels[100:116, 120:136]
    full, half = (
        load(real_weights / "realesrgan-x4plus.safetensors", precision=precision, tile=64)
        for precision in (FLOAT32, BFLOAT16)
    )
    assert half.precision == BFLOAT16
    assert probes._is_near_float32(half.network)  # so that it works in bfloat16 where it is asked, too
    assert difference(half.enlarge_one(deep), full.enlarge_one(deep)) == 0
    eight = (deep >> 8).astype(np.uint8)
    assert difference(half.enlarge_one(eight), full.enlarge_one(eight)) > 0
    # Two passes: what lies between them has 16 bits, and is 8-bit work all the same.
    (answer,) = half.enlarge([Request(None, eight[:4, :4], Target(scale=16))], lambda *_: None)
    assert answer.precision == BFLOAT16


@pytest.mark.parametrize("background", [0, 255])
def test_alpha_and_colour_fit_together_without_a_fringe(
    real_images: Path, real_weights: Path, background: int
) -> None:
    upscaler = load(real_weights / ANIME)
    pixels = decode(real_images / "children-alpha.png", 10**9).pixels[:220, :300]

    def over(rgba: Pixels) -> Pixels:
        weight = rgba[..., 3:].astype(np.float64) / 255
        return rgba[..., :3] * weight + background * (1 - weight)

    before = upscaler.enlarge_one((over(pixels) + 0.5).astype(np.uint8)).astype(np.float64)
    after = over(upscaler.enlarge_one(pixels))
    # Away from edges: farther than the network reaches from any pixel that is not fully there, or fully gone.
    reach = upscaler.findings.overlap
    solid = Image.fromarray(((pixels[..., 3] == 255) * 255).astype(np.uint8))
    gone = Image.fromarray(((pixels[..., 3] == 0) * 255).astype(np.uint8))
    # Where nothing is there, the alpha-aware reference is the background itself, not the network's idea of it.
    for area, reference in ((solid, before), (gone, np.full_like(before, background))):
        # Minimum over a square window, by separable erosion with numpy.
        mask = np.asarray(area) > 0
        for axis in (0, 1):
            padded = np.pad(mask, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
            mask = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=axis).all(axis=-1)
        away = np.kron(mask, np.ones((4, 4))).astype(bool)
        assert away.sum() > 10_000
        assert np.abs(reference - after)[away].max() <= 2
    # And at the edges the two are alike: a fringe would show as a rim of the other background.
    assert np.abs(before - after).mean() < 1.5


def test_hidden_colours_do_not_bleed_into_the_edges(builtin: Upscaler) -> None:
    """A white disc on transparency whose hidden colour is black: no dark rim where it is half transparent."""
    y, x = np.mgrid[0:48, 0:48]
    inside = np.hypot(x - 24, y - 24) < 15
    pixels = np.zeros((48, 48, 4), np.uint8)
    pixels[inside] = 255
    enlarged = builtin.enlarge_one(pixels).astype(int)
    visible = enlarged[..., 3] > 8
    assert visible.any()
    assert enlarged[visible][:, :3].min() >= 250
    assert (bleed(pixels[..., :3], pixels[..., 3:]) >= 254).all()


def test_grey_stays_grey_and_is_what_the_network_makes_of_it(builtin: Upscaler) -> None:
    grey = np.asarray(draw_landscape(1, (60, 50)).convert("L"))[..., None]
    ours = builtin.enlarge_one(grey)
    as_rgb = builtin.enlarge_one(np.repeat(grey, 3, axis=-1)).astype(np.float64).mean(axis=-1, keepdims=True)
    assert np.abs(ours - as_rgb).mean() < 0.5


def test_a_flat_colour_stays_what_it_was(builtin: Upscaler) -> None:
    enlarged = builtin.enlarge_one(np.full((40, 40, 3), (200, 60, 20), np.uint8)).astype(int)
    assert np.abs(enlarged[40:-40, 40:-40] - [200, 60, 20]).mean() < 2


def wide_gamut() -> bytes:
    """Display P3's primaries, with a plain gamma of 2.2."""
    primaries = [0.680, 0.320, 1.0, 0.265, 0.690, 1.0, 0.150, 0.060, 1.0]
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=[0.3127, 0.3290, 1.0], primaries=primaries, gamma=2.2))


def converted(pixels: Pixels, profile: bytes, into: bytes) -> Pixels:
    unit = np.ascontiguousarray(pixels, np.float32) / 255
    values = imagecodecs.cms_transform(
        unit, profile, into, colorspace="rgb", outcolorspace="rgb", outdtype="float32", intent=1
    )
    return np.asarray(values * 255)


@pytest.mark.parametrize(("precision", "most"), [(FLOAT32, 2), (BFLOAT16, probes.HALF_MOST)])
def test_an_srgb_and_a_wide_gamut_version_come_out_the_same(
    real_weights: Path, photograph: Pixels, precision: str, most: float
) -> None:
    upscaler = load(real_weights / ANIME, precision=precision)
    pixels = np.ascontiguousarray(photograph[40:160, 80:240])
    wide = (converted(pixels, srgb(), wide_gamut()) * 257 + 0.5).clip(0, 65535).astype(np.uint16)
    assert difference((wide >> 8).astype(np.uint8), pixels) > 10  # other numbers for the same colours
    from_srgb = upscaler.enlarge_one(pixels, profile=srgb()).astype(np.float64)
    from_wide = upscaler.enlarge_one(wide, profile=wide_gamut())
    back = converted(from_wide / 257, wide_gamut(), srgb())
    assert np.abs(back - from_srgb).max() <= most
    # With 8 bits the wide version itself is rounded, which the network amplifies at edges.
    eight = upscaler.enlarge_one((wide / 257 + 0.5).astype(np.uint8), profile=wide_gamut())
    off = np.abs(converted(eight, wide_gamut(), srgb()) - from_srgb)
    assert np.percentile(off, 99) <= most


def test_colours_that_srgb_cannot_show_are_carried_not_cut_off(builtin: Upscaler) -> None:
    vivid = np.full((20, 20, 3), (0, 255, 0), np.uint8)  # the green of the wide gamut itself
    enlarged = builtin.enlarge_one(vivid, profile=wide_gamut())
    assert difference(enlarged, builtin.enlarge_one(vivid)) == 0
    assert builtin.enlarge_one(vivid, profile=b"no profile at all").shape == (80, 80, 3)


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        ((100, 50), Target(), Plan(1, 400, 200, 4.0)),
        ((100, 50), Target(scale=1.5), Plan(1, 150, 75, 1.5)),
        ((100, 50), Target(scale=3), Plan(1, 300, 150, 3)),
        ((100, 50), Target(scale=4.2), Plan(1, 420, 210, 4.2)),
        ((100, 50), Target(scale=4.21), Plan(2, 421, 210, 4.21)),
        ((100, 50), Target(scale=1.04), Plan(1, 104, 52, 1.04)),
        ((900, 600), Target(long_edge=3601), Plan(1, 3601, 2401, 3601 / 900)),
        ((1000, 707), Target(paper=(3508, 4961)), Plan(1, 4961, 3507, 4.961)),
        ((707, 1000), Target(paper=(3508, 4961)), Plan(1, 3507, 4961, 4.961)),
        ((1000, 1000), Target(paper=(3508, 4961)), Plan(1, 3508, 3508, 3.508)),
        ((900, 600), Target(paper=(3508, 4961)), Plan(2, 4961, 3307, 4961 / 900)),
        ((100, 50), Target(scale=16), Plan(2, 1600, 800, 16)),
        ((100, 50), Target(scale=1), Plan(0, 100, 50, 1)),
        ((100, 50), Target(scale=0.5), Plan(0, 50, 25, 0.5)),
        ((333, 100), Target(long_edge=4096), Plan(2, 4096, 1230, 4096 / 333)),
        ((100, 333), Target(long_edge=1000), Plan(1, 300, 1000, 1000 / 333)),
        ((1, 4000), Target(scale=1.5), Plan(1, 2, 6000, 1.5)),
        ((1000, 1000), Target(megapixels=16), Plan(1, 4000, 4000, 4.0)),
    ],
)
def test_the_smallest_chain_that_reaches_the_size(size: tuple[int, int], target: Target, expected: Plan) -> None:
    found = plan(*size, 4, target)
    assert (found.passes, found.width, found.height) == (expected.passes, expected.width, expected.height)
    assert found.scale == pytest.approx(expected.scale)


@pytest.mark.parametrize("target", [Target(scale=1.5), Target(scale=5), Target(long_edge=100), Target(scale=0.5)])
def test_any_size_looks_like_the_picture(builtin: Upscaler, target: Target) -> None:
    image = draw_landscape(2, (64, 48))
    wanted = plan(64, 48, 4, target)
    enlarged = builtin.enlarge_one(np.asarray(image), target)
    assert enlarged.shape == (wanted.height, wanted.width, 3)
    like = np.asarray(image.resize((wanted.width, wanted.height), Image.Resampling.BICUBIC))
    assert np.abs(enlarged.astype(int) - like).mean() < 6


def test_a_little_more_than_a_pass_gives_is_no_second_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs one pass, has exactly the size that is asked for, and looks as two passes would."""
    upscaler = load("x4-compact")
    pixels = np.asarray(draw_landscape(2, (96, 68)))
    for target in (Target(long_edge=400), Target(paper=(337, 476))):
        once = upscaler.enlarge_one(pixels, target)
        assert plan(96, 68, 4, target).passes == 1
        assert max(once.shape) == (target.long_edge or 476)
        with monkeypatch.context() as patch:
            patch.setattr(Target, "tolerance", 0.0)
            assert plan(96, 68, 4, target).passes == 2
            twice = upscaler.enlarge_one(pixels, target)
        error = np.mean((once.astype(float) - twice) ** 2)
        assert (
            10 * np.log10(255**2 / error) >= 33
        )  # of 96 pixels, all of them edges; large pictures have 40 and more


@pytest.mark.parametrize("channels", [3, 1])
def test_a_little_larger_is_interpolated_in_levels_and_looks_as_in_light(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several times as fast, and the same on every seam of the bands that it is done in."""
    pixels = np.asarray(draw_landscape(2, (384, 272)))[..., :channels]
    (quick, _), (exact, _) = (resize(pixels, None, 476, 337, exact=exact) for exact in (False, True))
    assert (quick.dtype, quick.shape) == (np.uint8, (337, 476, channels))
    assert 10 * np.log10(1 / np.mean((quick / 255 - exact) ** 2)) >= 40
    monkeypatch.setattr(picture, "_BAND", 476 * 20)
    (banded, _) = resize(pixels, None, 476, 337, exact=False)
    assert np.abs(banded.astype(int) - quick).max() <= 1


def test_reducing_is_done_in_linear_light(builtin: Upscaler) -> None:
    """A fine checkerboard of black and white is half the light, 188 of 255, not 128."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    pixels = np.repeat(board[..., None], 3, axis=-1).astype(np.uint8)
    reduced = builtin.enlarge_one(pixels, Target(scale=0.25))
    assert abs(int(reduced[8, 8, 0]) - 188) <= 1


def test_what_would_not_fit_in_memory_is_refused(tmp_path: Path) -> None:
    upscaler = load(save_compact(tmp_path / "small.safetensors"), max_output_pixels=10_000)
    with pytest.raises(ImageTooLarge, match="more than the 10,000 allowed"):
        upscaler.enlarge_one(np.zeros((60, 60, 3), np.uint8))


# --- models --------------------------------------------------------------------------------------


def pair(real_weights: Path) -> ModelSpec:
    files = [(ModelFile(real_weights / name),) for name in (GENERAL, KEEPS_NOISE)]
    twin = ModelSpec("twin", Kind.UPSCALE, "spandrel", real_weights, files[1])
    return ModelSpec("general", Kind.UPSCALE, "spandrel", real_weights, files[0], twin=twin)


def test_denoising_is_a_mixture_of_the_pair(
    real_weights: Path, real_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.ascontiguousarray(decode(real_images / "0014.jpg", 10**9).pixels[:60, :60])
    # As it is found of either; a mixture has the same layers, and to find it of each takes seconds.
    monkeypatch.setattr(probes, "receptive_field", lambda network: (34, True))

    def at(strength: float | None, spec: ModelSpec) -> Upscaler:
        return Upscaler(spec, CPU, RunnerSettings(denoise=strength, precision=FLOAT32))

    spec = pair(real_weights)
    assert spec.twin is not None
    plain, noisy = (at(None, s).enlarge_one(pixels) for s in (spec, spec.twin))
    assert difference(plain, noisy) > 8
    assert difference(at(1.0, spec).enlarge_one(pixels), plain) <= 1
    assert difference(at(0.0, spec).enlarge_one(pixels), noisy) <= 1
    half = at(0.5, spec)
    distances = [np.abs(half.enlarge_one(pixels).astype(int) - other).mean() for other in (plain, noisy)]
    assert min(distances) > 0.1
    assert len({at(s, spec).weights_sha256 for s in (None, 0.0, 0.5, 1.0)}) == 4


def test_denoising_without_a_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no twin"):
        load(save_compact(tmp_path / "small.safetensors"), denoise=0.5)


def test_findings_that_were_damaged_are_found_anew(tmp_path: Path) -> None:
    spec = Catalogue(()).resolve(str(save_compact(tmp_path / "small.safetensors")), Kind.UPSCALE)
    network = Network(spec, CPU, RunnerSettings(precision=FLOAT32))
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    first = probes.probe(network, environ)
    assert (first.overlap, first.exact) == (4, True)
    (cached,) = (tmp_path / "hotfolder/probes").iterdir()
    cached.write_text("{ half a file")
    network = Network(spec, CPU, RunnerSettings(precision=FLOAT32))
    assert probes.probe(network, environ).overlap == 4
    assert "overlap" in cached.read_text()


class _Explosive:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("content", [b"", b"not weights", pickle.dumps({"a": 1})])
def test_files_that_are_no_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(ModelDamaged):
        load(path)


def test_networks_that_do_not_enlarge_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3))
    save_file(net.state_dict(), tmp_path / "unknown.safetensors")
    with pytest.raises(ModelDamaged, match="no architecture that spandrel knows"):
        load(tmp_path / "unknown.safetensors")


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth"
    torch.save({"params": _Explosive()}, path)
    with pytest.raises(ModelDamaged):
        load(path)
    assert not (tmp_path / "exploded").exists()
