"""The parts of `bench all` whose networks are compiled. Here none is: it would take a compiler, and minutes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hotfolder.bench import part_compiled, part_denoise
from hotfolder.bench.document import Measurement
from hotfolder.bench.weights import save_random_upscaler
from hotfolder.types import RunnerSettings

pytestmark = pytest.mark.slow

SETTINGS = RunnerSettings(device="cpu", precision="float32", draw_together=2)


@pytest.fixture
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *_, **__: None)
    for module in (part_compiled, part_denoise):
        monkeypatch.setattr(module, "peak_flops", lambda *_: 1e11)
    monkeypatch.setattr(part_denoise, "_QUICK_SECONDS", 0.01)


def enlarger(below: Path, give: Callable[[Measurement], None]) -> None:
    part_compiled.enlarger(str(save_random_upscaler(below, "rrdb", small=True)), SETTINGS, 16, True, give)


def denoiser(_: Path, give: Callable[[Measurement], None]) -> None:
    part_compiled._denoiser("z-image", SETTINGS, True, give)


def tower(_: Path, give: Callable[[Measurement], None]) -> None:
    part_compiled.tower("technical", SETTINGS, 2, give)


@pytest.mark.parametrize("measure", [enlarger, denoiser, tower])
def test_what_is_compiled_stands_beside_the_same_as_it_is(
    measure: Callable[..., None], as_it_is: None, tmp_path: Path
) -> None:
    found: list[Measurement] = []
    measure(tmp_path, found.append)
    (only,) = found
    assert only.name.endswith("compiled") and only.times_plain is not None and only.limit is not None
    assert only.details.get("psnr_to_eager_db", 99.0) == 99.0 and only.details.get("score_off_eager", 0.0) == 0.0


def test_without_a_compiler_it_says_so_and_fails_nothing(
    as_it_is: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable.")

    def broken(module: Any, **_: Any) -> Any:
        return missing

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(part_compiled, "pick_device", lambda _: torch.device("cuda"))
    said: list[str] = []

    def rrdb(_: str, __: RunnerSettings, ___: bool, give: Callable[[Measurement], None]) -> None:
        monkeypatch.setattr(part_compiled, "pick_device", lambda _: torch.device("cpu"))
        enlarger(tmp_path, give)

    monkeypatch.setattr(part_compiled, "_rrdb", rrdb)
    part_compiled.measure_compiled("rrdb-1024", SETTINGS, True, lambda _: None, said.append)
    assert said == ["it cannot be compiled here: RuntimeError: Failed to find C compiler."]
