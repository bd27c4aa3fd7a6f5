"""Enlarging with any super-resolution network that spandrel can read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import spandrel
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from PIL import Image

from hotfolder.engines.device import pick_dtype
from hotfolder.errors import GenerationFailed, ModelDamaged
from hotfolder.models.registry import ModelSpec

Report = Callable[[int, int], None]


class Upscaler:
    """A loaded network. `scale` is its factor in each direction."""

    def __init__(self, spec: ModelSpec, device: torch.device) -> None:
        self.name = spec.name
        self.weights_sha256 = spec.verify()
        descriptor = _read(spec.files[0].path)
        self.scale = descriptor.scale
        self._multiple = descriptor.size_requirements.multiple_of
        self._minimum = descriptor.size_requirements.minimum
        self._device = device
        dtype = pick_dtype(device)
        self._dtype = dtype if dtype is not torch.float16 or descriptor.supports_half else torch.float32
        self._grey = descriptor.input_channels == 1
        self._net = descriptor.model.eval().to(device, self._dtype, memory_format=torch.channels_last)
        self._net.requires_grad_(False)

    def enlarge(self, image: Image.Image, tile: int, overlap: int, report: Report) -> Image.Image:
        """Enlarges L, LA, RGB or RGBA to the same mode, exactly `scale` times in each direction.

        `tile` and `overlap` are input pixels; `report(done, all)` is called after each tile.
        """
        alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
        grey = image.mode in ("L", "LA")
        colours = _bleed(image) if alpha is not None else image.convert("RGB")
        planes = [np.asarray(colours)]
        if alpha is not None:
            planes.append(np.asarray(alpha.convert("RGB")))
        tiles = _tiles(image.width, image.height, tile)
        total, done = len(tiles) * len(planes), 0
        enlarged = []
        for plane in planes:
            out = np.empty((image.height * self.scale, image.width * self.scale, 3), np.uint8)
            for box in tiles:
                self._do_tile(plane, out, box, overlap)
                done += 1
                report(done, total)
            enlarged.append(Image.fromarray(out))
        result = enlarged[0].convert("L") if grey else enlarged[0]
        if alpha is not None:
            result.putalpha(enlarged[1].convert("L"))
        return result

    @torch.inference_mode()
    def _do_tile(self, plane: np.ndarray, out: np.ndarray, box: tuple[int, int, int, int], overlap: int) -> None:
        left, top, right, bottom = box
        height, width = plane.shape[:2]
        x0, y0 = max(0, left - overlap), max(0, top - overlap)
        x1, y1 = min(width, right + overlap), min(height, bottom + overlap)
        pixels = torch.from_numpy(plane[y0:y1, x0:x1].copy()).to(self._device)
        pixels = pixels.permute(2, 0, 1)[None].to(self._dtype) / 255
        enlarged = self._run(pixels)
        if not torch.isfinite(enlarged).all():
            # float16 overflows in some networks and gives black tiles: once more in full precision.
            self._net.float()
            enlarged = self._run(pixels.float())
            self._net.to(self._dtype)
            if not torch.isfinite(enlarged).all():
                raise GenerationFailed(f"model '{self.name}' gave no numbers for a tile", "try another model")
        s = self.scale
        inner = enlarged[0, :, (top - y0) * s : (bottom - y0) * s, (left - x0) * s : (right - x0) * s]
        # Rounded, not cut off: truncation darkens every pixel by half a level.
        levels = (inner.float().clamp(0, 1) * 255).round().to(torch.uint8)
        out[top * s : bottom * s, left * s : right * s] = levels.permute(1, 2, 0).cpu().numpy()

    def _run(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 3, h, w) in [0, 1] -> (1, 3, h·scale, w·scale); padded to what the network asks for."""
        height, width = pixels.shape[2:]
        pad_y, pad_x = (self._padding(n) for n in (height, width))
        if pad_x or pad_y:
            # Reflection needs more pixels than it adds; a tiny picture repeats its edge instead.
            mode = "reflect" if pad_x < width and pad_y < height else "replicate"
            pixels = F.pad(pixels, (0, pad_x, 0, pad_y), mode=mode)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        if self._grey:
            planes = [self._net(pixels[:, c : c + 1]) for c in range(3)]
            enlarged = torch.cat(planes, dim=1)
        else:
            enlarged = self._net(pixels)
        return enlarged[:, :3, : height * self.scale, : width * self.scale]

    def _padding(self, side: int) -> int:
        wanted = max(side, self._minimum)
        return -(-wanted // self._multiple) * self._multiple - side


def _read(path: Path) -> spandrel.ImageModelDescriptor:
    try:
        # spandrel reads pickles with a restricted unpickler: no code of the file is run.
        descriptor = spandrel.ModelLoader(device="cpu").load_from_file(path)
    except spandrel.UnsupportedModelError:
        raise ModelDamaged(f"{path} is of no architecture that spandrel knows", "use another model") from None
    except Exception as error:  # noqa: BLE001 - a damaged file fails in any way it likes
        raise ModelDamaged(f"{path} cannot be read: {error}", "fetch it again") from None
    if (
        not isinstance(descriptor, spandrel.ImageModelDescriptor)
        or descriptor.purpose not in ("SR", "FaceSR")
        or descriptor.input_channels not in (1, 3)
    ):
        raise ModelDamaged(f"{path} is not a network that enlarges images", "use a super-resolution model")
    return descriptor


def _tiles(width: int, height: int, tile: int) -> list[tuple[int, int, int, int]]:
    """(left, top, right, bottom) boxes that cover the image without overlapping."""
    return [
        (x, y, min(x + tile, width), min(y + tile, height))
        for y in range(0, height, tile)
        for x in range(0, width, tile)
    ]


def _bleed(image: Image.Image) -> Image.Image:
    """RGB in which transparent pixels take their colour from the visible ones near them.

    Otherwise whatever hides under the transparency would bleed into the edges when enlarged.
    """
    pixels = np.asarray(image.convert("RGBA")).astype(np.float32)
    colour, weight = pixels[..., :3], pixels[..., 3:] / 255
    if weight.min() == 1.0 or weight.max() == 0.0:
        return Image.fromarray(colour.astype(np.uint8))
    # A pyramid of weighted averages: each transparent pixel is filled from the finest level that sees colour.
    height, width = weight.shape[:2]
    level = torch.from_numpy(np.concatenate([colour * weight, weight], axis=-1)).permute(2, 0, 1)[None]
    levels = [level]
    while min(levels[-1].shape[2:]) > 1:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
    filled = levels[-1]
    for finer in reversed(levels[:-1]):
        spread = F.interpolate(filled, size=finer.shape[2:], mode="bilinear", align_corners=False)
        spread = spread / spread[:, 3:].clamp_min(1e-6)
        filled = finer + (1 - finer[:, 3:].clamp(0, 1)) * spread
    result = (filled[0, :3] / filled[0, 3:].clamp_min(1e-6)).permute(1, 2, 0).numpy()[:height, :width]
    return Image.fromarray(np.where(weight > 0, colour, result.round().clip(0, 255)).astype(np.uint8))
