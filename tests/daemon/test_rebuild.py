"""A new database in the place of one that is damaged, gone or not the right one; and cuts in the middle of that."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hotfolder.daemon import rebuild
from hotfolder.errors import LedgerError
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import RootLock
from hotfolder.ledger import connection
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import Kind
from tests.support.roots import check_consistent, daemon, picture, rows
from tests.support.scripted import ScriptedExecutor, always

PATHS = "SELECT path FROM results ORDER BY path"


@pytest.fixture
def worked(layout: Layout) -> Layout:
    """A root with some results, after an orderly end."""
    for number in range(5):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    work(layout)
    return layout


def work(layout: Layout) -> None:
    """A daemon until nothing is left to do."""
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)


def leave_a_log(layout: Layout) -> bytes:
    """The log that a crash leaves: it holds a score of 1 for each image."""
    database, log, index = connection.files(layout.database)
    writer = sqlite3.connect(database)
    writer.execute("UPDATE images SET score = 1")
    writer.commit()
    copies = [(file, file.read_bytes()) for file in (database, log)]
    writer.close()
    index.unlink(missing_ok=True)
    for file, data in copies:
        file.write_bytes(data)
    return log.read_bytes()


def aside(layout: Layout, ending: str = "") -> list[Path]:
    return sorted(layout.root.glob(f"hotfolder.damaged-*.db{ending}"))


@pytest.mark.parametrize("how", ["fresh", "no tables"])
def test_a_database_that_knows_of_nothing_while_the_folders_hold_images(
    worked: Layout, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows(worked, PATHS)
    worked.database.unlink()
    if how == "fresh":
        Ledger.open(worked.database).close()
    else:
        with closing(sqlite3.connect(worked.database)) as writer:
            writer.execute("CREATE TABLE notes (text)")
            writer.commit()
    picture(worked.inbox(Kind.SCORE) / "new.png", 50)
    work(worked)
    assert "the folders hold some" in caplog.text
    assert rows(worked, PATHS) == [*before, ("keep/new.png",)]
    assert len(aside(worked)) == 1
    check_consistent(worked)
    work(worked)
    assert len(aside(worked)) == 1


def test_prompts_in_the_archive_are_no_images_that_are_missing(
    worked: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (worked.inbox(Kind.GENERATE) / "p.txt").write_text("a --seed 1")
    work(worked)
    assert (worked.root / "archive/p.txt").exists()
    (worked.root / "keep/notes.txt").write_text("of somebody")
    before = rows(worked, PATHS)
    worked.database.unlink()
    work(worked)
    assert rows(worked, PATHS) == before
    left_out = [record.message for record in caplog.records if "left out" in record.message]
    assert left_out == ["keep/notes.txt is left out: it is no image that can be read"]


def test_a_database_of_the_future_is_not_made_anew(worked: Layout) -> None:
    with closing(sqlite3.connect(worked.database)) as writer:
        for table in ("images", "drops"):
            writer.execute(f"ALTER TABLE {table} RENAME TO moon_of_{table}")
        writer.execute("INSERT INTO _sqlite_migrations VALUES (99, 'hotfolder', 'm999_moons', 'then')")
        writer.commit()
    before = worked.database.read_bytes()
    with pytest.raises(LedgerError, match="newer hotfolder"):
        work(worked)
    assert worked.database.read_bytes() == before


def test_a_new_root_is_not_made_anew(layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
    work(layout)
    picture(layout.inbox(Kind.SCORE) / "a.png")
    work(layout)
    assert "DAMAGED" not in caplog.text
    assert aside(layout) == []
    assert rows(layout, PATHS) == [("keep/a.png",)]


def test_a_new_root_whose_folders_hold_no_images_stays_as_it_is(layout: Layout) -> None:
    work(layout)
    (layout.root / "keep/notes.txt").write_text("no image")
    for _ in range(3):
        work(layout)
    assert aside(layout) == []
    assert [path.name for path in layout.root.glob("*.db")] == ["hotfolder.db"]


def test_an_old_log_beside_no_database_is_kept_and_not_read(worked: Layout) -> None:
    log = leave_a_log(worked)
    worked.database.unlink()
    work(worked)
    assert rows(worked, "SELECT count(*) FROM results WHERE score = 1") == [(0,)]
    assert rows(worked, "SELECT count(*) FROM results") == [(5,)]
    assert [file.read_bytes() for file in aside(worked, "-wal")] == [log]
    assert rows(worked, "PRAGMA integrity_check") == [("ok",)]


def test_an_old_log_in_a_new_root_is_kept_and_not_read(worked: Layout) -> None:
    log = leave_a_log(worked)
    worked.database.unlink()
    shutil.rmtree(worked.root / "keep")
    work(worked)
    assert rows(worked, "SELECT count(*) FROM results") == [(0,)]
    assert [file.read_bytes() for file in aside(worked, "-wal")] == [log]


def test_an_old_log_beside_a_backup_that_was_put_back(worked: Layout, tmp_path: Path) -> None:
    """The daemon was killed, and its database replaced before the next start."""
    other = Layout(tmp_path / "other")
    other.make()
    for number in range(200):
        picture(other.inbox(Kind.SCORE) / f"{number}.png", number)
    shutil.copyfile(worked.root / "hotfolder.toml", other.root / "hotfolder.toml")
    work(other)
    log = leave_a_log(worked)
    shutil.copyfile(other.database, worked.database)
    work(worked)
    assert rows(worked, "SELECT count(*) FROM results") == [(200,)]
    assert rows(worked, "PRAGMA integrity_check") == [("ok",)]
    assert [file.read_bytes() for file in aside(worked, "-wal")] == [log]


def damage_an_index(layout: Layout) -> None:
    data = layout.database.read_bytes()
    start = next(
        start for start in range(0, len(data), 4096)
        if data[start] == 10 and b"keep/3.png" in data[start : start + 4096]
    )  # fmt: skip
    layout.database.write_bytes(data[:start] + data[start:].replace(b"keep/3.png", b"keep/3.xxx", 1))


def test_a_damaged_index_is_mended_at_the_start_after_an_end_that_was_none(
    worked: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows(worked, "SELECT * FROM images NOT INDEXED")
    damage_an_index(worked)
    lock = RootLock(worked.lock)
    lock.acquire()
    lock.release(in_order=False)
    work(worked)
    assert "damaged indexes" in caplog.text
    assert rows(worked, "PRAGMA integrity_check") == [("ok",)]
    assert rows(worked, "SELECT * FROM images NOT INDEXED") == before
    assert aside(worked) == []


def test_an_index_that_cannot_be_read_costs_no_row(worked: Layout) -> None:
    before = rows(worked, "SELECT * FROM images NOT INDEXED"), rows(worked, "SELECT * FROM jobs NOT INDEXED")
    data = worked.database.read_bytes()
    start = next(
        start for start in range(0, len(data), 4096)
        if data[start] == 10 and b"keep/3.png" in data[start : start + 4096]
    )  # fmt: skip
    worked.database.write_bytes(data[:start] + bytes([7]) * 4096 + data[start + 4096 :])
    work(worked)
    after = rows(worked, "SELECT * FROM images NOT INDEXED"), rows(worked, "SELECT * FROM jobs NOT INDEXED")
    assert after == before
    assert len(aside(worked)) == 1
    assert rows(worked, "PRAGMA integrity_check") == [("ok",)]


class _Cut(BaseException):
    """The power, at this moment."""


def cut_before(patch: pytest.MonkeyPatch, step: int) -> list[str]:
    """The power is cut before the step of this number; gives the steps that were taken."""
    taken: list[str] = []

    def counted(owner: object, name: str) -> None:
        real: Callable[..., object] = getattr(owner, name)

        def instead(*args: object, **options: object) -> object:
            if any("hotfolder." in str(each) or owner is not Path for each in args):
                if len(taken) == step:
                    raise _Cut
                taken.append(name)
            return real(*args, **options)

        patch.setattr(owner, name, instead)

    for owner, name in (
        (Path, "rename"), (Path, "replace"), (Path, "unlink"), (rebuild, "fsync_folder"), (Ledger, "close"),
        (Beneath, "rename"), (rebuild, "rebuild"),
    ):  # fmt: skip
        counted(owner, name)
    return taken


@pytest.mark.slow
@pytest.mark.parametrize("what", ["damaged", "removed", "blank"])
def test_a_power_cut_at_each_step_of_making_a_new_database(
    worked: Layout, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(worked, PATHS)
    log = leave_a_log(worked)
    database, log_file, _ = connection.files(worked.database)
    if what == "damaged":
        database.write_bytes(b"no database" * 1000)
    else:
        database.unlink()
    if what == "blank":
        log_file.unlink()
        Ledger.open(database).close()
    was = database.read_bytes() if database.exists() else None
    waiting = picture(worked.root / ".hotfolder/unscored/x-s1.png", 7).read_bytes()
    whole = tmp_path / "whole"
    shutil.copytree(worked.root, whole)
    step = 0
    while True:
        shutil.rmtree(worked.root)
        shutil.copytree(whole, worked.root)
        with monkeypatch.context() as patch:
            taken = cut_before(patch, step)
            try:
                for _ in rebuild.open_or_rebuild(worked, thoroughly=False):
                    pass
            except _Cut:
                pass
        if len(taken) < step:
            break
        step += 1
        work(worked)
        assert rows(worked, PATHS) == [*before, ("keep/x-s1.png",)], taken
        assert (worked.root / "keep/x-s1.png").read_bytes() == waiting
        assert [path.name for path in worked.root.glob("*.db*") if "damaged" not in path.name] == ["hotfolder.db"]
        assert rows(worked, "PRAGMA integrity_check") == [("ok",)]
        assert rows(worked, "SELECT count(*) FROM results WHERE score = 1") == [(0,)]
        logs = aside(worked, "-wal")
        assert [file.read_bytes() for file in logs] == ([] if what == "blank" else [log]), taken
        assert [file.read_bytes() for file in aside(worked)] == ([] if was is None else [was]), taken
        if was is not None and logs:
            assert f"{aside(worked)[0]}-wal" == str(logs[0])  # still a pair
        check_consistent(worked)
    assert step > 6
