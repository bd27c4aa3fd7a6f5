"""What is found out about a network once, by trying, and then remembered in the user's cache folder."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses

from hotfolder.engines.device import synchronise
from hotfolder.engines.upscaling.network import Network
from hotfolder.home import cache_folder

log = logging.getLogger(__name__)
#: Changed whenever a probe changes: older findings are forgotten.
_VERSION = 3
#: Farther than this the field is not measured: tiles would be mostly overlap.
_FARTHEST = 64
#: Where the field reaches farther: beyond the overlap lies at most this share of what moves a pixel.
_NEGLIGIBLE = 1e-3
#: Never less than this, in input pixels, where tiles are blended.
_LEAST = 16
#: Half precision may be so far from float32, in 8-bit levels: on average, and 99.9 % of all values.
HALF_MEAN, HALF_MOST = 1.0, 12.0


@dataclass(frozen=True, slots=True)
class Findings:
    """`overlap`: input pixels around a tile that the network needs to see; `exact`: none beyond matters."""

    overlap: int
    exact: bool
    channels_last: bool
    bytes_per_pixel: float  # of memory while it works, for each input pixel
    near_float32: bool  # within the bounds of half precision, or in float32 itself


def probe(network: Network, environ: Mapping[str, str] = os.environ) -> Findings:
    """The findings about this network on this device, from the cache where they are there."""
    path = _cache(environ) / f"{network.weights_sha256[:32]}.json"
    here = f"{_VERSION}/{network.device.type}/torch-{torch.__version__}"
    key = f"{here}/{network.precision}"
    known = _load(path)
    found: dict[str, Findings] = {}
    for each, values in known.items():
        try:
            if each.startswith(f"{here}/"):
                found[each] = Findings(**values)  # type: ignore[arg-type]
        except TypeError:
            log.warning("%s is damaged and is written anew", path)
    if key in found:
        return found[key]
    # It reaches as far in any precision.
    other = next(iter(found.values()), None)
    overlap, exact = receptive_field(network) if other is None else (other.overlap, other.exact)
    # In float32 on a CPU not a question of speed: only in this layout do the kernels add up in one order whatever
    # the size of the tile, so that tiles meet to the last bit.
    steady = network.device.type == "cpu" and network.dtype is torch.float32
    channels_last = steady or faster_in_channels_last(network)
    findings = Findings(overlap, exact, channels_last, memory_per_pixel(network), _is_near_float32(network))
    _save(path, {**known, key: asdict(findings)})
    return findings


def receptive_field(network: Network) -> tuple[int, bool]:
    """(input pixels in each direction, whether that is all of it), from the gradient of one pixel of the output.

    Exact up to 64 pixels: for a convolutional network the gradient is zero beyond its field. Where it reaches
    farther, the distance beyond which a 1000th of the gradient's absolute sum lies.
    """
    for radius in (_FARTHEST // 2, _FARTHEST + 1):
        influence = _influence(network, radius)
        reached = max((int(n) for n in influence.nonzero().flatten()), default=0)
        if reached < radius:
            return _whole(reached, network.multiple), True
    outside = influence.flip(0).cumsum(0).flip(0) / influence.sum().clamp_min(1e-30)
    reached = int((outside > _NEGLIGIBLE).sum())
    return _whole(max(_LEAST, min(reached, _FARTHEST)), network.multiple), False


def _whole(pixels: int, multiple: int) -> int:
    return -(-pixels // multiple) * multiple


def _influence(network: Network, radius: int) -> torch.Tensor:
    """(radius + 1,) how much the input at each distance moves the pixels of the output that lie at the centre.

    All that a network of many layers makes of the pixels would be kept for the way back: gigabytes of RRDBNet's.
    """
    side = _whole(2 * radius + network.multiple, network.multiple)
    centre = side // 2 // network.multiple * network.multiple
    found = torch.zeros(radius + 1, dtype=torch.float64)
    for seed in range(2):  # one picture might leave some activation switched off
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.rand(1, 3, side, side, generator=generator).to(network.device).requires_grad_()
        with torch.enable_grad(), network.remembering_little():
            enlarged = network.differentiable(pixels)
            s = network.scale
            own = enlarged[..., centre * s : (centre + network.multiple) * s, :]
            own = own[..., centre * s : (centre + network.multiple) * s]
            signs = torch.randn(own.shape, generator=generator).to(network.device)
            (own * signs).sum().backward()
        assert pixels.grad is not None
        gradient = pixels.grad.abs().sum(dim=(0, 1)).double().cpu()
        at = torch.arange(side)
        # Distance from the nearest of the centre's own pixels.
        away = torch.maximum((centre - at).clamp_min(0), (at - (centre + network.multiple - 1)).clamp_min(0))
        distance = torch.maximum(away[:, None], away[None, :]).clamp_max(radius)
        found += torch.zeros_like(found).scatter_add_(0, distance.flatten(), gradient.flatten())
    return found


def faster_in_channels_last(network: Network) -> bool:
    """Whether that memory layout is worth it, timed on a small picture."""
    side = _whole(64 if network.device.type == "cpu" else 256, network.multiple)
    pixels = torch.rand(1, 3, side, side, device=network.device)

    def seconds(memory_format: torch.memory_format) -> float:
        best = float("inf")
        with torch.inference_mode():
            for _ in range(3):
                started = time.perf_counter()
                network.forward_in(pixels, memory_format)
                synchronise(network.device)
                best = min(best, time.perf_counter() - started)
        return best

    plain = seconds(torch.contiguous_format)
    return seconds(torch.channels_last) < plain * 0.97


def memory_per_pixel(network: Network) -> float:
    """Bytes that the network needs at the same time, for each input pixel: measured on CUDA, else from its layers.

    From the layers: three times the largest output of one, which covers a layer's input, output and a residual.
    """
    side = _whole(96, network.multiple)
    pixels = torch.rand(1, 3, side, side, device=network.device)
    if network.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(network.device)
        before = torch.cuda.memory_allocated(network.device)
        with torch.inference_mode():
            network.forward_in(pixels, torch.channels_last)
        return (torch.cuda.max_memory_allocated(network.device) - before) / side**2
    largest = 0

    def note(_module: object, _inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, output.numel() * output.element_size())

    with network.watched(note), torch.inference_mode():
        network.forward_in(pixels, torch.contiguous_format)
    return 3 * largest / side**2


def _is_near_float32(network: Network) -> bool:
    """Whether half precision stays within its bounds, on a small picture of soft colours with fine grain."""
    if network.dtype is torch.float32:
        return True
    side = _whole(64, network.multiple)
    generator = torch.Generator().manual_seed(0)
    soft = F.interpolate(torch.rand(1, 3, 8, 8, generator=generator), (side, side), mode="bicubic")
    pixels = (soft + torch.randn(1, 1, side, side, generator=generator) * 4 / 255).clamp(0, 1).to(network.device)
    half, full = (run(pixels).float().clamp(0, 1) for run in (network.run, network.run_in_float32))
    off = ((half - full).abs().flatten() * 255).cpu()
    return bool(off.mean() <= HALF_MEAN) and bool(off.quantile(0.999) <= HALF_MOST)  # False where it is no number


def _cache(environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/hotfolder/probes`."""
    return cache_folder(environ) / "probes"


def _load(path: Path) -> dict[str, dict[str, object]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _save(path: Path, findings: dict[str, dict[str, object]]) -> None:
    """Remembering is a convenience: where it cannot be written, the next load probes again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(findings, file)
        Path(file.name).replace(path)
    except OSError as error:
        log.warning("%s cannot be written (%s): probed again next time", path, error.strerror)
