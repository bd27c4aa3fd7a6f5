"""Decoding, the ViT-L/14 tower and the whole way from files to scores, with random weights."""

from __future__ import annotations

from typing import Any

from hotfolder.bench.document import Measurement, correct, limited, reasons, rounded
from hotfolder.bench.part import Give
from hotfolder.bench.score import bench_score
from hotfolder.engines.device import pick_device
from hotfolder.types import RunnerSettings

_TOWER_GOAL, _WHOLE_GOAL = 0.6, 0.7
#: Pictures, their sides, and those of the naive loop: on a card, on a CPU, and with --quick.
_CARD, _CPU, _QUICK = (1024, 1024, 24), (24, 1024, 6), (3, 256, 3)


def measure_score(settings: RunnerSettings, quick: bool, give: Give) -> None:
    is_card = pick_device(settings.device).type == "cuda"
    images, size, naive = _QUICK if quick else _CARD if is_card else _CPU
    found = bench_score(
        "", settings, images=images, size=size, format_="jpg", naive=naive, random_weights=True,
        each_precision=False, tell=lambda *_: None,
    )  # fmt: skip
    for measurement in told(found):
        give(measurement)


def told(found: dict[str, Any]) -> list[Measurement]:
    """What `bench score` found, as measurements."""
    rates, roofline, memory = found["images_per_second"], found["roofline"], found["peak_memory"]
    peak = 1e3 * roofline["measured_peak_tflops"] / roofline["gflop_per_image"]
    exact = found["against_float32_on_cpu"]
    device = memory.get("device_mb")
    common: dict[str, Any] = {
        "unit": "images",
        "device_memory_mb": device,
        "process_memory_mb": memory["process_mb"],
    }
    checked = correct("score", exact["largest_difference"], f"{exact['images']} pictures of {found['picture']}")
    lowest = min(("decoding", rates["decode_pool"]), ("matrix products", rates["tower"]), key=lambda each: each[1])
    return [
        Measurement(
            name="decode", value=rounded(rates["decode_pool"]), plain=rounded(rates["decode_one_thread"]),
            times_plain=rounded(found["cores_fed"]),
            reasons=reasons(
                device, limit="it is one of two limits of the whole way",
                correctness="the decoder is Pillow's in both ways",
            ),
            details={"picture": found["picture"], "plain": "one thread"}, **common,
        ),
        Measurement(
            name="ViT-L/14, the tower alone", value=rounded(rates["tower"]), precision=found["precision"],
            limit=limited("matrix products", peak, rates["tower"]), goal=_TOWER_GOAL, correctness=(checked,),
            reasons=reasons(device, plain="the plain way has no tower alone: see the whole way"),
            details={"gflop_per_image": roofline["gflop_per_image"], "micro_batch": found["micro_batch"]}, **common,
        ),
        Measurement(
            name="ViT-L/14, from files to scores", value=rounded(rates["end_to_end"]), precision=found["precision"],
            plain=rounded(rates["naive_loop"]), times_plain=rounded(found["times_naive"]),
            limit=limited(*lowest, rates["end_to_end"]), goal=_WHOLE_GOAL, correctness=(checked,),
            reasons=reasons(device), details={"picture": found["picture"], "images": found["images"],
                     "plain": "one at a time, float32, nothing beside anything else"}, **common,
        ),
    ]  # fmt: skip
