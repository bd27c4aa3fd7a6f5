"""What drawing takes beside the weights: the formula by itself. Against measurements: tests/engines."""

from __future__ import annotations

from typing import Any

import pytest

from hotfolder.core.memory_plan import GIB, MemoryPlan, Working, begin_on
from hotfolder.core.working_memory import Drawing, decoding, working

SDXL_VAE = {"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "sample_size": 1024}
Z_IMAGE = {"_class_name": "ZImageTransformer2DModel", "dim": 3840}
SDXL = {
    "_class_name": "UNet2DConditionModel", "block_out_channels": [320, 640, 1280], "layers_per_block": 2,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
}  # fmt: skip


def _whole(drawing: Drawing, vae: Any = SDXL_VAE, denoiser: Any = Z_IMAGE) -> Working:
    found = working(vae, denoiser, drawing)
    assert found is not None
    return found


def test_a_picture_in_one_piece_takes_what_its_pixels_do_at_the_widest() -> None:
    # Three times 256 values, or 256 and four times 128, for each pixel.
    assert decoding([128, 256, 512, 512], 1024, 1024, 2) == 1024 * 1024 * 768 * 2
    one, four = (_whole(Drawing(1024, 1024, count)) for count in (1, 4))
    assert (one.whole / GIB, four.whole / GIB) == (pytest.approx(1.5), pytest.approx(6))
    assert _whole(Drawing(2048, 1024)).whole == 2 * one.whole
    assert _whole(Drawing(1024, 1024, bytes=4)).whole == 2 * one.whole


def test_in_tiles_the_denoiser_is_what_counts() -> None:
    small_tiles = {**SDXL_VAE, "sample_size": 256}
    alone = _whole(Drawing(1024, 1024, 4, text=512), small_tiles)
    assert alone.tiled == 4 * 13.5 * 3840 * (4096 + 512) * 2
    assert _whole(Drawing(1024, 1024, 4, text=512, is_guided=True), small_tiles).tiled == 2 * alone.tiled
    unet = _whole(Drawing(1024, 1024, 4, is_guided=True), small_tiles, SDXL).tiled
    assert 0.3 * GIB < unet < 3 * GIB


@pytest.mark.parametrize(
    ("vae", "denoiser"),
    [
        ({**SDXL_VAE, "_class_name": "AutoencoderDC"}, Z_IMAGE),
        ({"_class_name": "AutoencoderKL"}, Z_IMAGE),
        (SDXL_VAE, {"_class_name": "SomethingNew"}),
    ],
)
def test_of_networks_that_it_is_not_for_it_says_nothing(vae: Any, denoiser: Any) -> None:
    assert working(vae, denoiser, Drawing(1024, 1024)) is None


def test_what_was_learnt_is_believed_before_the_guess() -> None:
    steps = tuple(MemoryPlan)

    def begun(**learnt: float) -> MemoryPlan:
        known = {MemoryPlan(plan): need * GIB for plan, need in learnt.items()}
        return begin_on(steps, 20 * GIB, 10 * GIB, 6 * GIB, 4 * GIB, Working(4 * GIB, GIB), known)

    assert begun() is MemoryPlan.FULL
    assert begun(full=21) is MemoryPlan.TILED
    assert begun(full=21, tiled=21) is MemoryPlan.OFFLOAD
    assert begun(full=19.5, tiled=21) is MemoryPlan.FULL
    assert begin_on(steps, 20 * GIB, 10 * GIB, 6 * GIB, 4 * GIB, Working(12 * GIB, GIB)) is MemoryPlan.TILED
