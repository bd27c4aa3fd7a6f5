"""What the daemon meets about one file is that file's trouble: it never ends the daemon, nor stops the others."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hotfolder.daemon import completion, ratings
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import Layout
from hotfolder.routing.router import Router
from hotfolder.status import mailbox
from hotfolder.types import Kind
from tests.support.live import REPOSITORY, wait_for
from tests.support.roots import check_consistent, daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor, always

PASSING = [errno.EIO, errno.EMFILE]


@contextlib.contextmanager
def running(layout: Layout, **overrides: str) -> Iterator[threading.Thread]:
    """A daemon at work, which is still at work at the end."""
    line = daemon(layout, ScriptedExecutor(always(6.6)), **{"WATCH__RESCAN_SECONDS": "0.2", **overrides})
    thread = threading.Thread(target=line.run)
    thread.start()
    try:
        yield thread
        assert thread.is_alive()
    finally:
        line.stop()
        thread.join()


def failing(code: int, when: Callable[..., bool], times: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which fails so many times when it is called with such arguments."""
    left = [times]

    def call(*args: Any, **options: Any) -> Any:
        if left[0] > 0 and when(*args):
            left[0] -= 1
            raise OSError(code, os.strerror(code), str(args[0]))
        return real(*args, **options)

    return call


@pytest.mark.parametrize("code", PASSING)
@pytest.mark.parametrize("name", ["p.txt", "p.toml", "p.png"])
def test_a_prompt_that_cannot_be_read_just_now_waits_alone(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, code: int, name: str
) -> None:
    """Not the prompt's fault: it is tried again, and its neighbours are not kept waiting."""
    path = picture(layout.inbox(Kind.GENERATE) / name)
    if name != "p.png":
        path.write_text("prompt = 'a cat'" if name.endswith("toml") else "a cat")
    (layout.inbox(Kind.GENERATE) / "q.txt").write_text("a dog --seed 7")
    real = Beneath.open
    reads = failing(code, lambda _, path: path.endswith(name) and _reads_prompts(), 3, real)
    monkeypatch.setattr(Beneath, "open", lambda self, path: reads(self, path))
    with running(layout):
        wait_for(lambda: files_in(layout, "keep") != [], 60, "the other one is made")
        end = "failed" if name == "p.png" else "archive"  # which says nothing of how it was made
        wait_for(lambda: (layout.root / end / name).exists(), 60, "it is read at last")
    check_consistent(layout)


def _reads_prompts() -> bool:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "read_specs":
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def test_a_prompt_that_may_not_be_read_fails(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat")
    reads = failing(errno.EACCES, lambda _, path: path.endswith("p.txt") and _reads_prompts(), 9, Beneath.open)
    monkeypatch.setattr(Beneath, "open", lambda self, path: reads(self, path))
    assert daemon(layout, ScriptedExecutor(always(6.6))).run(once=True).failed == 1
    assert files_in(layout, "failed") == ["failed/p.txt", "failed/p.txt.error.json"]


@pytest.mark.parametrize("code", PASSING)
def test_a_run_that_ends_does_not_wait_for_what_cannot_be_read(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat")
    reads = failing(code, lambda _, path: path.endswith("p.txt") and _reads_prompts(), 10**9, Beneath.open)
    monkeypatch.setattr(Beneath, "open", lambda self, path: reads(self, path))
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.held, report.failed, report.paused) == (1, 0, None)
    assert files_in(layout, "inbox") == ["inbox/generate/p.txt"]


@pytest.mark.parametrize(
    ("what", "code"),
    [("listing", errno.EACCES), ("listing", errno.EIO), ("listing", errno.ESTALE), ("reading", errno.EMFILE)],
)
def test_commands_that_cannot_be_read_just_now_are_not_lost(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, what: str, code: int
) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat --stesp")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    (job,) = rows(layout, "SELECT id FROM jobs")
    if what == "listing":
        lists = failing(code, lambda path, _: path == layout.control, 3, Path.glob)
        monkeypatch.setattr(Path, "glob", lambda self, pattern: lists(self, pattern))
    else:
        reads = failing(code, lambda _: True, 3, mailbox.open_regular)
        monkeypatch.setattr(mailbox, "open_regular", reads)
    command = mailbox.ask(layout, {"do": "retry", "jobs": [job[0]]})
    picture(layout.inbox(Kind.SCORE) / "a.png")
    with running(layout):
        wait_for(lambda: (layout.root / "keep/a.png").exists(), 60, "work goes on")
        wait_for(lambda: not command.exists(), 60, "the command is carried out")
    assert files_in(layout, ".hotfolder/control") == [f".hotfolder/control/{command.stem}.answer"]


def test_a_command_that_breaks_is_answered_and_not_met_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise AssertionError("a mistake of ours")

    monkeypatch.setattr(completion.Completion, "retry", breaks)
    command = mailbox.ask(layout, {"do": "retry", "jobs": [1]})
    picture(layout.inbox(Kind.SCORE) / "a.png")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "keep") == ["keep/a.png"]
    answer = mailbox.answer_to(command, 1)
    assert answer is not None
    assert "a mistake of ours" in answer["error"]


def test_an_outcome_that_cannot_be_recorded_fails_its_job_alone(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Router.scored

    def scored(self: Router, job: Any, *args: Any) -> Any:
        if "odd" in job.source:
            raise ValueError("a mistake of ours")
        return real(self, job, *args)

    monkeypatch.setattr(Router, "scored", scored)
    for number, name in enumerate(("a.png", "odd.png", "z.png")):
        picture(layout.inbox(Kind.SCORE) / name, number)
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert report.paused is None
    assert files_in(layout, "inbox", "keep", "failed") == [
        "failed/odd.png",
        "failed/odd.png.error.json",
        "keep/a.png",
        "keep/z.png",
    ]
    assert "a mistake of ours" in json.loads((layout.root / "failed/odd.png.error.json").read_text())["message"]
    check_consistent(layout)


@pytest.mark.parametrize("mode", ["sidecar", "in-place"])
@pytest.mark.parametrize("how", ["private", "breaks"])
def test_an_image_that_cannot_be_rated_stops_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, mode: str, how: str
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "keep/private/a.png")

    def breaks(*_: object) -> None:
        raise RecursionError("a mistake of ours")

    monkeypatch.setattr(Beneath, "write", forbidden)
    monkeypatch.setattr(Beneath, "replace", forbidden)
    if how == "breaks":
        monkeypatch.setattr(ratings.xmp, "rated", breaks)
    picture(layout.inbox(Kind.SCORE) / "private/a.png")
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat --seed 1")
    report = daemon(layout, ScriptedExecutor(always(6.6)), OUTPUT__RATING=mode).run(once=True)
    assert report.paused is None
    assert sorted(Path(path).name for path in files_in(layout, "keep")) == ["a.png", "p-s1.png"]


def test_trouble_that_no_part_expects_pauses_and_passes(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture(layout.inbox(Kind.SCORE) / "a.png")
    work = failing(errno.EMFILE, lambda *_: True, 3, ratings.Ratings.work)
    monkeypatch.setattr(ratings.Ratings, "work", lambda self, mode: work(self, mode))
    with running(layout):
        wait_for(lambda: not path.exists(), 60, "it goes on")


@pytest.mark.parametrize(
    "text", ['{"prompt": "\\ud800", "seed": 1}', '{"prompt": "a", "seed": 1, "x": "\\udfff"}']
)
def test_no_result_keeps_the_database_from_being_made_anew(layout: Layout, text: str) -> None:
    """What it says of itself, a format that says nothing, a place that cannot be read: the others get their rows."""
    picture(layout.inbox(Kind.SCORE) / "fine.png")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    from PIL import Image, PngImagePlugin

    said = PngImagePlugin.PngInfo()
    said.add_text("hotfolder", text)
    Image.new("RGB", (8, 8)).save(layout.root / "keep/odd.png", pnginfo=said)
    Image.new("RGB", (8, 8)).save(layout.root / "keep/says-nothing.tif")
    with (layout.root / "keep/hole.webp").open("wb") as file:
        file.write(b"RIFF\x00\x00\x00\x40WEBPVP8X\x0a\0\0\0" + bytes(10))
        file.truncate(600 * 2**20)
    layout.database.unlink()
    assert daemon(layout, ScriptedExecutor(always(6.6))).run(once=True).paused is None
    found = [path for (path,) in rows(layout, "SELECT path FROM results ORDER BY path")]
    assert found == ["keep/fine.png", "keep/odd.png", "keep/says-nothing.tif"]


@pytest.mark.parametrize("name", ["x" * 240 + ".txt", "a.txt"])
def test_paths_as_long_as_paths_can_be(layout: Layout, name: str) -> None:
    """What the report, or a number, would make too long costs neither the file nor the daemon."""
    for left in range(0, 60, 6):
        room = 4095 - len(str(layout.inbox(Kind.GENERATE))) - len(name) - 1 - left
        folder = layout.inbox(Kind.GENERATE)
        handle = os.open(folder, os.O_RDONLY)
        while room > 1:
            part = ("d" * min(200, room - 1))[: room - 1]
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=handle)
            below = os.open(part, os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle, room = below, room - len(part) - 1
        with open(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=handle), "w") as file:  # noqa: PTH123
            file.write("a cat --stesp 4")
        os.close(handle)
    picture(layout.inbox(Kind.SCORE) / "fine.png")
    with running(layout):
        wait_for(lambda: (layout.root / "keep/fine.png").exists(), 60, "work goes on")
        wait_for(
            lambda: rows(layout, "SELECT count(*) FROM drops WHERE state != 'open'")[0][0] >= 9, 60, "they fail"
        )


_RUNS = """
import sys
from pathlib import Path
from hotfolder.folders.layout import Layout
from tests.support.roots import daemon
from tests.support.scripted import ScriptedExecutor, always
report = daemon(Layout(Path(sys.argv[1])), ScriptedExecutor(always(6.6)), OUTPUT__RATING="sidecar").run(once=True)
print(report.done, report.failed, report.unplaced, report.paused)
"""
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2


def _without_privilege() -> None:
    """From the next program on, permissions hold for root, too."""
    prctl = ctypes.CDLL(None).prctl
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.mark.parametrize("rebuilt", [False, True])
def test_folders_that_nobody_may_look_into(layout: Layout, rebuilt: bool) -> None:
    picture(layout.root / "keep/private/old.png", 5)
    picture(layout.root / "keep/old.png", 6)
    if not rebuilt:
        daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
        assert layout.database.exists()
    picture(layout.inbox(Kind.SCORE) / "secret/a.png", 1)
    picture(layout.inbox(Kind.SCORE) / "private/b.png", 2)
    picture(layout.inbox(Kind.SCORE) / "c.png", 3)
    shut = [layout.root / "keep/private", layout.inbox(Kind.SCORE) / "secret"]
    for folder in shut:
        folder.chmod(0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RUNS, str(layout.root)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            preexec_fn=_without_privilege,
        )
    finally:
        for folder in shut:
            folder.chmod(0o755)
    assert (done.returncode, done.stdout.split()) == (0, ["1", "0", "1", "None"]), done.stderr[-3000:]
    assert "keep/c.png" in files_in(layout, "keep")
    assert files_in(layout, "inbox") == ["inbox/score/private/b.png", "inbox/score/secret/a.png"]
