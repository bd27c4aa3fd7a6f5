"""A file at which the daemon itself ends does not end it for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hotfolder.daemon.last_read import MOST_ENDS, LastRead
from hotfolder.errors import BadInput
from hotfolder.folders.layout import Layout
from hotfolder.types import Kind, Sighting
from tests.support.live import REPOSITORY
from tests.support.roots import check_consistent, daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor, always

#: A daemon that the kernel kills, as it were, when it reads a certain file: for its memory.
_RUNS = """
import os, signal, sys
from pathlib import Path
from hotfolder.folders.layout import Layout
from hotfolder.imaging import decode
from hotfolder.prompt_files import reading
from tests.support.roots import daemon
from tests.support.scripted import ScriptedExecutor, always

def killed(real, is_bomb):
    def call(first, *rest, **options):
        if is_bomb(first):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(first, *rest, **options)
    return call

reading.parse = killed(reading.parse, lambda name: name == "bomb.txt")
decode.size_of = killed(decode.size_of, lambda file: "bomb" in os.readlink(f"/proc/self/fd/{file.fileno()}"))
daemon(Layout(Path(sys.argv[1])), ScriptedExecutor(always(6.6))).run(once=True)
"""


def ends(layout: Layout) -> list[int]:
    """What daemons end with, until one ends well."""
    found: list[int] = []
    while (not found or found[-1]) and len(found) < 6:
        done = subprocess.run(
            [sys.executable, "-c", _RUNS, str(layout.root)], cwd=REPOSITORY, capture_output=True, check=False
        )
        found.append(done.returncode)
    return found


@pytest.mark.slow
def test_a_prompt_file_that_ends_the_daemon_twice_fails(layout: Layout) -> None:
    for name in ("a.txt", "bomb.txt", "z.txt"):
        (layout.inbox(Kind.GENERATE) / name).write_text(f"{name} --seed 7")
    picture(layout.inbox(Kind.SCORE) / "fine.png")
    assert ends(layout) == [-9] * MOST_ENDS + [0]
    assert files_in(layout, "failed", "archive", "inbox") == [
        "archive/a.txt", "archive/z.txt", "failed/bomb.txt", "failed/bomb.txt.error.json"
    ]  # fmt: skip
    told = json.loads((layout.root / "failed/bomb.txt.error.json").read_text())
    assert "2 daemons have ended" in told["message"]
    assert not layout.last_read.exists()
    check_consistent(layout)


@pytest.mark.slow
def test_a_result_that_ends_the_daemon_is_left_out_when_the_database_is_made_anew(layout: Layout) -> None:
    for number, name in enumerate(("a.png", "bomb.png", "z.png")):
        picture(layout.inbox(Kind.SCORE) / name, number)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    layout.database.unlink()
    assert ends(layout) == [-9] * MOST_ENDS + [0]
    assert rows(layout, "SELECT path FROM results ORDER BY path") == [("keep/a.png",), ("keep/z.png",)]
    assert len(files_in(layout, "keep")) == 3


def _sighting(path: str, size: int = 1) -> Sighting:
    return Sighting(path, size, 2, 3, 4)


_BEGUN = []


def _ended_at(note: Path, sighting: Sighting) -> None:
    """A daemon begins, reads a file, and is no more."""
    _BEGUN.append(LastRead(note).reading(sighting))
    _BEGUN[-1].__enter__()


def test_each_file_has_its_own_count(tmp_path: Path) -> None:
    note = tmp_path / "note"
    _ended_at(note, _sighting("a"))
    _ended_at(note, _sighting("b"))
    _ended_at(note, _sighting("b"))
    read = LastRead(note)
    with read.reading(_sighting("a")), pytest.raises(BadInput), read.reading(_sighting("b")):
        pass
    assert not note.exists()


def test_another_file_of_the_same_name_is_not_to_blame(tmp_path: Path) -> None:
    note = tmp_path / "note"
    _ended_at(note, _sighting("a"))
    _ended_at(note, _sighting("a"))
    with LastRead(note).reading(_sighting("a", size=2)):
        pass
    with pytest.raises(BadInput), LastRead(note).reading(_sighting("a")):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"now": 7, "ends": {}}', '{"ends": 7}', "[" * 100_000])
def test_a_note_that_cannot_be_read_does_not_count(tmp_path: Path, text: str) -> None:
    (tmp_path / "note").write_text(text)
    with LastRead(tmp_path / "note").reading(_sighting("a")):
        pass


def test_a_folder_that_takes_no_note_costs_nothing_but_the_note(tmp_path: Path) -> None:
    with LastRead(tmp_path / "none/note").reading(_sighting("a")):
        pass


def test_it_takes_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is not waited for, and there is one small file, however many are read."""
    for name in ("fsync", "fdatasync", "sync"):
        monkeypatch.setattr(os, name, lambda *_: pytest.fail("the disk is waited for"))
    read = LastRead(tmp_path / "note")
    for number in range(1000):
        with read.reading(_sighting(f"{number}")):
            (note,) = tmp_path.iterdir()
            assert note.stat().st_size < 200
    assert list(tmp_path.iterdir()) == []
