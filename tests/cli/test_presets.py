"""`init`: which preset fits this machine, and a root that becomes another; `doctor`: how its generator fits."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from hotfolder.cli import card
from hotfolder.cli.doctor.devices import plan
from hotfolder.config.settings import Settings
from tests.support.in_process import hotfolder


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a driver's tool in front that tells of these cards; without any, of none."""
    tools = tmp_path / "tools"
    tools.mkdir()

    def tell(cards: str) -> None:
        tool = tools / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{f'echo {cards!r}' if cards else 'exit 9'}\n")
        tool.chmod(0o755)

    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    return tell


def test_init_without_a_preset_says_what_fits_and_why(tmp_path: Path, gpu: Callable[[str], None]) -> None:
    gpu("")
    done = hotfolder("init", tmp_path / "a")
    assert done.returncode == 0
    assert "There is no GPU" in done.stdout
    assert "'tiny' fits" in done.stdout
    gpu("8192, Small\n16376, NVIDIA RTX 4080")
    done = hotfolder("init", tmp_path / "my pictures")
    assert "NVIDIA RTX 4080 has 16 GB: " in done.stdout
    assert f"hotfolder init '{tmp_path / 'my pictures'}' --preset " in done.stdout  # as a shell takes it
    assert f"hotfolder run --root '{tmp_path / 'my pictures'}'" in done.stdout
    assert tomllib.loads((tmp_path / "my pictures/hotfolder.toml").read_text())["generate"]["model"] == "shapes"


def test_a_root_becomes_another_preset_but_for_what_is_yours(tmp_path: Path) -> None:
    root = tmp_path / "r"
    hotfolder("init", root, "--preset", "tiny")
    path = root / "hotfolder.toml"
    path.write_text(path.read_text().replace('scorer = "technical"', 'scorer = "laion-v1"'))
    path.chmod(0o640)
    done = hotfolder("init", root, "--preset", "flux2-klein")
    assert done.returncode == 0, done.stderr
    assert 'generate.model: "shapes" -> "flux2-klein"' in done.stdout
    assert 'score.scorer: yours, "laion-v1", stays; the preset has "laion-v2"' in done.stdout
    told = tomllib.loads(path.read_text())
    assert (told["generate"]["model"], told["score"]["scorer"]) == ("flux2-klein", "laion-v1")
    assert path.stat().st_mode & 0o777 == 0o640
    before = path.read_bytes()
    again = hotfolder("init", root, "--preset", "flux2-klein")
    assert "nothing is changed" in again.stdout
    assert path.read_bytes() == before
    path.write_text("[gate\n")
    refused = hotfolder("init", root, "--preset", "tiny")
    assert refused.returncode == 2
    assert path.read_text() == "[gate\n"
    assert [each.name for each in root.iterdir() if each.name.endswith(".part")] == []


def test_the_way_back_to_models_that_are_built_in_fetches_nothing(tmp_path: Path) -> None:
    hotfolder("init", tmp_path / "r", "--preset", "cpu")
    done = hotfolder("init", tmp_path / "r", "--preset", "tiny")
    assert "hotfolder reload" in done.stdout and "models pull" not in done.stdout


def test_doctor_tells_how_the_generator_goes_onto_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "machine_memory", lambda: 64 << 30)
    device = {"device": "cuda:0", "name": "RTX", "memory_mb": 16376}
    settings = Settings().overridden({"generate": {"model": "z-image-turbo"}})
    (found,) = plan(settings, [device, {"device": "cpu", "name": "2 threads"}])
    assert found.status == "ok"
    assert "20.3 GB of weights" in found.message
    (small,) = plan(settings, [{**device, "memory_mb": 2048}])
    assert (small.status, "one layer at a time" in small.message) == ("ok", True)
    monkeypatch.setattr(card, "machine_memory", lambda: 8 << 30)  # they could not wait there
    (small,) = plan(settings, [{**device, "memory_mb": 2048}])
    assert (small.status, "do not fit" in small.message) == ("warn", True)
    (asked,) = plan(settings.overridden({"generate": {"memory": "nf4"}}), [device])
    assert "generate.memory says so" in asked.message
    assert list(plan(settings, [])) == []
    assert list(plan(Settings(), [device])) == []
