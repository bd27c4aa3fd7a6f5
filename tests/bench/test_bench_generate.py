"""`hotfolder bench generate`, with the built-in model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hotfolder.cli.bench import run_bench_generate
from hotfolder.errors import ModelMissing, UsageError
from tests.cli.test_commands import hotfolder

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no root in sight."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("HOTFOLDER_ROOT", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.chdir(folder)
    return folder


def test_the_bench_measures_both_ways_and_how_far_they_are_apart(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = hotfolder(
        "bench", "generate", "--images", "2", "--plain", "2", "--steps", "4", "--json", TMPDIR=str(scratch)
    )
    assert done.returncode == 0, done.stderr
    left = [path.name for path in scratch.iterdir()]
    assert [name for name in left if not name.startswith("torchinductor")] == []  # torch's own, at its import
    told = json.loads(done.stdout)
    assert told["schema_version"] == 1
    rates = told["images_per_second"]
    assert set(rates) == {"network", "end_to_end", "plain_loop"}
    assert min(rates.values()) > 0
    assert told["times_plain"] == pytest.approx(rates["end_to_end"] / rates["plain_loop"], rel=0.05)
    assert told["share_of_network"] == pytest.approx(rates["end_to_end"] / rates["network"], rel=0.05)
    drawn_at_once = told["together"] / (told["steps"] * told["seconds_per_step"])
    assert rates["network"] == pytest.approx(drawn_at_once, rel=0.05)
    assert (told["images"], told["images_plain"], told["together"], told["steps"]) == (2, 2, 2, 4)
    assert (told["model"], told["picture"], told["memory"]) == ("shapes", "128 × 128 png", "full")
    assert told["grey_levels_from_plain"] <= 1
    assert told["roofline"]["gflop_per_step"] > 0
    assert set(told["load_seconds"]) == {"worker", "ours", "plain_loop"}
    assert min(told["load_seconds"].values()) > 0
    assert {"ours_mb", "plain_loop_mb"} <= set(told["peak_memory"])


def bench(**given: object) -> None:
    usual = {"images": 1, "plain": 0, "model": None, "steps": None, "size": None, "together": None}
    run_bench_generate(None, as_json=True, **{**usual, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 100}, "--size 100: .* multiple of 8"),
        ({"size": 9000}, "--size 9000"),
        ({"steps": 0}, "--steps 0"),
        ({"together": 0}, "--together 0"),
        ({"model": "x4-compact"}, "x4-compact"),
        ({"model": "nothing-like-that"}, "nothing-like-that"),
    ],
)
def test_what_cannot_be_is_said_with_a_fix(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        bench(**given)
    assert caught.value.fix


def test_a_model_that_is_not_here_is_told_before_work_begins() -> None:
    with pytest.raises(ModelMissing) as caught:
        bench(model="sdxl")
    assert caught.value.exit_code == 4
