"""The same networks compiled (`executor.compile`): what fused kernels bring, beside the same network as it is.

Compiling takes up to a minute each: these parts come last, so that they cost no other its time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from hotfolder.bench.document import Measurement, limited, reasons, rounded
from hotfolder.bench.measure import begin_memory, peak_flops, peak_memory
from hotfolder.bench.part import Give
from hotfolder.bench.part_denoise import DenoiserBench, off
from hotfolder.bench.score import flops_per_image, tower_rate
from hotfolder.bench.upscale import flops_per_pixel, network_alone
from hotfolder.bench.weights import save_random_clip, save_random_head, save_random_upscaler
from hotfolder.core import formula
from hotfolder.engines.device import pick_device, pick_dtype, precision_name
from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.engines.scoring.looks import Look
from hotfolder.engines.upscaling.network import Network
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings

_TOWER_GOAL, _ENLARGER_GOAL = 0.6, 0.5
#: Pictures that the tower sees together.
_VIEWS = 256


class NotCompiled(Exception):
    """Why nothing came of it, such as that there is no C compiler."""


def measure_compiled(
    name: str, settings: RunnerSettings, quick: bool, give: Give, skip: Callable[[str], None]
) -> None:
    """`name` is the part that is not compiled. `skip` is told why there is nothing to measure.

    Raises KeyError for a part that has no compiled one.
    """
    measure = {"score": _score, "rrdb-1024": _rrdb, "sdxl": _denoiser, "flux": _denoiser, "z-image": _denoiser}[
        name
    ]
    if pick_device(settings.device).type != "cuda":
        skip("nothing is compiled on a CPU")
        return
    try:
        measure(name, settings, quick, give)
    except NotCompiled as error:
        skip(f"it cannot be compiled here: {error}")


@contextmanager
def _compiling() -> Iterator[None]:
    """Within it something compiled is called for the first time."""
    try:
        yield
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise NotCompiled(f"{type(error).__name__}: {lines[0]}"[:300]) from error


def _denoiser(name: str, settings: RunnerSettings, quick: bool, give: Give) -> None:
    bench = DenoiserBench(name, settings, quick)
    one = bench.rate(1)
    together, rate = bench.together()
    batch = bench.inputs(together)
    exact = bench.denoiser.step(batch)
    bench.denoiser.network.compile_repeated_blocks()
    with _compiling():
        psnr = off(bench.denoiser.step(batch), exact)
    compiled = bench.rate(together)
    more = {"eager": rounded(rate), "psnr_to_eager_db": round(psnr, 1)}
    give(bench.told(f"{together} together, compiled", compiled, together, one, None, **more))


def _score(_: str, settings: RunnerSettings, quick: bool, give: Give) -> None:
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as folder:
        save_random_clip(Path(folder))
        scorer = formula.of(str(save_random_head(Path(folder)))).text
        settings = replace(settings, model_folders=(folder,), scorers=(), database=None)
        tower(scorer, settings, 16 if quick else _VIEWS, give)


def tower(scorer: str, settings: RunnerSettings, views: int, give: Give) -> None:
    """A scorer's tower, with `views` pictures together, as it is and compiled."""
    device = pick_device(settings.device)
    picture = Image.effect_noise((256, 256), 60).convert("RGB")

    def loaded(*, compiled: bool) -> tuple[ScorerEnsemble, list[Look]]:
        ensemble = ScorerEnsemble.load(scorer, replace(settings, compile=compiled), device)
        return ensemble, [ensemble.look(picture)] * views

    plain, looks = loaded(compiled=False)
    eager = tower_rate(plain, looks, device)
    flops = sum(map(flops_per_image, plain.encoders.values()))
    exact = _score_of(plain, looks)
    del plain
    begin_memory(device)
    ensemble, looks = loaded(compiled=True)
    with _compiling():
        found = _score_of(ensemble, looks)  # of several: a single picture would be compiled for by itself
    rate = tower_rate(ensemble, looks, device)
    give(
        _told(
            "ViT-L/14, the tower alone, compiled", "images", rate, eager, flops, device,
            pick_dtype(device, settings.precision), goal=_TOWER_GOAL, scaled_down=False,
            micro_batch=ensemble.batch_size, score_off_eager=round(abs(found - exact), 5),
        )
    )  # fmt: skip


def _score_of(ensemble: ScorerEnsemble, looks: Sequence[Look]) -> float:
    first = ensemble.finish(ensemble.start(looks))[0]
    if isinstance(first, Exception):
        raise first
    return first.score.value


def _rrdb(_: str, settings: RunnerSettings, quick: bool, give: Give) -> None:
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as folder:
        model = str(save_random_upscaler(Path(folder), "rrdb", small=quick))
        enlarger(model, settings, 64 if quick else 1024, quick, give)


def enlarger(model: str, settings: RunnerSettings, side: int, small: bool, give: Give) -> None:
    """A network of x4plus' size at side², as it is and compiled, both with channels last."""
    device = pick_device(settings.device)
    spec = Catalogue(settings.model_folders, settings.model_entries).resolve(model, Kind.UPSCALE)

    def settled(*, compiled: bool) -> Network:
        network = Network(spec, device, replace(settings, compile=compiled))
        network.settle(channels_last=True)
        return network

    plain = settled(compiled=False)
    eager, flops = network_alone(plain, side), 1e6 * flops_per_pixel(plain)
    pixels = torch.rand(1, 3, side, side, device=device)
    exact = plain.run(pixels).cpu()
    del plain
    begin_memory(device)
    network = settled(compiled=True)
    with _compiling():
        psnr = off(network.run(pixels), exact)
    rate = network_alone(network, side)
    give(
        _told(
            "RRDBNet-23, random weights, the network alone, compiled", "megapixels", rate, eager, flops, device,
            network.dtype, goal=_ENLARGER_GOAL, scaled_down=small, picture=f"{side}²",
            psnr_to_eager_db=round(psnr, 1),
        )
    )  # fmt: skip


def _told(
    name: str, unit: str, rate: float, eager: float, flops: float, device: torch.device, dtype: torch.dtype, *,
    goal: float, scaled_down: bool, **details: Any,
) -> Measurement:  # fmt: skip
    """`flops` of one of the unit. The plain way is the same network, not compiled."""
    memory = peak_memory(device)
    begin_memory(device)
    return Measurement(
        name=name, unit=unit, value=rounded(rate), precision=precision_name(dtype), plain=rounded(eager),
        times_plain=rounded(rate / eager), limit=limited("matrix products", peak_flops(device, dtype) / flops, rate),
        goal=goal, device_memory_mb=memory.get("device_mb"), process_memory_mb=memory["process_mb"],
        scaled_down=scaled_down,
        reasons=reasons(
            memory.get("device_mb"),
            correctness="the part that is not compiled compares with float32; see how far it is from that one",
        ),
        details={"plain": "the same, not compiled", **details},
    )  # fmt: skip
