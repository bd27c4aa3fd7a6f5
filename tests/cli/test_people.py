"""Other users: who may look looks, who may not is told so in a sentence, and a shared folder keeps its group."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hotfolder.cli.app import app
from hotfolder.cli.doctor.folders import left_alone
from hotfolder.cli.why import explain
from hotfolder.config import loading
from hotfolder.config.root import FILE_NAME
from hotfolder.documents.status import gather
from hotfolder.folders import rights
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import RootLock, holder
from hotfolder.ledger import health
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.reader import Reader
from hotfolder.types import Kind
from tests import people
from tests.support.people import Person, in_child, only_root
from tests.support.roots import daemon, new_root, picture, rows
from tests.support.scripted import ScriptedExecutor, always

pytestmark = only_root
GROUP = 43210
OWNER = Person(43210, (43210, GROUP))
MEMBER, STRANGER = Person(43211, (43211, GROUP)), Person(43214, (43214,))


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that everybody may enter. Not pytest's own: another run of it would close that again."""
    with tempfile.TemporaryDirectory(prefix="hotfolder-people-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def layout(everybodys: Path) -> Layout:
    return new_root(everybodys)


def share(layout: Layout) -> None:
    """For the group to look at, and for nobody to write."""
    for path in (layout.root, *layout.root.rglob("*")):
        os.chown(path, -1, GROUP)
        path.chmod(0o2750 if path.is_dir() else path.stat().st_mode)


def killed(layout: Layout) -> None:
    """A database as `kill -9` leaves it: the newest row stands in its log alone."""
    script = """
import os, sys
from pathlib import Path
from hotfolder.ledger import health
from hotfolder.ledger.ledger import Ledger
ledger = Ledger.open(Path(sys.argv[1]))
ledger.database.write_back()
ledger.database.execute("INSERT INTO drops (kind, path, size, mtime_ns, inode, device, seen_at, created_at)"
                        " VALUES ('score', 'inbox/score/a.png', 1, 2, 3, 4, 5, 6)")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, str(layout.database)], check=True)
    for path in layout.root.glob("hotfolder.db*"):
        os.chown(path, -1, GROUP)
        path.chmod(0o640)


def drops(layout: Layout) -> Any:
    with Reader(layout.database) as reader:
        return [list(row) for row in reader.ask("SELECT path FROM drops")[1]]


@pytest.mark.parametrize("left", ["in order", "log and index", "log", "empty log"])
def test_a_member_of_the_group_reads_what_any_end_has_left(layout: Layout, left: str) -> None:
    Ledger.open(layout.database).close()
    if left != "in order":
        killed(layout)
    share(layout)
    layout.database.chmod(0o640)
    wal, index = (Path(f"{layout.database}-{name}") for name in ("wal", "shm"))
    if left == "log":
        index.unlink()
    elif left == "empty log":
        wal.write_bytes(b"")
        index.unlink()
    before = {path: path.read_bytes() for path in layout.root.glob("hotfolder.db*")}
    expected = [["inbox/score/a.png"]] if "log" in left and left != "empty log" else []
    assert in_child(MEMBER, lambda: drops(layout)) == expected
    assert in_child(STRANGER, lambda: drops(layout)).startswith(("ledger: ", "unexpected PermissionError"))
    assert {path: path.read_bytes() for path in before if not path.name.endswith("-shm")} == {
        path: data for path, data in before.items() if not path.name.endswith("-shm")
    }


@pytest.mark.parametrize("left", ["nothing", "of a look", "index of a look"])
def test_a_look_of_the_group_keeps_nobody_from_writing(everybodys: Path, left: str) -> None:
    """SQLite makes files beside the database for who reads it, too: they would be the reader's."""
    os.chown(everybodys, OWNER.uid, GROUP)
    layout = Layout(everybodys / "root")

    def make() -> None:
        new_root(everybodys)
        Ledger.open(layout.database).close()

    def take() -> list[str]:
        picture(layout.inbox(Kind.SCORE) / "a.png")
        daemon(layout, ScriptedExecutor(always(6.6)), OUTPUT__UMASK="002").run(once=True)
        return drops(layout)

    assert in_child(OWNER, make) is None
    for path in (layout.root, *layout.root.rglob("*")):
        os.chown(path, -1, GROUP)
        path.chmod(0o2770 if path.is_dir() else 0o640)  # the group may make files there
    assert in_child(MEMBER, lambda: [drops(layout), health.problem(layout.database)]) == [[], None]
    assert sorted(layout.root.glob("hotfolder.db*")) == [layout.database]
    for name in {"nothing": [], "of a look": ["wal", "shm"], "index of a look": ["shm"]}[left]:
        file = Path(f"{layout.database}-{name}")
        file.write_bytes(b"" if name == "wal" else bytes(32768))
        os.chown(file, MEMBER.uid, GROUP)
        file.chmod(0o644)
    assert in_child(OWNER, take) == [["inbox/score/a.png"]]


def test_whether_a_daemon_runs_is_known_or_said_not_to_be(layout: Layout) -> None:
    share(layout)
    lock = RootLock(layout.lock)
    lock.acquire()
    layout.lock.chmod(0o640)
    os.chown(layout.lock, -1, GROUP)
    assert in_child(MEMBER, lambda: holder(layout.lock)) == os.getpid()
    told = in_child(MEMBER, lambda: RootLock(layout.lock).acquire())
    assert told.startswith(f"usage: {layout.root} is worked by root: its lock")
    layout.lock.chmod(0o600)
    assert "nobody knows whether a daemon runs" in in_child(MEMBER, lambda: holder(layout.lock))
    lock.release()
    # A start makes it readable for those who may read the database.
    daemon(layout, ScriptedExecutor(always(6.6)), OUTPUT__UMASK="027").run(once=True)
    assert in_child(MEMBER, lambda: gather(layout)["daemon"]["running"]) is False


def test_a_root_that_may_not_be_read_is_told_of_as_any_other_trouble(layout: Layout) -> None:
    """By the program itself, and not by the parser of its command line: for a check, and as JSON."""

    def ask(*words: str) -> tuple[int, str]:
        told = CliRunner().invoke(app, [*words, "--root", str(layout.root)])
        return told.exit_code, told.stdout or repr(told.exception)

    Ledger.open(layout.database).close()
    layout.database.chmod(0o644)
    layout.root.chmod(0o700)
    code, said = in_child(STRANGER, lambda: ask("status", "--check"))
    assert code == 3 and said.startswith("HOTFOLDER UNKNOWN: ") and "cannot be looked into" in said
    code, said = in_child(STRANGER, lambda: ask("status", "--json"))
    assert "UsageError" in said and "cannot be looked into" in said
    layout.root.chmod(0o711)  # to enter its folders is enough
    layout.lock.touch()
    assert in_child(STRANGER, lambda: ask("status", "--check"))[0] == 2  # no daemon runs


@pytest.fixture
def owners_process() -> Iterator[int]:
    """The pid of a process of the owner's."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups(OWNER.groups)
        os.setresgid(OWNER.groups[0], OWNER.groups[0], OWNER.groups[0])
        os.setresuid(OWNER.uid, OWNER.uid, OWNER.uid)
        os.write(writer, b"x")
        while True:
            signal.pause()
    os.read(reader, 1)
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


def test_why_tells_what_the_daemons_user_may_do_not_who_asks(
    layout: Layout, owners_process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asks in ("why", "doctor.folders"):
        monkeypatch.setattr(f"hotfolder.cli.{asks}.holder", lambda _: owners_process)
    assert (
        rights.of_other_daemon(layout, owners_process) is None
    )  # the kernel does not know it so: it may be of another machine
    monkeypatch.setattr(rights, "is_held_by", lambda *_: True)
    lock = RootLock(layout.lock)
    lock.acquire()
    share(layout)
    inbox = layout.inbox(Kind.SCORE)
    for folder, mode in {"closed": 0o700, "kept": 0o2750, "open": 0o2770}.items():
        picture(inbox / folder / "a.png")
        os.chown(inbox / folder, MEMBER.uid, GROUP)
        (inbox / folder).chmod(mode)
    os.chown(inbox, OWNER.uid, GROUP)
    for file in (layout.lock, layout.root / FILE_NAME):
        file.chmod(0o640)

    def told() -> list[tuple[str, str]]:
        answers = (explain(layout, inbox / folder / "a.png") for folder in ("closed", "kept", "open"))
        return [(answer["reason"], answer["fix"]) for answer in answers]

    of_root = told()
    assert of_root[0] == (
        "its folder inbox/score/closed may not be read by user 43210, who runs the daemon",
        "let user 43210 read and write it: chown it, or chmod it for a group",
    )
    assert of_root[1][0] == (
        "its folder may not be written by user 43210, who runs the daemon, so it could not be moved"
    )
    assert "may not" not in of_root[2][0]
    assert in_child(MEMBER, told)[:2] == [list(each) for each in of_root[:2]]
    for path, mode in {"private.png": 0o600, "shared.png": 0o640}.items():
        picture(inbox / path)
        os.chown(inbox / path, MEMBER.uid, GROUP)
        (inbox / path).chmod(mode)
        os.utime(inbox / path, (0, 0))
    reasons = [explain(layout, inbox / name)["reason"] for name in ("private.png", "shared.png")]
    assert reasons == [
        "it may not be read by user 43210, who runs the daemon",
        "it is complete; the daemon takes it within moments",
    ]
    os.chown(inbox / "shared.png", OWNER.uid, OWNER.groups[0])
    (inbox / "shared.png").chmod(0o600)
    assert in_child(MEMBER, lambda: explain(layout, inbox / "shared.png")["reason"]) == reasons[1]
    lock.release()  # nobody runs it: who asks may do nothing, and need not
    monkeypatch.setattr("hotfolder.cli.why.holder", lambda _: None)
    inbox.chmod(0o2750)
    picture(inbox / "b.png")
    said = in_child(MEMBER, lambda: explain(layout, inbox / "b.png")["reason"])
    assert said == "no daemon runs on this root"
    warned = [f"{check.message} {check.fix}" for check in left_alone(layout, loading.load(layout.root, {}))]
    assert any("may not be read by user 43210" in each for each in warned)


def test_what_is_made_in_a_shared_folder_is_its_groups(layout: Layout) -> None:
    for name in ("keep", "upscaled"):
        os.chown(layout.root / name, -1, GROUP)
        (layout.root / name).chmod(0o2775)
    (layout.inbox(Kind.GENERATE) / "sub").mkdir()
    (layout.inbox(Kind.GENERATE) / "sub/p.txt").write_text("a --seed 1")
    dropped = picture(layout.inbox(Kind.SCORE) / "mine.png")
    os.chown(dropped, -1, 54321)
    daemon(layout, ScriptedExecutor(always(9.0)), OUTPUT__RATING="in-place").run(once=True)
    made = [path for (path,) in rows(layout, "SELECT path FROM results WHERE role != 'dropped'")]
    assert len(made) == 3
    groups = {path: (layout.root / path).stat().st_gid for path in made}
    assert set(groups.values()) == {GROUP}, groups
    # What was dropped is its owner's, and stays as it was.
    (mine,) = [path for (path,) in rows(layout, "SELECT path FROM results WHERE role = 'dropped'")]
    assert (layout.root / mine).stat().st_gid == 54321


def test_a_group_that_one_is_not_in_stops_nothing(everybodys: Path) -> None:
    from hotfolder.files.beneath import Beneath

    root = everybodys / "root"
    for folder in (root / ".hotfolder", root / "keep"):
        folder.mkdir(parents=True)
        os.chown(folder, STRANGER.uid, GROUP)
        folder.chmod(0o2777)

    def move() -> int:
        (root / ".hotfolder/a.png").write_bytes(b"x")
        os.chown(root / ".hotfolder/a.png", -1, STRANGER.groups[0])
        with Beneath(root) as beneath:
            beneath.take_group(".hotfolder/a.png", "keep/a.png")
            beneath.rename(".hotfolder/a.png", "keep/a.png")
        return (root / "keep/a.png").stat().st_gid

    assert in_child(STRANGER, move) == STRANGER.groups[0]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs util-linux")
@pytest.mark.parametrize("name", people.PEOPLE)
def test_thirty_commands_of_anybody_end_with_a_sentence_and_change_no_other_root(
    name: str, everybodys: Path
) -> None:
    """From two folders; `python -m tests.people` does it from eight, and with models."""
    root = people.prepare(everybodys)
    before = people.fingerprint(root)
    lines = dict.fromkeys(("a folder like a root", "gone"), people.LIGHT)
    results = people.trial(name, everybodys, root, lines)
    assert len(results) == 2 * len(people.LIGHT)
    assert list(people.complaints(results, root)) == []
    assert people.fingerprint(root) == before
