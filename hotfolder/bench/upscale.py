"""`hotfolder bench upscale`: the whole way, and the network alone, against the plain loop."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from spandrel.architectures.ESRGAN import ESRGAN
from torch.utils.flop_counter import FlopCounterMode

from hotfolder.bench.measure import begin_memory, peak_flops, peak_memory, precisions, seconds
from hotfolder.bench.pictures import write_pictures
from hotfolder.engines.device import pick_device, precision_name
from hotfolder.engines.upscaling.network import Network, read_descriptor
from hotfolder.engines.upscaling.upscaler import Upscaler
from hotfolder.executors.base import Executor
from hotfolder.executors.local import LocalExecutor
from hotfolder.models.registry import Catalogue
from hotfolder.oneshot.work import work
from hotfolder.types import Item, Kind, RunnerSettings

Tell = Callable[[str, int, int], None]


def bench_upscale(
    model: str,
    settings: RunnerSettings,
    *,
    images: int,
    size: int,
    naive: int,
    random_rrdb: bool,
    tell: Tell,
) -> dict[str, Any]:
    """Megapixels a second that go in; `naive` images go through the plain loop, in turns with ours."""
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as folder:
        if random_rrdb:
            model = str(_save_random_rrdb(Path(folder)))
        settings = replace(settings, scale=None, denoise=None, format="png")
        paths = write_pictures(Path(folder) / "pictures", images, size, "png")
        executor = LocalExecutor(settings, 3600)
        try:
            found = _measure(model, settings, executor, paths, Path(folder), naive, tell)
        finally:
            executor.close()
        # Of the worker, now that it has ended.
        worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    memory = {"ours_mb": round(worker)}
    if naive:
        memory["plain_loop_mb"] = round(peak_memory(torch.device("cpu"))["process_mb"])
    name = "RRDBNet-23, random weights" if random_rrdb else model
    return {"model": name, "picture": f"{size}² png", **found, "peak_memory": memory}


def _measure(
    model: str,
    settings: RunnerSettings,
    executor: Executor,
    paths: Sequence[Path],
    folder: Path,
    naive: int,
    tell: Tell,
) -> dict[str, Any]:
    items = [Item(i, 1, str(path), str(folder / "ours" / str(i))) for i, path in enumerate(paths)]
    tell("loading", 0, len(paths))
    small = write_pictures(folder / "first", 1, 64, "png")[0]
    _ours(executor, model, [Item(0, 1, str(small), str(folder / "first"))])
    device = pick_device(settings.device)
    plain = _PlainLoop(model, settings, device, folder / "plain")
    ours = theirs = 0.0
    done_plainly = 0
    # In turns, so that a machine that slows down slows both down.
    turns = [items[: len(items) // 2], items[len(items) // 2 :]] if len(items) > 1 else [items]
    for turn in turns:
        tell("the whole way", turn[0].job_id, len(paths))
        ours += seconds(partial(_ours, executor, model, turn), device)
        part = turn[: -(-naive // len(turns))]
        if part:
            if not done_plainly:
                plain.warm(small)
            tell("the plain loop", turn[0].job_id, len(paths))
            theirs += seconds(partial(plain, [Path(item.source or "") for item in part]), device)
            done_plainly += len(part)
    tell("the network alone", len(paths), len(paths))
    upscaler = Upscaler(
        Catalogue(settings.model_folders, settings.model_entries).resolve(model, Kind.UPSCALE), device, settings
    )
    with Image.open(paths[0]) as file:
        pixels = np.asarray(file.convert("RGB"))[:256, :256]
    upscaler.enlarge_one(pixels)
    alone = seconds(partial(upscaler.enlarge_one, pixels), device)
    side_by_side = _by_precision(model, settings, device, upscaler.network.dtype, pixels)
    flops = _flops_per_pixel(upscaler.network)
    roof = peak_flops(device, upscaler.network.dtype)
    megapixels = sum(_pixels(path) for path in paths) / 1e6
    rate = megapixels / ours
    network_rate = pixels.shape[0] * pixels.shape[1] / 1e6 / alone
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores",
        "precision": upscaler.precision,
        "images": len(paths),
        "tile": upscaler.tiling.tile,
        "overlap": upscaler.tiling.overlap,
        "exact": upscaler.tiling.blend == 0,
        "input_megapixels_per_second": {"network": round(network_rate, 4), "end_to_end": round(rate, 4)},
        "by_precision": side_by_side,
        "share_of_network": round(rate / network_rate, 3),
        "roofline": {
            "mflop_per_input_pixel": round(flops / 1e6, 3),
            "measured_peak_tflops": round(roof / 1e12, 3),
            "share": round(network_rate * 1e6 * flops / roof, 3),
        },
    }
    if done_plainly:
        plain_rate = megapixels / len(paths) * done_plainly / theirs
        found["input_megapixels_per_second"]["plain_loop"] = round(plain_rate, 4)
        found["times_plain"] = round(rate / plain_rate, 2)
        found["psnr_against_plain_db"] = round(_worst_psnr(folder, items, done_plainly), 1)
    return found


def _by_precision(
    model: str, settings: RunnerSettings, device: torch.device, own: torch.dtype, pixels: Any
) -> dict[str, Any]:
    """One picture, (h, w, 3) uint8, in float32 and in half precision: speed, and how far the results are apart."""
    spec = Catalogue(settings.model_folders, settings.model_entries).resolve(model, Kind.UPSCALE)
    found: dict[str, Any] = {}
    exact = None
    for dtype in precisions(device, own):
        begin_memory(device)
        upscaler = Upscaler(spec, device, replace(settings, precision=precision_name(dtype)))
        enlarged = np.asarray(upscaler.enlarge_one(pixels), np.float64)
        took = seconds(partial(upscaler.enlarge_one, pixels), device)
        exact = enlarged if exact is None else exact
        error = float(((enlarged - exact) ** 2).mean())
        found[precision_name(dtype)] = {
            "worked_in": upscaler.precision,  # float32 where a network does not stand half precision
            "input_megapixels_per_second": round(pixels.shape[0] * pixels.shape[1] / 1e6 / took, 4),
            "psnr_to_float32_db": round(99.0 if error == 0 else float(10 * np.log10(255**2 / error)), 1),
            "largest_difference_to_float32": int(np.abs(enlarged - exact).max()),  # in levels of 255
            "peak_memory_so_far": peak_memory(device),
        }
        del upscaler
    return found


def _ours(executor: Executor, model: str, items: Sequence[Item]) -> None:
    for outcome in work(executor, Kind.UPSCALE, model, items, lambda _: None):
        if outcome.error is not None:
            raise RuntimeError(outcome.error.message)


class _PlainLoop:
    """The whole picture at once, float32, the usual memory layout, PNG at Pillow's own level, one at a time."""

    def __init__(self, model: str, settings: RunnerSettings, device: torch.device, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._device = device
        spec = Catalogue(settings.model_folders, settings.model_entries).resolve(model, Kind.UPSCALE)
        self._net = read_descriptor(spec.files[0].path).model.eval().float().to(device)

    def warm(self, path: Path) -> None:
        self([path])

    @torch.inference_mode()
    def __call__(self, paths: Sequence[Path]) -> None:
        for path in paths:
            with Image.open(path) as file:
                pixels = torch.from_numpy(np.array(file.convert("RGB"))).to(self._device)
            enlarged = self._net(pixels.permute(2, 0, 1)[None].float() / 255)
            levels = (enlarged[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            Image.fromarray(levels).save(self._folder / path.name)


def _worst_psnr(folder: Path, items: Sequence[Item], count: int) -> float:
    worst = float("inf")
    for path in sorted((folder / "plain").glob("0*.png")):
        item = next((i for i in items if Path(i.source or "").name == path.name), None)
        if item is None:
            continue
        ours, plain = (np.asarray(Image.open(p), np.float64) for p in (Path(item.staging) / "output.png", path))
        if ours.shape == plain.shape:
            error = float(((ours - plain) ** 2).mean())
            worst = min(worst, 99.0 if error == 0 else 10 * np.log10(255**2 / error))
    return worst


def _pixels(path: Path) -> int:
    with Image.open(path) as image:
        return image.width * image.height


def _flops_per_pixel(network: Network) -> float:
    side = 64 // network.multiple * network.multiple or network.multiple
    pixels = torch.rand(1, 3, side, side, device=network.device)
    with FlopCounterMode(display=False) as counter:
        network.run(pixels)
    return float(counter.get_total_flops()) / side**2


def _save_random_rrdb(folder: Path) -> Path:
    """The architecture of RealESRGAN_x4plus (RRDBNet, 23 blocks) with seeded random weights."""
    torch.manual_seed(0)
    net = ESRGAN(in_nc=3, out_nc=3, num_filters=64, num_blocks=23, scale=4)
    path = folder / "random-rrdb.safetensors"
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, path)
    return path
