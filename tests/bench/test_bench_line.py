"""`hotfolder bench line`, and that its counts are those of the kernel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hotfolder.bench.fsync import FsyncCounter
from hotfolder.bench.line_root import LineRoot, picture
from hotfolder.cli.bench import run_bench_line
from hotfolder.errors import HotfolderError, UsageError
from hotfolder.imaging.decode import decode
from tests.cli.test_commands import hotfolder

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def test_each_picture_is_an_image_and_another_one(tmp_path: Path) -> None:
    seen = set()
    for number in (0, 1, 255, 256, 2**32 - 1):
        path = tmp_path / f"{number}.png"
        path.write_bytes(picture(number))
        found = decode(path, 10**6)
        assert found.image.size == (16, 16)
        seen.add(found.image.convert("L").tobytes())
    assert len(seen) == 5


@pytest.mark.slow
@needs_compiler
def test_the_bench_works_all_files_and_counts_what_they_cost(tmp_path: Path) -> None:
    done = hotfolder("bench", "line", str(tmp_path), "--files", "40", "--files", "10", "--lone", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["schema_version"] == 1
    assert [run["files"] for run in told["runs"]] == [40, 10]
    for run in told["runs"]:
        assert run["kept"] + run["rejected"] == run["files"]
        assert run["files_per_second"] == pytest.approx(run["files"] / run["seconds"], rel=0.05)
        assert run["ms_per_file"] == pytest.approx(1000 * run["seconds"] / run["files"], rel=0.05)
        assert 0 < run["cpu_ms_per_file"] < (os.cpu_count() or 1) * run["ms_per_file"]
        assert run["peak_memory_mb"] > 10
        assert "fsyncs" not in run  # whose time is taken is not counted
    many, few = told["runs"]
    ratio = many["ms_per_file"] / few["ms_per_file"]
    assert told["time_per_file_of_most_to_least_files"] == pytest.approx(ratio, rel=0.05)
    counted = told["run_with_fsyncs_counted"]
    assert counted["files"] == 10
    fsyncs = counted["fsyncs"]
    assert told["fsyncs_per_file"] == fsyncs["per_file"] > 0
    assert fsyncs["per_file"] == pytest.approx(
        (fsyncs["fsync"] + fsyncs["fdatasync"] + fsyncs["syncfs"]) / 10, abs=0.001
    )
    lone = told["lone_file"]
    assert lone["drops"] == 2 and lone["quiet_seconds"] == 0.5
    assert 500 <= lone["least_ms"] <= lone["median_ms"] <= lone["most_ms"]
    assert list(tmp_path.iterdir()) == []


def counted(root: LineRoot, counter: FsyncCounter) -> tuple[dict[str, int], float]:
    """What a daemon on the root calls, and how many seconds it takes."""
    before = counter.counts()
    with root.daemon("once", counter) as process:
        told = root.told(process)
    calls = counter.counts() - before
    return {"fsync": calls.fsync, "fdatasync": calls.fdatasync, "syncfs": calls.syncfs}, told["seconds"]


def filled(folder: Path, files: int) -> LineRoot:
    root = LineRoot(folder, 0)
    for number in range(files):
        root.drop(number)
    return root


@pytest.mark.slow
@needs_compiler
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_counts_are_those_of_strace(tmp_path: Path) -> None:
    ours, _ = counted(filled(tmp_path / "ours", 30), FsyncCounter(tmp_path))
    root = filled(tmp_path / "theirs", 30)
    command = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync,syncfs", "-o", str(tmp_path / "calls")]
    daemon = [sys.executable, "-P", "-m", "hotfolder.bench.line_daemon", str(root.layout.root), "once"]
    subprocess.run([*command, *daemon], check=True, capture_output=True)
    table = (tmp_path / "calls").read_text()
    theirs = dict.fromkeys(ours, 0)
    theirs |= {name: int(calls) for calls, name in re.findall(r"(\d+) +(fsync|fdatasync|syncfs)$", table, re.M)}
    assert min(theirs["fsync"], theirs["fdatasync"]) > 0
    assert ours == theirs


@pytest.mark.slow
@needs_compiler
def test_a_delay_delays_each_call_of_sqlite_too(tmp_path: Path) -> None:
    calls, quick = counted(filled(tmp_path / "quick", 5), FsyncCounter(tmp_path))
    again, slow = counted(filled(tmp_path / "slow", 5), FsyncCounter(tmp_path, 50))
    assert again == calls
    assert calls["fdatasync"] > 0
    assert slow >= 0.05 * sum(calls.values())
    # The folders of a batch are synced at the same time, so their delays are one; all others come one after another.
    assert slow > quick + 0.04 * (calls["fdatasync"] + calls["syncfs"] + 1)


@pytest.mark.slow
def test_without_a_compiler_it_measures_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    run_bench_line(tmp_path, files=[3], fsync_delay=0, lone=0, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["fsyncs_per_file"] is None
    assert "no-such-compiler" in told["fsyncs_not_counted"] and "apt install" in told["fsyncs_not_counted"]
    assert told["runs"][0]["files"] == 3
    with pytest.raises(HotfolderError, match="no-such-compiler") as caught:
        run_bench_line(tmp_path, files=[3], fsync_delay=5, lone=0, as_json=True)
    assert "apt install" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        run_bench_line(tmp_path / "none", files=[3], fsync_delay=0, lone=0, as_json=True)
    if os.geteuid() != 0:  # nothing is forbidden to root
        tmp_path.chmod(0o500)
        with pytest.raises(UsageError, match="cannot be used"):
            run_bench_line(tmp_path, files=[3], fsync_delay=0, lone=0, as_json=True)


@pytest.fixture
def worked(tmp_path: Path) -> LineRoot:
    root = filled(tmp_path / "root", 6)
    with root.daemon("once") as process:
        root.told(process)
    assert root.check(6) in range(7)
    return root


def test_a_file_that_is_missing_is_told(worked: LineRoot) -> None:
    next(path for path in worked.layout.root.glob("*/0000003.png")).unlink()
    with pytest.raises(HotfolderError, match=r"hold each file once.*; the database counts"):
        worked.check(6)


def test_a_file_that_was_changed_is_told(worked: LineRoot) -> None:
    next(path for path in worked.layout.root.glob("*/0000003.png")).write_bytes(picture(4))
    with pytest.raises(HotfolderError, match="was changed"):
        worked.check(6)


def test_a_file_that_was_not_worked_is_told(worked: LineRoot) -> None:
    worked.drop(6)
    with pytest.raises(HotfolderError, match="inbox"):
        worked.check(6)


@pytest.mark.slow
def test_a_score_that_is_missing_is_told(worked: LineRoot) -> None:
    (worked.layout.root / "keep" / "0000006.png").write_bytes(picture(6))
    with pytest.raises(HotfolderError, match="6 images with scores"):
        worked.check(7)
