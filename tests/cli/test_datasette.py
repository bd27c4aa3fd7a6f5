"""The metadata for Datasette, and that its questions can be asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hotfolder.cli.datasette import run_datasette
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.reader import Reader


def test_its_questions_can_be_asked_and_its_columns_are_there(layout: Layout) -> None:
    Ledger.open(layout.database).close()
    run_datasette(layout.root, None, as_json=True)
    run_datasette(layout.root, None, as_json=True)  # again, in the place of the older one
    told = json.loads((layout.root / "datasette.json").read_text())["databases"]["hotfolder"]
    with Reader(layout.database) as reader:
        for question in told["queries"].values():
            reader.ask(question["sql"])
        for view, about in told["tables"].items():
            columns, _ = reader.ask(f"SELECT * FROM {view}")
            assert list(about["columns"]) == columns


def test_another_file_is_not_replaced(layout: Layout, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text("{}")
    with pytest.raises(UsageError, match="none of hotfolder's"):
        run_datasette(layout.root, mine, as_json=False)
    assert mine.read_text() == "{}"
