"""`hotfolder bench all`: its document, whatever becomes of its parts."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from hotfolder.bench import everything, part_denoise, part_score, part_upscale
from hotfolder.bench.denoisers import DESIGNS, Denoiser
from hotfolder.bench.document import EXPLAINED, BenchAll, Measurement, Problem, Status, correct, limited, reasons
from hotfolder.bench.everything import PARTS, PartSpec, _Ran, _run, bench_all
from hotfolder.bench.part import measure
from hotfolder.cli.bench_all import _rows, run_bench_all
from hotfolder.errors import UsageError
from hotfolder.types import RunnerSettings

SETTINGS = RunnerSettings(device="cpu")
NAMES = [part.name for part in PARTS]
QUICK = [part.name for part in PARTS if part.is_quick]
TOWER = Measurement(
    name="tower", unit="images", value=70.0, plain=35.0, times_plain=2.0, limit=limited("matrix products", 100, 70),
    goal=0.6, correctness=(correct("score", 0.004, "8 pictures"),), process_memory_mb=900,
    reasons=reasons(None),
)  # fmt: skip


def quiet(*_: Any) -> None:
    """Nothing is shown."""


def ran(*measurements: Measurement, status: Status = Status.DONE, why: str = "") -> _Ran:
    found = _Ran()
    found.status, found.measurements = status, list(measurements)
    found.error = Problem(kind="failed", message=why, fix="") if why else None
    return found


def read(path: Path) -> BenchAll:
    return BenchAll.model_validate_json(path.read_text())


def test_a_part_that_fails_says_so_and_the_others_go_on(tmp_path: Path) -> None:
    out, asked = tmp_path / "all.json", []

    def run(part: PartSpec, *_: Any) -> _Ran:
        asked.append(part.name)
        if part.name == "flux":
            return ran(TOWER, status=Status.FAILED, why="the device ran out of memory")
        return ran(TOWER)

    document = bench_all(SETTINGS, out, quick=True, tell=quiet, run=run)
    assert asked == QUICK  # nothing is compiled for a look
    assert read(out) == document
    assert document.finished and document.missing == ("flux",)
    flux = next(part for part in document.parts if part.name == "flux")
    assert flux.error is not None and flux.error.message == "the device ran out of memory"
    assert flux.measurements == (TOWER,)  # what was found before it failed
    assert len(list(_rows(document))) == len(QUICK) + 1


def test_the_document_is_whole_after_each_part_and_says_what_is_missing(tmp_path: Path) -> None:
    out, seen = tmp_path / "all.json", []

    def run(part: PartSpec, *_: Any) -> _Ran:
        seen.append(read(out))
        if part.name == NAMES[2]:
            raise KeyboardInterrupt
        return ran(TOWER)

    with pytest.raises(KeyboardInterrupt):
        bench_all(SETTINGS, out, quick=False, tell=quiet, run=run)
    assert [document.missing for document in seen] == [tuple(NAMES[n:]) for n in range(3)]
    left = read(out)
    assert not left.finished
    assert left.missing == tuple(NAMES[2:])
    assert left.parts[2].error is not None and left.parts[2].error.kind == "interrupted"


def test_what_there_is_no_time_for_stays_missing(tmp_path: Path) -> None:
    given: list[float] = []

    def run(part: PartSpec, _: RunnerSettings, __: bool, seconds: float) -> _Ran:
        given.append(seconds)
        return ran()

    document = bench_all(SETTINGS, tmp_path / "a.json", quick=False, tell=quiet, run=run, longest=20.0)
    assert max(given) <= 20.0  # of all parts, whose own limits are longer
    assert document.missing == tuple(
        name for name in NAMES if name not in QUICK
    )  # they would only begin to compile
    bench_all(SETTINGS, tmp_path / "a.json", quick=False, tell=quiet, run=run, longest=5400.0)
    assert given[-1] == 10 * PARTS[-1].seconds
    document = bench_all(SETTINGS, tmp_path / "a.json", quick=False, tell=quiet, run=run, longest=1.0)
    assert document.missing == tuple(NAMES)
    assert {part.status for part in document.parts} == {Status.MISSING}


def test_what_a_process_said_before_it_ended_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line, of one that was killed while it wrote, is left out."""
    said = json.dumps({"measurement": TOWER.model_dump(mode="json")})

    def act(then: str) -> None:
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{said}'\nprintf '{{\"measu'\n{then}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    act("echo nothing works >&2; kill -SEGV $$")
    died = _run(PARTS[0], SETTINGS, True, 30)
    assert (died.status, died.measurements) == (Status.FAILED, [TOWER])
    assert died.error is not None and died.error.kind == "died" and "signal 11" in died.error.message
    assert "nothing works" in died.error.fix
    act("exec sleep 60")
    late = _run(PARTS[0], SETTINGS, True, 3)
    assert (late.status, late.measurements) == (Status.TIMED_OUT, [TOWER])
    assert late.error is not None and PARTS[0].name in late.error.fix


def test_a_part_that_has_nothing_to_measure_says_why(tmp_path: Path) -> None:
    said: list[str] = []
    measure("sdxl-compiled", SETTINGS, True, quiet, said.append)
    assert said == ["nothing is compiled on a CPU"]
    found = ran()
    found.read(json.dumps({"skipped": said[0]}))
    document = bench_all(
        SETTINGS, tmp_path / "a.json", quick=True, only=["sdxl-compiled"], tell=quiet, run=lambda *_: found
    )
    assert not document.missing and document.parts[0].skipped == said[0]  # all was done that can be
    assert [list(row[:2]) for row in _rows(document)] == [["sdxl-compiled", f"nothing: {said[0]}"]]


def test_what_is_not_understood_is_an_error_of_its_part() -> None:
    found = _Ran()
    found.read(json.dumps({"measurement": {"name": "x"}}))
    assert found.status is Status.FAILED and found.error is not None
    with pytest.raises(ValidationError):
        BenchAll.model_validate({"parts": []})
    with pytest.raises(ValidationError):
        TOWER.model_validate({**TOWER.model_dump(), "value": float("nan")})


def test_bounds() -> None:
    assert correct("score", 0.02, "").ok and not correct("score", 0.021, "").ok
    assert correct("psnr_db", 50.0, "").ok and not correct("psnr_db", 49.9, "").ok
    assert correct("levels", 1, "").ok and not correct("levels", 2, "").ok


def test_what_is_no_number_is_as_far_off_as_can_be() -> None:
    exact = torch.arange(4.0)
    for wrong in (math.nan, math.inf):
        broken = torch.tensor([0.0, 1.0, wrong, 3.0])
        assert part_denoise.off(broken, exact) == 0.0
        assert not correct("psnr_db", part_denoise.off(broken, exact), "").ok
    assert part_denoise.off(exact, torch.tensor([math.nan] * 4)) == 0.0
    assert part_denoise.off(exact, exact) == 99.0


def test_what_bench_score_finds_stands_beside_its_limits() -> None:
    decode, tower, whole = part_score.told(
        {
            "picture": "1024² jpg", "images": 64, "precision": "float16", "micro_batch": 128, "cores_fed": 12.0,
            "images_per_second": {
                "decode_one_thread": 100.0, "decode_pool": 1200.0, "tower": 3000.0, "end_to_end": 900.0,
                "naive_loop": 30.0,
            },
            "times_naive": 30.0, "roofline": {"gflop_per_image": 160.0, "measured_peak_tflops": 800.0},
            "peak_memory": {"process_mb": 2000, "device_mb": 3000},
            "against_float32_on_cpu": {"images": 8, "largest_difference": 0.03},
        }
    )  # fmt: skip
    assert decode.times_plain == 12.0
    assert tower.limit == limited("matrix products", 5000.0, 3000.0) and tower.limit.share == 0.6
    assert whole.limit == limited("decoding", 1200.0, 900.0) and whole.limit.share == 0.75
    assert (whole.plain, whole.device_memory_mb, whole.correctness[0].ok) == (30.0, 3000, False)


def test_what_bench_upscale_finds_stands_beside_its_limits() -> None:
    found = {
        "model": "RRDBNet-23", "picture": "1024² png", "precision": "float16",
        "input_megapixels_per_second": {"network": 10.0, "end_to_end": 4.0, "plain_loop": 1.0}, "times_plain": 4.0,
        "psnr_against_plain_db": 58.0, "roofline": {"mflop_per_input_pixel": 40.0, "measured_peak_tflops": 800.0},
        "against_float32_on_cpu": {"side": 96, "psnr_db": 61.2, "largest_difference": 1},
        "network_peak_memory": {"process_mb": 900, "device_mb": 5000}, "peak_memory": {"ours_mb": 1500},
    }  # fmt: skip
    network, whole = part_upscale.told(found, 0.5, small=False)
    assert network.limit == limited("matrix products", 20.0, 10.0) and network.goal == 0.5
    assert all(each.ok for each in network.correctness)
    assert whole.limit == limited("the worker", 10.0, 4.0) and whole.times_plain == 4.0
    assert whole.correctness[0].value == 58.0 and "device_memory_mb" in whole.reasons
    for key in ("times_plain", "psnr_against_plain_db"):
        del found[key]
    del found["input_megapixels_per_second"]["plain_loop"]  # type: ignore[attr-defined]
    network, whole = part_upscale.told(found, None, small=True)
    assert whole.plain is None and "memory" in whole.reasons["plain"] and network.scaled_down


def test_what_a_measurement_does_not_have_it_says_why() -> None:
    told = TOWER.model_dump(mode="json")
    assert Measurement.model_validate(told) == TOWER
    for name in EXPLAINED:
        with pytest.raises(ValidationError, match=f"tower: no {name}, and no reason why"):
            Measurement.model_validate(
                {**told, name: () if name == "correctness" else None, "reasons": {}}
                | ({} if name == "device_memory_mb" else {"device_memory_mb": 1})
            )


def test_bad_usage_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no part is called 'sd3'"):
        bench_all(SETTINGS, tmp_path / "a.json", quick=True, only=["sd3"], tell=quiet, run=lambda *_: ran())
    (tmp_path / "file").write_text("of somebody")
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it
    for name in ("file", "pipe"):
        with pytest.raises(UsageError, match="is there already, and is no document"):
            run_bench_all(None, quick=True, only=[], out=tmp_path / name, minutes=1, as_json=True)
    with pytest.raises(UsageError, match="cannot be written"):
        bench_all(SETTINGS, tmp_path / "file" / "a.json", quick=True, tell=quiet, run=lambda *_: ran())


@pytest.mark.slow
def test_denoisers_have_the_size_of_the_real_ones() -> None:
    sizes = {}
    for name in DESIGNS:
        with torch.device("meta"):
            network = getattr(__import__("diffusers"), DESIGNS[name].class_name)(**DESIGNS[name].config)
        sizes[name] = round(sum(parameter.numel() for parameter in network.parameters()) / 1e9, 2)
    assert sizes == {"sdxl": 2.57, "flux": 11.9, "z-image": 6.15}


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_scaled_down_denoisers_are_measured_and_compared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_denoise, "peak_flops", lambda *_: 1e11)
    monkeypatch.setattr(part_denoise, "bandwidth", lambda *_, **__: 1e10)
    monkeypatch.setattr(part_denoise, "_QUICK_SECONDS", 0.01)
    found: list[Measurement] = []
    part_denoise.measure_denoiser(
        name, RunnerSettings(device="cpu", precision="float32", draw_together=2), True, found.append
    )
    assert [each.details["together"] for each in found] == [1, 2]
    for each in found:
        assert each.scaled_down and each.details["finite"] and each.limit is not None
        assert (
            each.correctness[0].ok and each.correctness[0].value == 99.0
        )  # float32 on the CPU is what it is compared with
    assert found[1].times_plain is not None


@pytest.mark.slow
def test_out_of_memory_halves_what_is_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def rate(_: Denoiser, __: Any, ___: torch.device, together: int, ____: float) -> float:
        tried.append(together)
        if together > 2:
            raise torch.OutOfMemoryError("too much")
        return 1.0

    monkeypatch.setattr(part_denoise, "_rate", rate)
    cpu = torch.device("cpu")
    denoiser = Denoiser("z-image", cpu, torch.float32, small=True)
    assert part_denoise._together(denoiser, 64, cpu, 8, 1.0) == (2, 1.0)
    assert tried == [8, 4, 2]


def test_steps_are_timed_until_it_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was quick, on a machine with other work, does not mean that twenty are."""
    given = iter([0.01, 3.0, 3.0])

    class Steps:
        def step(self, _: Any) -> None:
            """It takes no time: the clock is `given`."""

    monkeypatch.setattr(part_denoise, "seconds", lambda work, _: (work(), next(given))[1])
    denoiser: Any = Steps()
    assert part_denoise._rate(denoiser, {}, torch.device("cpu"), 4, 2.0) == pytest.approx(4 * 5 / 3.0)


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_a_valid_document_and_no_process(tmp_path: Path) -> None:
    out = tmp_path / "all.json"
    command = [sys.executable, "-m", "hotfolder", "bench", "all", "--quick", "--json", "--out", str(out)]
    command += ["--only", "machine", "--only", "line", "--minutes", "60"]
    environment = {**os.environ, "HOTFOLDER_EXECUTOR__DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        deadline = time.monotonic() + 1200
        while not (out.exists() and "machine" not in read(out).missing) and run.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        run.send_signal(signal.SIGKILL)
        run.wait()
    left = read(out)
    assert left.machine is not None and left.machine.device_type == "cpu" and left.versions["torch"]
    assert 0 < left.parts[0].cpu_seconds < left.parts[0].seconds * left.machine.cores + 1
    if left.missing:
        assert left.missing == ("line",) and not left.finished
    peaks = {each.name for part in left.parts for each in part.measurements}
    assert {"matrix products", "device memory"} <= peaks


def test_the_parts_fill_the_time_and_no_more() -> None:
    with pytest.raises(KeyError):
        measure("sd3", SETTINGS, True, quiet, quiet)
    with pytest.raises(KeyError):
        measure("whole-line-compiled", SETTINGS, True, quiet, quiet)
    assert max(part.seconds for part in PARTS) < everything.LONGEST <= 540
