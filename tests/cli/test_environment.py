"""Odd machines: a user without a home, another locale, a disk that takes nothing. A sentence each, no traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.home import user_folder
from hotfolder.types import Kind
from tests.faults.disks import mounted, run
from tests.support import forks
from tests.support.roots import daemon, picture
from tests.support.scripted import ScriptedExecutor, always

pytestmark = pytest.mark.slow


def hotfolder(*arguments: str, program: tuple[str, ...] = (), **environ: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of a command in this environment and no other; Python starts for a program."""
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    env = {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environ}
    if program:
        command = [sys.executable, *program, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=env, timeout=240, cwd="/"
        )
    else:
        done = forks.run("hotfolder", *arguments, env=env, cwd=Path("/"))
    assert "Traceback" not in done.stderr, f"{arguments}: {done.stderr}"
    return done.returncode, done.stdout, done.stderr


#: `python -m hotfolder` for a user whom the list of users does not know.
_NOBODY = """
import os, pwd, sys
def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = unknown
from hotfolder.cli import main
main()
"""


@pytest.mark.parametrize("command", ["init", "run", "status", "top", "retry --all", "service install"])
def test_without_a_home_a_root_has_to_be_named(command: str) -> None:
    code, _, told = hotfolder(*command.split(), program=("-c", _NOBODY))
    assert (code, told.splitlines()[0]) == (2, "error: this user has no home folder: $HOME is not set")


def test_without_a_home_the_rest_works(layout: Layout, tmp_path: Path) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a red circle --seed 1")
    root = ("--root", str(layout.root))
    assert hotfolder("run", "--once", *root, program=("-c", _NOBODY))[0] == 0
    for command in ("status", "models list", "doctor"):
        assert hotfolder(*command.split(), *root, program=("-c", _NOBODY))[0] == 0, command
    assert hotfolder("service", "status", program=("-c", _NOBODY))[0] == 1
    assert user_folder("X", "y", "/z", {"X": str(tmp_path)}) == tmp_path


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", ""])
def test_names_are_utf8_in_every_locale(layout: Layout, encoding: str) -> None:
    name = "пик – ü"
    picture(layout.inbox(Kind.SCORE) / f"{name}.png")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    program = ("-m", "hotfolder")
    odd = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": encoding}
    shown = name.encode(encoding or "utf-8", "backslashreplace").decode("utf-8", "replace")
    for command in ("top", "export --csv", "query 'SELECT path FROM results'", f"show 'keep/{name}.png'"):
        words = [*shlex.split(command), "--root", str(layout.root)]
        code, told, error = hotfolder(*words, program=program, **odd)
        assert code == 0, error
        assert f"keep/{shown}.png" in told
    code, told, _ = hotfolder("score", str(layout.root / f"keep/{name}.png"), program=program, **odd)
    assert (code, shown in told) == (0, True)
    code, _, told = hotfolder("why", "/nowhere/ü", "--root", str(layout.root), program=program, **odd)
    assert code == 2


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    there = tmp_path / "x"
    script = f"mkdir {there}; cd {there}; rmdir {there}; exec {sys.executable} -m hotfolder status --root r"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=env, timeout=240)
    assert (done.returncode, "is not there any more" in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&- <&-", "| head -c 1", "> /dev/full", "2> /dev/full"])
def test_streams_that_are_closed_or_full_are_no_traceback(layout: Layout, streams: str) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for command in ("status", "models list"):
        script = f"exec 9>&2; {sys.executable} -m hotfolder {command} --root {layout.root} {streams}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, timeout=240)
        assert done.returncode == (1 if streams == "> /dev/full" else 0), done
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
    if streams == "> /dev/full":  # nor where the error would be told there
        script = f"{sys.executable} -m hotfolder status --json --root {layout.root} {streams}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, timeout=60)
        assert (done.returncode, done.stderr.startswith("error: no space left")) == (1, True), done.stderr
    # What is opened does not get the number of a stream, so that nothing is written to it.
    assert layout.database.exists() is False


def test_a_root_that_may_only_be_read_is_shown_and_not_worked(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as disk:
        root = str(disk / "root")
        assert hotfolder("init", root)[0] == 0
        picture(Layout(disk / "root").inbox(Kind.SCORE) / "a.png")
        daemon(Layout(disk / "root"), ScriptedExecutor(always(6.6)), OUTPUT__MIN_FREE_MB="0").run(once=True)
        assert run("mount", "-o", "remount,ro", str(disk))
        for command in ("status", "top", "stats", "export", "show keep/a.png"):
            code, told, error = hotfolder(*command.split(), "--root", root)
            assert code == 0, error
        assert "keep/a.png" in hotfolder("top", "--root", root)[1]
        code, _, told = hotfolder("run", "--once", "--root", root)
        assert (code, told.count("\n")) == (1, 2)
        assert "Read-only file system" in told
        code, told, _ = hotfolder("doctor", "--root", root)
        assert code == 1
        assert "mount it writable" in told
        assert hotfolder("init", f"{root}/other")[0] == 2


@pytest.mark.parametrize("left", range(6))
def test_a_disk_that_takes_no_more_files_is_said(tmp_path: Path, left: int) -> None:
    """Commands that only look work as long as there is something to look at; a start ends with a sentence."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "nr_inodes=60", "tmpfs") as disk:
        root = str(disk / "root")
        assert hotfolder("init", root)[0] == 0
        fill(disk, left)
        environ = {"HOTFOLDER_OUTPUT__MIN_FREE_MB": "0"}
        for command in ("run --once", "status", "top", "stats", "resume", "backup /nowhere/x"):
            code, _, told = hotfolder(*command.split(), "--root", root, **environ)
            assert code in (0, 1, 2), command
            assert code == 0 or told.splitlines()[-2].startswith("error: "), told
        if left == 0:
            assert "no space left for" in hotfolder("run", "--once", "--root", root, **environ)[2]
            assert "out of inodes" in hotfolder("doctor", "--root", root, **environ)[1]
            assert hotfolder("init", f"{root}/other")[0] == 1
        for path in disk.glob("fill*"):
            path.unlink()
        assert hotfolder("run", "--once", "--root", root, **environ)[0] == 0


def fill(disk: Path, left: int) -> None:
    for number in range(100):
        try:
            (disk / f"fill{number}").touch()
        except OSError:
            break
    for number in range(left):
        (disk / f"fill{number}").unlink()


@pytest.mark.parametrize("left", [0, 4, 12, 80, 200])
def test_a_disk_that_is_full_at_the_first_start_is_said(tmp_path: Path, left: int) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1500k", "tmpfs") as disk:
        root = str(disk / "root")
        assert hotfolder("init", root)[0] == 0
        with (disk / "fill").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                file.truncate(file.tell() - left * 1024)
        environ = {"HOTFOLDER_OUTPUT__MIN_FREE_MB": "0"}
        for command in ("run --once", "status", "stats"):
            code, _, told = hotfolder(*command.split(), "--root", root, **environ)
            assert code in (0, 1), command
            assert code == 0 or told.splitlines()[-2].startswith("error: "), told
        (disk / "fill").unlink()
        assert hotfolder("run", "--once", "--root", root, **environ)[0] == 0
