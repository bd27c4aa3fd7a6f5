"""The large networks of generators, with random weights: steps a second, one picture at a time and several."""

from __future__ import annotations

import tempfile
import traceback
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from hotfolder.bench.denoisers import DESIGNS, Denoiser
from hotfolder.bench.document import Correctness, Limit, Measurement, correct, limited, reasons, rounded
from hotfolder.bench.measure import bandwidth, begin_memory, peak_flops, peak_memory, psnr, seconds
from hotfolder.bench.part import Give
from hotfolder.engines.device import free_memory, is_out_of_memory, pick_device, precision_name
from hotfolder.engines.generation.channels_last import ChannelsLast
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
    bench = DenoiserBench(name, settings, quick)
    checked = compared(name, device, bench.dtype)
    channels_last = bench.find_order()
    bench.details["channels_last"] = channels_last
    one = bench.rate(1)
    give(bench.told("one at a time", one, 1, None, checked))
    together, rate = bench.together()
    if together > 1:
        give(bench.told(f"{together} together", rate, together, one, checked))
    if channels_last is False and device.type == "cuda":
        # What generate.channels_last = "on" would do: it shows in more than a grey level.
        bench.denoiser.network.to(memory_format=torch.channels_last)
        bench.details["channels_last"] = True
        give(bench.told(f"{together} together, channels last", bench.rate(together), together, one, checked))


class DenoiserBench:
    """A denoiser on the device, and what bounds it."""

    def __init__(self, name: str, settings: RunnerSettings, quick: bool) -> None:
        """Raises what runs out of memory."""
        self.device = device = pick_device(settings.device)
        self.dtype = pick_generator_dtype(device, settings.precision)
        self._most, self._lasting = settings.draw_together, _QUICK_SECONDS if quick else _SECONDS
        self._small = quick or device.type == "cpu"
        self._side = _SMALL_SIDE if self._small else _SIDE
        # Before the network is there: they take memory that is not its.
        self._roof, self._copies = peak_flops(device, self.dtype), bandwidth(device, small=self._small)
        begin_memory(device)
        self.denoiser = Denoiser(name, device, self.dtype, small=self._small)
        with FlopCounterMode(display=False) as counter:
            is_finite = bool(torch.isfinite(self.denoiser.step(self.inputs(1))).all())
        self._flops = float(counter.get_total_flops())
        self.details: dict[str, str | float | int | bool | None] = {
            "weights_millions": round(self.denoiser.weights / 1e6, 1), "picture": f"{self._side}²",
            "gflop_per_step": rounded(self._flops / 1e9), "finite": is_finite, "plain": "one picture at a time",
        }  # fmt: skip

    def inputs(self, together: int) -> Any:
        return self.denoiser.inputs(together, self._side)

    def find_order(self) -> bool | None:
        """Puts its convolutions into the order that generate.channels_last = "auto" takes: whether that is channels
        last; None where there are none."""
        shape = (self._side, self._side)
        with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as folder:
            network = SimpleNamespace(unet=self.denoiser.network)
            order = ChannelsLast(network, self.device, "auto", str, Path(folder) / "order.json")
            with order.drawing(shape):
                self.denoiser.step(self.inputs(1))
            found = order.found(shape).get("denoiser")
        return None if found is None else bool(found)

    def rate(self, together: int) -> float:
        """Steps a second, one for each picture."""
        return _rate(self.denoiser, self.inputs(together), self.device, together, self._lasting)

    def together(self) -> tuple[int, float]:
        """How many pictures fit, and their rate."""
        return _together(self.denoiser, self._side, self.device, self._most, self._lasting)

    def told(
        self, way: str, rate: float, together: int, plain: float | None, checked: Correctness | None, **more: Any
    ) -> Measurement:
        """Of what was measured last: the memory is its."""
        memory = peak_memory(self.device)
        size = self.denoiser.weights * torch.finfo(self.dtype).bits / 8
        why = {} if plain is not None else {"plain": "it is the plain way"}
        if checked is None:
            why["correctness"] = f"the part '{self.denoiser.name}' compares with float32; see psnr_to_eager_db"
        return Measurement(
            name=f"{DESIGNS[self.denoiser.name].title}, {way}", unit="steps", value=rounded(rate),
            precision=precision_name(self.dtype), plain=None if plain is None else rounded(plain),
            times_plain=None if plain is None else rounded(rate / plain),
            # A step reads every weight once, however many pictures share it.
            limit=_lower(self._roof / self._flops, self._copies / size * together, rate), goal=_GOAL,
            device_memory_mb=memory.get("device_mb"), process_memory_mb=memory["process_mb"],
            correctness=() if checked is None else (checked,), scaled_down=self._small,
            reasons=reasons(memory.get("device_mb"), **why), details={**self.details, "together": together, **more},
        )  # fmt: skip


def compared(name: str, device: torch.device, dtype: torch.dtype) -> Correctness:
    """A scaled-down network's output, against float32 on the CPU with the same weights."""
    cpu = torch.device("cpu")
    # Both have the same weights and see the same numbers, rounded to `dtype`: only the work differs.
    denoiser = Denoiser(name, cpu, torch.float32, small=True).to(cpu, dtype)
    rounded_inputs = denoiser.inputs(1, _SMALL_SIDE)
    exact = denoiser.to(cpu, torch.float32).step(_in_float32(rounded_inputs))
    ours = denoiser.to(device, dtype).step(denoiser.inputs(1, _SMALL_SIDE))
    of = f"a scaled-down network in {precision_name(dtype)}, {_SMALL_SIDE}²"
    return correct("psnr_db", off(ours, exact), of)


def off(ours: torch.Tensor, exact: torch.Tensor) -> float:
    """PSNR in dB, at most 99, which takes the span of the exact output for the white of a picture."""
    found, wanted = (each.double().cpu().numpy() for each in (ours, exact))
    white = 255 / max(float(np.ptp(wanted)), 1e-9)
    return min(99.0, psnr(found * white, wanted * white))


def _in_float32(inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return {key: _in_float32(value) for key, value in inputs.items()}
    if isinstance(inputs, list):
        return [_in_float32(value) for value in inputs]
    return inputs.float() if torch.is_floating_point(inputs) else inputs


def _lower(products: float, memory: float, rate: float) -> Limit:
    """The lower of both limits, in steps a second."""
    by, limit = min(("matrix products", products), ("device memory", memory), key=lambda each: each[1])
    return limited(by, limit, rate)


def _rate(denoiser: Denoiser, inputs: Any, device: torch.device, together: int, lasting: float) -> float:
    """Steps a second, one for each picture. The most memory is counted from here on."""
    begin_memory(device)
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
