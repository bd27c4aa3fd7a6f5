"""A daemon whose database is damaged, or is not what lies in the root any more: it ends, and nothing is lost."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.ledger import connection
from hotfolder.types import Kind
from tests.faults.disks import mounted, run
from tests.support.live import LiveDaemon, wait_for
from tests.support.roots import new_root, rows

pytestmark = pytest.mark.slow

#: By polling: the next look comes soon also after one that the machine has held up.
OFTEN = {"HOTFOLDER_WATCH__MODE": "polling", "HOTFOLDER_WATCH__POLL_SECONDS": "0.3"}
DROPS = "SELECT path FROM drops ORDER BY id"


def make_a_row(layout: Layout, name: str) -> None:
    """A drop, and a job that fails without a worker; committed, and only in the log."""
    (layout.inbox(Kind.GENERATE) / name).write_text("a cat --stesp 4")
    wait_for((layout.root / "failed" / name).exists, 30, f"{name} has failed")


def sentence_of(line: LiveDaemon) -> str:
    """What it ended with, by itself."""
    assert line.process.wait(120) == 1, line.text()
    assert "Traceback" not in line.text()
    (told,) = [text for text in line.text().splitlines() if text.startswith("error: ")]
    return told.removeprefix("error: ")


def once(layout: Layout) -> str:
    """The next start, until nothing is left to do; its log."""
    with LiveDaemon(layout, "--once") as line:
        assert line.process.wait(240) in (0, 3), line.text()
        return line.text()


def check_whole(layout: Layout) -> None:
    assert rows(layout, "PRAGMA integrity_check") == [("ok",)]


def test_the_log_is_removed_while_the_daemon_runs(layout: Layout) -> None:
    with LiveDaemon(layout, **OFTEN) as line:
        line.watching()
        make_a_row(layout, "a.txt")
        connection.files(layout.database)[1].unlink()
        assert "hotfolder.db-wal" in sentence_of(line)
    assert rows(layout, DROPS) == [("inbox/generate/a.txt",)]  # it was in the log alone
    once(layout)
    assert rows(layout, DROPS) == [("inbox/generate/a.txt",)]
    check_whole(layout)


def test_the_database_is_removed_while_the_daemon_runs(layout: Layout) -> None:
    with LiveDaemon(layout, **OFTEN) as line:
        line.watching()
        make_a_row(layout, "a.txt")
        database, log, _ = connection.files(layout.database)
        was = log.read_bytes()
        database.unlink()
        assert "removed or replaced" in sentence_of(line)
    assert log.read_bytes().startswith(was)
    (layout.inbox(Kind.GENERATE) / "b.txt").write_text("a dog --stesp 4")
    once(layout)
    assert rows(layout, DROPS) == [("inbox/generate/b.txt",)]
    (aside,) = layout.root.glob("hotfolder.damaged-*.db-wal")
    assert aside.read_bytes().startswith(was)
    check_whole(layout)


def test_a_backup_is_put_in_the_place_of_the_database_while_the_daemon_runs(
    layout: Layout, tmp_path: Path
) -> None:
    with LiveDaemon(layout, **OFTEN) as line:
        line.watching()
        make_a_row(layout, "old.txt")
        line.stop()
    backup = tmp_path / "backup.db"
    shutil.copyfile(layout.database, backup)
    with LiveDaemon(layout, **OFTEN) as line:
        line.watching()
        make_a_row(layout, "new.txt")
        was = connection.files(layout.database)[1].read_bytes()
        shutil.copyfile(backup, layout.root / "copy.db")
        (layout.root / "copy.db").rename(layout.database)
        assert "removed or replaced" in sentence_of(line)
    assert layout.database.read_bytes() == backup.read_bytes()
    assert rows(layout, DROPS) == [("inbox/generate/old.txt",)]
    once(layout)
    assert rows(layout, DROPS) == [("inbox/generate/old.txt",)]
    (aside,) = layout.root.glob("hotfolder.damaged-*.db-wal")
    assert aside.read_bytes().startswith(was)
    check_whole(layout)


def test_the_lock_is_removed_while_the_daemon_runs(layout: Layout) -> None:
    with LiveDaemon(layout, **OFTEN) as line:
        line.watching()
        make_a_row(layout, "a.txt")
        layout.lock.unlink()
        assert ".hotfolder/lock" in sentence_of(line)
    once(layout)
    assert rows(layout, DROPS) == [("inbox/generate/a.txt",)]


def test_a_database_that_is_overwritten_while_the_daemon_runs(layout: Layout) -> None:
    with LiveDaemon(layout, **OFTEN) as line:
        line.watching()
        make_a_row(layout, "a.txt")
        line.stop()
    with LiveDaemon(layout, **OFTEN) as line:
        line.watching()
        with layout.database.open("r+b") as file:
            file.write(b"no database at all\n" * 40_000)
        (layout.inbox(Kind.GENERATE) / "b.txt").write_text("a dog --stesp 4")
        assert "the database is damaged" in sentence_of(line)
    assert "THE DATABASE IS DAMAGED" in once(layout)
    assert rows(layout, DROPS) == [("inbox/generate/b.txt",)]
    check_whole(layout)


def test_an_index_that_turns_out_to_be_damaged_while_the_daemon_runs(layout: Layout) -> None:
    with LiveDaemon(layout, **OFTEN) as line:
        line.watching()
        make_a_row(layout, "a.txt")
        line.stop()
    with closing(sqlite3.connect(layout.database)) as writer:  # the index names an open drop that no row has
        writer.execute(
            "INSERT INTO drops (id, kind, path, size, mtime_ns, inode, device, seen_at, created_at) "
            "VALUES (99, 'generate', 'inbox/generate/b.txt', 1, 1, 1, 1, 1, 1)"
        )
        writer.commit()
        kept = writer.execute("SELECT * FROM sqlite_schema WHERE name = 'drops_open'").fetchone()
        writer.execute("PRAGMA writable_schema = ON")
        writer.execute("DELETE FROM sqlite_schema WHERE name = 'drops_open'")
        writer.commit()
    with closing(sqlite3.connect(layout.database)) as writer:
        writer.execute("DELETE FROM drops WHERE id = 99")
        writer.execute("PRAGMA writable_schema = ON")
        writer.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", kept)
        writer.commit()
    (layout.inbox(Kind.GENERATE) / "b.txt").write_text("a dog --stesp 4")
    with LiveDaemon(layout, **OFTEN) as line:
        assert sentence_of(line).startswith("the database is ")
    assert "damaged indexes" in once(layout)
    assert rows(layout, DROPS) == [("inbox/generate/a.txt",), ("inbox/generate/b.txt",)]
    assert (layout.root / "failed/b.txt").exists()
    check_whole(layout)


def test_a_daemon_whose_root_is_mounted_anew_takes_nothing_from_the_next_one(tmp_path: Path) -> None:
    """The same disk again under another device number, as after a cable came loose: all inodes are the same."""
    image, place = tmp_path / "disk.img", tmp_path / "root"
    image.write_bytes(bytes(16 << 20))
    if not run("mkfs.ext4", "-q", str(image)):
        pytest.skip("no mkfs.ext4 here")
    with mounted(place, "-o", "loop", str(image)):
        layout = new_root(tmp_path)
        with LiveDaemon(layout, **OFTEN, HOTFOLDER_OUTPUT__MIN_FREE_MB="0") as first:
            first.watching()
            make_a_row(layout, "a.txt")
            assert run("sync", "-f", str(place))
            again = tmp_path / "again.img"
            shutil.copyfile(image, again)
            assert run("umount", "-l", str(place))
            first.says("paused: ")  # it waits for the disk
            with mounted(place, "-o", "loop", str(again)):
                told = sentence_of(first)
                assert "mounted anew" in told
                with LiveDaemon(layout, **OFTEN, HOTFOLDER_OUTPUT__MIN_FREE_MB="0") as second:
                    make_a_row(layout, "b.txt")
                    second.kill()
                assert rows(layout, DROPS) == [("inbox/generate/a.txt",), ("inbox/generate/b.txt",)]


STOPPED = """
import sys
from pathlib import Path
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import Layout
from hotfolder.daemon.leaving import leave
from hotfolder.ledger.ledger import Ledger
layout = Layout(Path(sys.argv[1]))
layout.lock.touch()
ledger = Ledger.open(layout.database)
ledger.database.execute("INSERT INTO actions (kind, keep, created_at) VALUES ('reroute', 5, 1)")
leave(layout, ledger, Guard(layout, [layout.lock]))
"""


def test_a_ledger_that_is_left_keeps_its_log_to_the_end_of_the_process(layout: Layout) -> None:
    subprocess.run([sys.executable, "-c", STOPPED, str(layout.root)], check=True)
    assert connection.files(layout.database)[1].stat().st_size > 0
    with closing(sqlite3.connect(f"{layout.database.as_uri()}?mode=ro&immutable=1", uri=True)) as without_log:
        tables = without_log.execute("SELECT name FROM sqlite_schema WHERE name = 'actions'").fetchall()
        assert tables == [] or without_log.execute("SELECT keep FROM actions").fetchall() == []
    assert rows(layout, "SELECT keep FROM actions") == [(5.0,)]
