"""The large networks of generators, with random weights: steps a second, one picture at a time and several."""

from __future__ import annotations

import traceback
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from hotfolder.bench.denoisers import DESIGNS, Denoiser
from hotfolder.bench.document import Correctness, Limit, Measurement, correct, limited, reasons, rounded
from hotfolder.bench.measure import bandwidth, begin_memory, peak_flops, peak_memory, psnr, seconds
from hotfolder.bench.part import Give
from hotfolder.engines.device import free_memory, is_out_of_memory, pick_device, precision_name
from hotfolder.engines.generation.loading import pick_generator_dtype
from hotfolder.types import RunnerSettings

_GOAL = 0.55
#: Sides of the pictures: on a card, and of the scaled-down network, which is also what is compared with the CPU.
_SIDE, _SMALL_SIDE = 1024, 128
#: Steps that are timed, at least one; for so many seconds, with --quick fewer.
_SECONDS, _QUICK_SECONDS = 2.0, 0.5
_MOST_STEPS = 20


def measure_denoiser(name: str, settings: RunnerSettings, quick: bool, give: Give) -> None:
    """One picture at a time is the plain way; ours is as many together as generate.draw_together allows.

    A network of the real size takes up to 24 GB; where that is too much, it is out of memory, and the part fails.
    """
    device = pick_device(settings.device)
    dtype = pick_generator_dtype(device, settings.precision)
    small = quick or device.type == "cpu"
    side = _SMALL_SIDE if small else _SIDE
    checked = compared(name, device, dtype)
    begin_memory(device)
    denoiser = Denoiser(name, device, dtype, small=small)
    inputs = denoiser.inputs(1, side)
    with FlopCounterMode(display=False) as counter:
        is_finite = bool(torch.isfinite(denoiser.step(inputs)).all())
    flops = float(counter.get_total_flops())
    roof, copies = peak_flops(device, dtype), bandwidth(device, small=small)
    size = denoiser.weights * torch.finfo(dtype).bits / 8

    def told(way: str, rate: float, together: int, plain: float | None) -> Measurement:
        memory = peak_memory(device)
        # A step reads every weight once, however many pictures share it.
        limit = _lower(roof / flops, copies / size * together, rate)
        return Measurement(
            name=f"{DESIGNS[name].title}, {way}", unit="steps", value=rounded(rate), precision=precision_name(dtype),
            plain=None if plain is None else rounded(plain),
            times_plain=None if plain is None else rounded(rate / plain),
            limit=limit, goal=_GOAL, device_memory_mb=memory.get("device_mb"),
            process_memory_mb=memory["process_mb"], correctness=(checked,), scaled_down=small,
            reasons=reasons(memory.get("device_mb"), **({"plain": "it is the plain way"} if plain is None else {})),
            details={
                "weights_millions": round(denoiser.weights / 1e6, 1), "picture": f"{side}²", "together": together,
                "gflop_per_step": rounded(flops / 1e9), "finite": is_finite, "plain": "one picture at a time",
            },
        )  # fmt: skip

    lasting = _QUICK_SECONDS if quick else _SECONDS
    one = _rate(denoiser, inputs, device, 1, lasting)
    give(told("one at a time", one, 1, None))
    together, rate = _together(denoiser, side, device, settings.draw_together, lasting)
    if together > 1:
        give(told(f"{together} together", rate, together, one))
    if device.type == "cuda" and not quick:
        denoiser.network.compile_repeated_blocks()
        batch = denoiser.inputs(together, side)
        give(
            told(
                f"{together} together, compiled", _rate(denoiser, batch, device, together, lasting), together, one
            )
        )


def compared(name: str, device: torch.device, dtype: torch.dtype) -> Correctness:
    """A scaled-down network's output, against float32 on the CPU with the same weights.

    PSNR takes the span of the exact output for the white of a picture.
    """
    cpu = torch.device("cpu")
    # Both have the same weights and see the same numbers, rounded to `dtype`: only the work differs.
    denoiser = Denoiser(name, cpu, torch.float32, small=True).to(cpu, dtype)
    rounded_inputs = denoiser.inputs(1, _SMALL_SIDE)
    exact = _levels(denoiser.to(cpu, torch.float32).step(_in_float32(rounded_inputs)))
    ours = _levels(denoiser.to(device, dtype).step(denoiser.inputs(1, _SMALL_SIDE)))
    white = 255 / max(float(np.ptp(exact)), 1e-9)
    value = min(99.0, psnr(ours * white, exact * white))
    return correct("psnr_db", value, f"a scaled-down network in {precision_name(dtype)}, {_SMALL_SIDE}²")


def _in_float32(inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return {key: _in_float32(value) for key, value in inputs.items()}
    if isinstance(inputs, list):
        return [_in_float32(value) for value in inputs]
    return inputs.float() if torch.is_floating_point(inputs) else inputs


def _levels(found: torch.Tensor) -> Any:
    return found.double().cpu().numpy()


def _lower(products: float, memory: float, rate: float) -> Limit:
    """The lower of both limits, in steps a second."""
    by, limit = min(("matrix products", products), ("device memory", memory), key=lambda each: each[1])
    return limited(by, limit, rate)


def _rate(denoiser: Denoiser, inputs: Any, device: torch.device, together: int, lasting: float) -> float:
    """Steps a second, one for each picture."""
    step = partial(denoiser.step, inputs)
    step()  # kernels are chosen, and compiled
    # Some at a time, so that a card has its queue full; until it is enough: one step may be no measure of the others.
    some = max(1, min(_MOST_STEPS, int(lasting / seconds(step, device))) // 4)
    done, took = 0, 0.0
    while done < _MOST_STEPS and took < lasting:
        took += seconds(lambda: [step() for _ in range(some)], device)
        done += some
    return together * done / took


def _together(denoiser: Denoiser, side: int, device: torch.device, most: int, lasting: float) -> tuple[int, float]:
    """How many pictures fit, halved from `most` on, and their rate."""
    together = most
    while True:
        try:
            return together, _rate(denoiser, denoiser.inputs(together, side), device, together, lasting)
        except Exception as error:
            if not is_out_of_memory(error) or together == 1:
                raise
            traceback.clear_frames(error.__traceback__)  # what they hold would not be free otherwise
        free_memory(device)
        together //= 2
