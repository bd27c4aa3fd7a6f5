"""A schema that this version does not know."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlite_utils import Database

from hotfolder.errors import LedgerError
from hotfolder.ledger import health, kept, migrations, schema
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.memory import Memory
from hotfolder.ledger.reader import Reader


def test_the_newest_step_is_the_last_one() -> None:
    names = [step.name for step in migrations.steps.pending(Database(memory=True))]
    assert names == sorted(names)
    assert names[-1] == schema.NEWEST


@pytest.mark.parametrize("reads", [Ledger.open, Reader, Memory])
def test_a_schema_of_the_future_is_refused(tmp_path: Path, reads: object) -> None:
    path = tmp_path / "hotfolder.db"
    Ledger.open(path).close()
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO _sqlite_migrations VALUES (99, 'hotfolder', 'm999_moons', 'then')")
        writer.execute("INSERT INTO _sqlite_migrations VALUES (100, 'another program', 'z', 'then')")
        writer.commit()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"newer hotfolder.*'m999_moons'") as caught:
        reads(path)  # type: ignore[operator]
    assert "backup" in caught.value.fix
    assert path.read_bytes() == before


def of_before(path: Path, last: str = "m008") -> None:
    """A database with a row, as the version with this step left it."""
    steps = [step.name for step in migrations.steps.pending(Database(memory=True))]
    stop = next(name for name in steps if name > f"{last}_~")
    with closing(sqlite3.connect(path)) as writer:
        migrations.steps.apply(Database(writer), stop_before=stop)
        writer.execute("INSERT INTO drops (kind, path, size, mtime_ns, inode, device, seen_at, created_at)"
                       " VALUES ('score', 'inbox/score/a.png', 1, 2, 3, 4, 5, 6)")  # fmt: skip
        writer.commit()
    path.chmod(0o640)


def steps_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as reader:
        return str(reader.execute("SELECT max(name) FROM _sqlite_migrations").fetchone()[0])


def test_a_copy_is_made_before_a_migration_and_few_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "hotfolder.db"
    Ledger.open(path).close()
    Ledger.open(path).close()
    assert kept.copies(path) == []  # nothing in it, nothing to be changed
    made = []
    for _ in range(3):
        path.unlink()
        of_before(path)
        alive = Mock()
        Ledger.open(path, alive).close()
        alive.assert_called()  # a start that takes its time says so
        assert steps_of(path) == schema.NEWEST
        made.append(kept.copies(path)[0])
    assert kept.copies(path) == [made[2], made[1]]
    assert steps_of(made[2]) < schema.NEWEST
    assert (health.problem(made[2]), made[2].stat().st_mode & 0o777) == (None, 0o640)
    with closing(sqlite3.connect(made[2])) as reader:
        assert reader.execute("SELECT path FROM drops").fetchall() == [("inbox/score/a.png",)]
    # Back to it: the copy in the place of the database is migrated anew.
    made[2].rename(path)
    Ledger.open(path).close()
    assert steps_of(path) == schema.NEWEST


def test_without_a_copy_nothing_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hotfolder.db"
    of_before(path)
    before = steps_of(path)

    def full(*_: object) -> int:
        raise LedgerError("it cannot be copied: database or disk is full", "is there space?")

    with monkeypatch.context() as patched, pytest.raises(LedgerError, match="disk is full"):
        patched.setattr(health, "copy", full)
        Ledger.open(path)
    assert steps_of(path) == before
    with monkeypatch.context() as patched:  # a file system without hard links
        patched.setattr(health.os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links")))
        Ledger.open(path).close()
    assert len(kept.copies(path)) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["hotfolder.db", kept.copies(path)[0].name][::-1]
