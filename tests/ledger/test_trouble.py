"""What SQLite's errors mean."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hotfolder.errors import EnvironmentTrouble, LedgerError
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.reader import Reader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "hotfolder.db"
    Ledger.open(found).close()
    with closing(sqlite3.connect(found)) as writer:
        writer.executemany(
            "INSERT INTO images (path, sha256, role, width, height, created_at) VALUES (?, ?, 'dropped', 8, 8, 1)",
            [(f"keep/{number:04}.png", f"{number:064x}") for number in range(300)],
        )
        writer.commit()
    return found


def overwrite(path: Path, start: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes([7]) * (len(data) - start))


@pytest.mark.parametrize("start", [0, 4096])
def test_a_database_that_is_damaged_meanwhile(path: Path, start: int) -> None:
    ledger, reader = Ledger.open(path), Reader(path)
    overwrite(path, start)
    for question in (lambda: ledger.images.unrated(500), reader.results, lambda: list(reader.export())):
        with pytest.raises(LedgerError, match="the database is damaged") as caught:
            question()
        assert "start hotfolder again" in caught.value.fix
    with pytest.raises(LedgerError, match="damaged"), ledger.database.transaction():
        ledger.images.unrated(500)
    ledger.database.abandon()


def test_a_table_that_is_not_there_any_more(path: Path) -> None:
    ledger = Ledger.open(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE embeddings")
    with pytest.raises(
        LedgerError, match="not as this version of hotfolder expects it: no such table: embeddings"
    ):
        ledger.database.run("add_embedding", sha256="a", encoder="b", vector=b"c")
    ledger.close()


def test_what_an_index_says_twice(path: Path) -> None:
    """A constraint that fails is a damaged index: the next start looks, and mends it."""
    ledger = Ledger.open(path)
    row = {"kind": "score", "path": "a", "size": 1, "mtime_ns": 1, "inode": 1, "device": 1, "seen_at": 1, "now": 1}
    ledger.database.run("add_drop", **row)
    with pytest.raises(LedgerError, match="UNIQUE constraint failed"):
        ledger.database.run("add_drop", **row)
    ledger.close()


def test_what_may_pass_is_no_damage(path: Path) -> None:
    ledger = Ledger.open(path)
    ledger.database.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(EnvironmentTrouble, match="is locked") as caught:
            ledger.database.run("add_action", kind="reroute", asked=None, keep=5, now=1)
        assert not isinstance(caught.value, LedgerError)
        other.execute("ROLLBACK")
    ledger.close()
