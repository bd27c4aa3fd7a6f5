"""Networks of the size of RealESRGAN_x4plus (RRDB) and realesr-general-x4v3 (Compact), with random weights."""

from __future__ import annotations

from typing import Any

from hotfolder.bench.document import Measurement, correct, limited, reasons, rounded
from hotfolder.bench.part import Give
from hotfolder.bench.upscale import bench_upscale
from hotfolder.engines.device import pick_device
from hotfolder.types import RunnerSettings

#: Of x4plus at 1024²; Compact is bounded by memory, and has none.
_GOAL = 0.5
#: With --quick, sides are so many times smaller, and on a CPU the networks are scaled down: what is found out about a
#: network when it is loaded first would take minutes there.
_QUICK = {"rrdb": 16, "compact": 8}
#: Pictures, and those of the plain loop.
_CARD, _FEW = (6, 2), (2, 1)


def measure_upscale(architecture: str, size: int, settings: RunnerSettings, quick: bool, give: Give) -> None:
    """`size` is the pictures' side, in pixels."""
    is_card = pick_device(settings.device).type == "cuda"
    images, naive = _CARD if is_card and not quick else _FEW
    small = quick and not is_card
    found = bench_upscale(
        "", settings, images=images, size=size // _QUICK[architecture] if quick else size, naive=naive,
        random=architecture, small=small, each_precision=False, tell=lambda *_: None,
    )  # fmt: skip
    goal = _GOAL if (architecture, size) == ("rrdb", 1024) else None
    for measurement in told(found, goal, small=small):
        give(measurement)


def told(found: dict[str, Any], goal: float | None, *, small: bool) -> list[Measurement]:
    """What `bench upscale` found, as measurements; `small`: of a network that is scaled down."""
    rates, roofline, exact = (
        found[key] for key in ("input_megapixels_per_second", "roofline", "against_float32_on_cpu")
    )
    peak = roofline["measured_peak_tflops"] / roofline["mflop_per_input_pixel"]
    plain = rates.get("plain_loop")
    of = f"a picture of {exact['side']}²"
    memory = found["network_peak_memory"]
    device = memory.get("device_mb")
    common: dict[str, Any] = {"unit": "megapixels", "precision": found["precision"], "scaled_down": small}
    off = found.get("psnr_against_plain_db")
    of_worker = {"device_memory_mb": "it is the worker's: see the network alone" if device else "a CPU has none"}
    too_large = "not enough memory for a whole picture at once"
    return [
        Measurement(
            name=f"{found['model']}, the network alone", value=rounded(rates["network"]),
            limit=limited("matrix products", peak, rates["network"]), goal=goal,
            device_memory_mb=device, process_memory_mb=memory["process_mb"],
            correctness=(correct("psnr_db", exact["psnr_db"], of), correct("levels", exact["largest_difference"], of)),
            reasons=reasons(device, plain="the plain way has no network alone: see the whole way"),
            details={"picture": found["picture"], "mflop_per_pixel": roofline["mflop_per_input_pixel"]}, **common,
        ),
        Measurement(
            name=f"{found['model']}, from file to file", value=rounded(rates["end_to_end"]),
            plain=None if plain is None else rounded(plain), times_plain=found.get("times_plain"),
            limit=limited("the worker", rates["network"], rates["end_to_end"]),
            process_memory_mb=found["peak_memory"]["ours_mb"],
            correctness=() if off is None else (correct("psnr_db", off, f"{found['picture']}, the plain way"),),
            reasons=of_worker if plain is not None else {**of_worker, "plain": too_large, "correctness": too_large},
            details={
                "picture": found["picture"], "plain": "the whole picture at once, float32, PNG at Pillow's level",
            }, **common,
        ),
    ]  # fmt: skip
