"""`hotfolder bench score`: decode, tower and the whole way, against the naive loop."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from hotfolder.bench.document import rounded
from hotfolder.bench.measure import begin_memory, peak_flops, peak_memory, precisions, seconds
from hotfolder.bench.pictures import write_pictures
from hotfolder.bench.weights import save_random_clip, save_random_head
from hotfolder.core import formula
from hotfolder.engines.device import decode_threads, pick_device, pick_dtype, precision_name
from hotfolder.engines.scoring.base import Encoder
from hotfolder.engines.scoring.ensemble import ScorerEnsemble, Started
from hotfolder.engines.scoring.looks import Look
from hotfolder.engines.scoring.stream import Looker, Seen, judge_all
from hotfolder.engines.transfer import Fetched
from hotfolder.types import Item, RunnerSettings

Tell = Callable[[str, int, int], None]
_ROUNDS = 3
#: Pictures that are judged in each precision: where half precision is the device's own, and where it is slow.
_COMPARED_FAST, _COMPARED_SLOW = 16, 2
#: Of a card's scores, so many are compared with the CPU's.
_COMPARED_CPU = 8
#: Pictures that one thread decodes.
_ONE_THREAD = 64
#: Runs of a whole batch after which the size of micro-batches is settled on a card, if not before.
_SEARCHES = 8
#: For scorers that judge by one.
_PROMPT = "a photograph of a landscape"


class _Blind(ScorerEnsemble):
    """An ensemble whose networks cost nothing: what is left is reading, decoding and preparing."""

    def __init__(self, real: ScorerEnsemble) -> None:
        self.__dict__.update(vars(real))
        picture = Image.new("RGB", (64, 64))
        seen = real.start([real.look(picture, prompt=_PROMPT)])
        self._empty = {id_: rows.wait()[0] for id_, rows in seen.fresh.items()}

    def start(self, looks: Sequence[Look]) -> Started:
        return Started(
            tuple(looks), {id_: Fetched(row.expand(len(looks), -1)) for id_, row in self._empty.items()}
        )


def bench_score(
    scorer: str,
    settings: RunnerSettings,
    *,
    images: int,
    size: int,
    format_: str,
    naive: int,
    random_weights: bool,
    each_precision: bool = True,
    tell: Tell,
) -> dict[str, Any]:
    """Images a second of each part; `naive` images go through the naive loop, in turns with ours. `each_precision`:
    float32 and half precision side by side, too."""
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as folder:
        if random_weights:
            tell("making random weights", 0, images)
            save_random_clip(Path(folder))
            scorer = formula.of(str(save_random_head(Path(folder)))).text
            settings = replace(settings, model_folders=(folder,))
        settings = replace(settings, scorers=(), database=None)
        paths = write_pictures(Path(folder) / "pictures", images, size, format_)
        found = _measure(scorer, settings, paths, naive, each_precision, tell)
        return {"scorer": "random weights" if random_weights else scorer, "picture": f"{size}² {format_}", **found}


def _measure(
    scorer: str, settings: RunnerSettings, paths: Sequence[Path], naive: int, each_precision: bool, tell: Tell
) -> dict[str, Any]:
    device = pick_device(settings.device)
    dtype = pick_dtype(device, settings.precision)
    tell("loading", 0, len(paths))
    ensemble = ScorerEnsemble.load(scorer, settings, device)
    items = [Item(index, 1, str(path), "", {"prompt": _PROMPT}) for index, path in enumerate(paths)]
    look = Looker(ensemble, settings, None)
    tell("decoding", 0, len(paths))
    some = items[:_ONE_THREAD]
    one_thread = len(some) / seconds(lambda: [look(item) for item in some], device)
    with ThreadPoolExecutor(decode_threads(settings)) as pool:
        blind = _Blind(ensemble)
        decode_pool = len(items) / seconds(partial(_judge, blind, items, look, pool), device)
        tell("tower", 0, len(paths))
        largest = max(encoder.largest_batch for encoder in ensemble.encoders.values())
        tower = tower_rate(ensemble, [seen[1] for seen in pool.map(look, items[:largest])], device)
        same = dtype is torch.float32 and not settings.compile
        bare = (
            ensemble
            if same
            else ScorerEnsemble.load(scorer, replace(settings, precision="float32", compile=False), device)
        )
        _naive_loop(bare, paths[:1])
        # In turns, so that a machine that slows down slows both down.
        ours = theirs = 0.0
        done_plainly = 0
        for number in range(_ROUNDS):
            part = items[number::_ROUNDS]
            tell("the whole way", number * len(part), len(paths))
            ours += seconds(partial(_judge, ensemble, part, look, pool), device)
            turn = paths[number::_ROUNDS][: -(-naive // _ROUNDS)]
            tell("the naive loop", number * len(part), len(paths))
            theirs += seconds(partial(_naive_loop, bare, turn), device)
            done_plainly += len(turn)
    peak = peak_memory(device)
    exact = _off_from_cpu(scorer, settings, ensemble, bare, paths, device)
    side_by_side = _by_precision(scorer, settings, device, dtype, paths, tell) if each_precision else {}
    flops = sum(flops_per_image(encoder) for encoder in ensemble.encoders.values())
    roof = peak_flops(device, dtype)
    whole, naive_rate = len(items) / ours, done_plainly / theirs
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores",
        "precision": precision_name(dtype),
        "images": len(items),
        "micro_batch": ensemble.batch_size,
        "images_per_second": {
            "decode_one_thread": rounded(one_thread),
            "decode_pool": rounded(decode_pool),
            "tower": rounded(tower),
            "end_to_end": rounded(whole),
            "naive_loop": rounded(naive_rate),
        },
        "times_naive": round(whole / naive_rate, 2),
        "by_precision": side_by_side,
        "cores_fed": round(decode_pool / one_thread, 2),
        "share_of_decode": round(whole / decode_pool, 3),
        "share_of_tower": round(whole / tower, 3),
        "roofline": {
            "gflop_per_image": round(flops / 1e9, 2),
            "measured_peak_tflops": rounded(roof / 1e12),
            "share": round(tower * flops / roof, 3),
        },
        "against_float32_on_cpu": exact,
        "peak_memory": peak,
    }


def tower_rate(ensemble: ScorerEnsemble, looks: Sequence[Look], device: torch.device) -> float:
    """Images a second, from prepared pictures to embeddings, which stay on the device."""
    for _ in range(_SEARCHES if device.type == "cuda" else 1):
        ensemble.finish(ensemble.start(looks))  # finds the size of the micro-batches
        if all(runner.sizing.settled for runner in ensemble.runners.values()):
            break
    runs = 2 if device.type == "cpu" else 20
    return runs * len(looks) / seconds(lambda: [ensemble.start(looks) for _ in range(runs)], device)


def _off_from_cpu(
    scorer: str,
    settings: RunnerSettings,
    ensemble: ScorerEnsemble,
    bare: ScorerEnsemble,
    paths: Sequence[Path],
    device: torch.device,
) -> dict[str, float]:
    """How far scores are from those of float32 on the CPU, for a few pictures. `bare` is in float32 on the device."""
    pictures = _opened(paths[: _COMPARED_SLOW if device.type == "cpu" else _COMPARED_CPU])
    if device.type == "cpu" and all(
        e.precision == precision_name(torch.float32) for e in ensemble.encoders.values()
    ):
        return {"images": len(pictures), "largest_difference": 0.0}  # it is the same
    exactly = replace(settings, precision="float32", compile=False)
    on_cpu = bare if device.type == "cpu" else ScorerEnsemble.load(scorer, exactly, torch.device("cpu"))
    off = [
        abs(ours.score.value - exact.score.value)
        for ours, exact in zip(*(each.judge(pictures, _PROMPT) for each in (ensemble, on_cpu)), strict=True)
    ]
    return {"images": len(pictures), "largest_difference": round(max(off), 5)}


def _opened(paths: Sequence[Path]) -> list[Image.Image]:
    pictures = []
    for path in paths:
        with Image.open(path) as file:
            pictures.append(file.convert("RGB"))
    return pictures


def _by_precision(
    scorer: str,
    settings: RunnerSettings,
    device: torch.device,
    own: torch.dtype,
    paths: Sequence[Path],
    tell: Tell,
) -> dict[str, Any]:
    """The same pictures in float32 and in half precision: images a second, and how far the scores are apart."""
    pictures = _opened(paths[: _COMPARED_FAST if own is not torch.float32 else _COMPARED_SLOW])
    found: dict[str, Any] = {}
    exact: list[float] = []
    for dtype in precisions(device, own):
        name = precision_name(dtype)
        tell(f"in {name}", 0, len(pictures))
        begin_memory(device)
        ensemble = ScorerEnsemble.load(scorer, replace(settings, precision=name), device)
        ensemble.judge(pictures[:1], _PROMPT)
        judged: list[float] = []
        took = seconds(partial(_into, judged, ensemble, pictures), device)
        exact = exact or judged
        off = [abs(one - other) for one, other in zip(judged, exact, strict=True)]
        found[name] = {
            "images": len(pictures),
            "images_per_second": round(len(pictures) / took, 3),
            "largest_difference_to_float32": round(max(off), 5),
            "mean_difference_to_float32": round(sum(off) / len(off), 5),
            "peak_memory_so_far": peak_memory(device),
        }
        del ensemble
    return found


def _into(found: list[float], ensemble: ScorerEnsemble, pictures: Sequence[Image.Image]) -> None:
    found += [each.score.value for each in ensemble.judge(pictures, _PROMPT)]


def _judge(
    ensemble: ScorerEnsemble, items: Sequence[Item], look: Callable[[Item], Seen], pool: ThreadPoolExecutor
) -> None:
    def fail(_: Item, error: Exception) -> None:
        raise error

    judge_all(ensemble, items, look, pool, lambda _: None, fail)


def flops_per_image(encoder: Encoder) -> int:
    """Floating-point operations of its network, for one picture."""
    view = encoder.prepare(Image.new("RGB", (1024, 1024)))
    # The fused attention of inference is one operation whose inside the counter does not see.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter:
            encoder.embed([view])
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return int(counter.get_total_flops())


def _naive_loop(ensemble: ScorerEnsemble, paths: Sequence[Path]) -> None:
    """One image at a time, float32, nothing beside anything else: the way small tools do it."""
    for path in paths:
        with Image.open(path) as file:
            image = file.convert("RGB")
        ensemble.judge([image], _PROMPT)
