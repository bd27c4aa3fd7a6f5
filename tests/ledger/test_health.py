"""Damaged databases: what is found, what is mended, what is set aside."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hotfolder.errors import LedgerError
from hotfolder.ledger import connection, health
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.reader import Reader

IMAGES = 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole database with some images; no log."""
    found = tmp_path / "hotfolder.db"
    Ledger.open(found).close()
    add(found, range(IMAGES))
    return found


def add(path: Path, numbers: range) -> None:
    with closing(sqlite3.connect(path)) as writer:
        writer.executemany(
            "INSERT INTO images (path, sha256, role, verdict, width, height, created_at) "
            "VALUES (?, ?, 'dropped', 'keep', 8, 8, ?)",
            [(f"keep/{number:04}.png", f"{number:064x}", float(number)) for number in numbers],
        )
        writer.commit()


def images(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as reader:
        return [row[0] for row in reader.execute("SELECT path FROM images NOT INDEXED ORDER BY id")]


INDEX_LEAF, TABLE_LEAF = 10, 13


def page(path: Path, kind: int) -> int:
    """Where the leaf page of this kind begins that has a certain path: only images and images_path have it."""
    data = path.read_bytes()
    return next(
        start
        for start in range(0, len(data), 4096)
        if data[start] == kind and b"keep/0007.png" in data[start : start + 4096]
    )


def change_an_entry(path: Path) -> None:
    """Overwrites the key of one entry of an index; its table and its structure stay as they are."""
    data, start = path.read_bytes(), page(path, INDEX_LEAF)
    path.write_bytes(data[:start] + data[start:].replace(b"keep/0007.png", b"keep/0007.xxx", 1))


def overwrite(path: Path, kind: int) -> bytes:
    """A page of this kind is nothing any more; gives the damaged database."""
    data, start = path.read_bytes(), page(path, kind)
    path.write_bytes(data[:start] + bytes([7]) * 4096 + data[start + 4096 :])
    return path.read_bytes()


def forget_an_entry(path: Path) -> None:
    """The index has an entry less than its table has rows: as if it had not been there when the row was written."""
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA writable_schema = ON")
        told = writer.execute("SELECT * FROM sqlite_schema WHERE name = 'images_path'").fetchone()
        root = told[3]
        writer.execute("DELETE FROM sqlite_schema WHERE name = 'images_path'")
        writer.commit()
    add(path, range(IMAGES, IMAGES + 1))
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA writable_schema = ON")
        writer.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", (*told[:3], root, told[4]))
        writer.commit()


@pytest.mark.parametrize("damage", [change_an_entry, forget_an_entry])
def test_a_damaged_index_is_found_and_made_anew(path: Path, damage: object) -> None:
    assert health.problem(path, thoroughly=True) is None
    damage(path)  # type: ignore[operator]
    before = images(path)
    assert health.problem(path) is None  # PRAGMA quick_check looks past it
    assert "index images_p" in str(health.problem(path, thoroughly=True))  # of two that hold paths
    assert health.mend_indexes(path)
    assert health.problem(path, thoroughly=True) is None
    assert images(path) == before
    with Reader(path) as reader:
        assert reader.image_by_path("keep/0007.png") is not None


def test_rows_are_copied_past_an_index_that_cannot_be_read(path: Path, tmp_path: Path) -> None:
    before = images(path)
    damaged = overwrite(path, INDEX_LEAF)
    assert health.problem(path) is not None
    assert not health.mend_indexes(path)
    assert health.copy_rows(path, tmp_path / "new.db")
    assert path.read_bytes() == damaged
    assert images(tmp_path / "new.db") == before
    assert schema(tmp_path / "new.db") == schema(path)
    Ledger.open(tmp_path / "new.db").close()
    with Reader(tmp_path / "new.db") as reader:
        assert reader.image_by_path("keep/0007.png") is not None


def schema(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as reader:
        return [row[0] for row in reader.execute("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name")]


def test_what_is_more_than_damaged_indexes_is_left_as_it_is(path: Path, tmp_path: Path) -> None:
    damaged = overwrite(path, TABLE_LEAF)
    assert health.problem(path) is not None
    assert not health.mend_indexes(path)
    assert not health.copy_rows(path, tmp_path / "new.db")
    assert path.read_bytes() == damaged


def test_damage_is_told_in_one_line_with_what_to_do(path: Path, tmp_path: Path) -> None:
    overwrite(path, TABLE_LEAF)
    wrong = health.problem(path)
    assert wrong is not None and "\n" not in wrong and "***" not in wrong
    with pytest.raises(LedgerError, match="the copy is damaged, and was not kept") as caught:
        health.copy(path, tmp_path / "copy.db", lambda *_: None)
    assert "a start of the daemon mends it" in caught.value.fix
    assert not list(tmp_path.glob("*copy*"))
    path.write_bytes(path.read_bytes()[:100] + bytes([9]) * 8000)
    with pytest.raises(LedgerError, match="cannot be read") as caught:
        Reader(path)
    assert "start the daemon" in caught.value.fix


def test_what_cannot_be_copied_for_any_reason_is_made_from_the_folders(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.db")) as new:
        new.execute("CREATE TABLE drops (x)")
    assert not health.copy_rows(path, tmp_path / "new.db")


def with_log(path: Path, tmp_path: Path, numbers: range) -> Path:
    """A copy of a database as a crash leaves it: with these images in its log."""
    copy = tmp_path / "crashed" / "hotfolder.db"
    copy.parent.mkdir()
    shutil.copyfile(path, copy)
    with closing(sqlite3.connect(copy)) as keeper:
        keeper.execute("PRAGMA journal_mode = WAL")
        keeper.execute("SELECT 1 FROM images").fetchone()
        add(copy, numbers)
        left = tmp_path / "left"
        left.mkdir()
        for file in connection.files(copy)[:2]:
            shutil.copyfile(file, left / file.name)
    return left / "hotfolder.db"


def test_looking_changes_nothing(path: Path, tmp_path: Path) -> None:
    left = with_log(path, tmp_path, range(IMAGES, IMAGES + 5))
    before = [file.read_bytes() for file in connection.files(left)[:2]]
    assert health.problem(left, thoroughly=True) is None
    assert not health.is_blank(left)
    assert len(health.salvage(left)) == 0
    assert [file.read_bytes() for file in connection.files(left)[:2]] == before


def test_a_log_of_another_database_is_known(path: Path, tmp_path: Path) -> None:
    left = with_log(path, tmp_path, range(IMAGES, IMAGES + 500))
    other = tmp_path / "other.db"
    Ledger.open(other).close()
    add(other, range(1000, 1900))
    shutil.copyfile(other, left)  # a backup is put back, and the log of the old one still lies there
    assert health.problem(left, thoroughly=True) is not None
    assert health.is_whole_without_log(left)
    aside = health.set_log_aside(left, 1.5)
    assert aside is not None
    assert aside.name == "hotfolder.damaged-19700101-000001-500000.db-wal"
    assert aside.stat().st_size > 0
    assert images(left) == images(other)


def test_setting_aside_that_was_cut_off_is_finished_under_the_same_name(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = with_log(path, tmp_path, range(IMAGES, IMAGES + 5))
    before = [file.read_bytes() for file in connection.files(left)[:2]]
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self == left:
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            health.set_aside(left, 2.0)
    assert left.exists()  # it comes last
    aside = health.set_aside(left, 2.0)
    assert aside is not None
    assert [file.read_bytes() for file in connection.files(aside)[:2]] == before
    assert not any(file.exists() for file in connection.files(left))
    assert health.set_aside(left, 2.0) is None


def test_a_log_that_is_empty_is_not_kept(path: Path) -> None:
    connection.files(path)[1].touch()
    aside = health.set_aside(path, 2.0)
    assert [file.name for file in path.parent.iterdir()] == [aside.name if aside else ""]


def test_a_database_that_knows_of_nothing_is_blank(path: Path, tmp_path: Path) -> None:
    assert not health.is_blank(path)
    Ledger.open(tmp_path / "new.db").close()
    assert health.is_blank(tmp_path / "new.db")
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as foreign:
        foreign.execute("CREATE TABLE notes (text)")
    assert health.is_blank(tmp_path / "foreign.db")
