"""A schema that this version does not know."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from hotfolder.errors import LedgerError
from hotfolder.ledger import migrations, schema
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
