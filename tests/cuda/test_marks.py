"""Without a card: what is here can be imported, is marked, and is skipped with a reason."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import conftest

#: What runs without a card.
ELSEWHERE = ("test_marks", "test_simulated")
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py") if path.stem not in ELSEWHERE)
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools/gpu_run.sh"


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_what_needs_a_card_says_so(name: str) -> None:
    module = importlib.import_module(f"tests.cuda.{name}")
    assert "cuda" in {mark.name for mark in module.pytestmark}
    assert f"tests/cuda/{name}.py" in SCRIPT.read_text()  # it names them, those first that tell most


@pytest.mark.slow
def test_with_a_card_each_of_them_would_find_its_fixtures() -> None:
    """Where they are skipped, pytest does not look for them. Without plug-ins, as on the machine with the card."""
    code = (
        "import sys, pytest\nfrom tests import conftest\nconftest.why_no_card = lambda: None\n"
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    words = ["-o", "addopts=--strict-markers", "-p", "no:cacheprovider", "-q", "--setup-plan", "-m", "cuda"]
    planned = subprocess.run(
        [sys.executable, "-c", code, *words, *(f"tests/cuda/{name}.py" for name in MODULES)],
        cwd=ROOT, env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert planned.returncode == 0, planned.stdout[-3000:]
    assert "skipped" not in planned.stdout.splitlines()[-1]


def test_without_a_card_they_are_skipped_with_a_reason(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest, "why_no_card", lambda: "there is no card here")
    item = pytest.Function.from_parent(request.node.parent, name="test_x", callobj=lambda: None)
    other = pytest.Function.from_parent(request.node.parent, name="test_y", callobj=lambda: None)
    for each in (item, other):
        each.own_markers.clear()
    item.add_marker(pytest.mark.cuda)
    conftest.pytest_collection_modifyitems([item, other])
    assert [mark.kwargs["reason"] for mark in item.iter_markers("skip")] == ["there is no card here"]
    assert list(other.iter_markers("skip")) == []


def carry(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """tools/gpu_run.sh, from another folder."""
    environment = {**os.environ, "PYTHON": sys.executable, **more}
    return subprocess.run(
        [str(SCRIPT), *words], cwd="/", env=environment, capture_output=True, text=True, check=False
    )


def test_what_carries_it_says_how_it_is_used(tmp_path: Path) -> None:
    told = carry()
    assert told.returncode == 2
    assert "tools/gpu_run.sh pack" in told.stdout and "set -euo" not in told.stdout
    without = carry("tests", str(tmp_path / "none"), OUT=str(tmp_path / "out"))
    assert without.returncode != 0
    assert "there is no wheel" in without.stderr and "pack" in without.stderr


def test_what_carries_it_measures_tests_and_keeps_what_comes_of_it(tmp_path: Path) -> None:
    """With wheels of which one is a stand-in for all that would be measured."""
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels/some-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried.py", "")
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = - ] && exec {sys.executable} "$@"\n'
        f'{sys.executable} -c "import carried" || exit 9\necho "$HF_HUB_OFFLINE $@"\n'
        '[ "$2" = hotfolder ] && exit 3\nexit 0\n'
    )
    python.chmod(0o755)
    out = tmp_path / "out"
    told = carry("all", str(tmp_path), OUT=str(out), PYTHON=str(python), BENCH="--quick --only line")
    assert told.returncode == 3, told.stderr  # of what was measured a part is missing; the tests ran all the same
    measured = (out / "bench-all.txt").read_text()
    within = "--minutes 7.25 --quick --only line"  # of 450 seconds
    assert measured == f"1 -m hotfolder bench all --out {out}/bench-all.json {within}\n"
    assert "-m pytest" in (out / "cuda-tests.txt").read_text()


_LATE = """
import time, pytest
def test_that_is_off(): assert 1 == 2
def test_that_hangs():
    print("it began")
    while True: time.sleep(0.1)
"""


@pytest.mark.slow
def test_what_is_late_is_interrupted_and_says_what_failed(tmp_path: Path) -> None:
    """And where the interrupt is ignored, as a shell has it for what it began in the background."""
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels/some-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried.py", "")
    (tmp_path / "test_late.py").write_text(_LATE)
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$2" = pytest ] || exec {sys.executable} "$@"\n'
        f"cd {tmp_path}\n"
        f"exec {sys.executable} -m pytest -p tests.support.failures -v --tb=short test_late.py\n"
    )
    python.chmod(0o755)
    out = tmp_path / "out"
    for seconds in ("5", "60"):  # the latter where pytest takes long to begin
        told = subprocess.run(
            ["sh", "-c", f"trap '' INT; exec {SCRIPT} tests {tmp_path}"], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHON": str(python), "OUT": str(out), "TESTS_SECONDS": seconds},
        )  # fmt: skip
        assert told.returncode == 124, told.stdout + told.stderr
        said = (out / "cuda-tests.txt").read_text()
        if "test_that_hangs" in said:
            break
    assert "test_that_is_off FAILED" in said and "assert 1 == 2" in said and "1 failed" in said
    assert "test_that_is_off (call)" in (out / "cuda-failed.txt").read_text()
