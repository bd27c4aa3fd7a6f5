"""What older versions wrote is there after a migration."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlite_utils import Database

from hotfolder.ledger import migrations
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.reader import Reader


def test_reroutes_become_actions_that_can_be_undone(tmp_path: Path) -> None:
    path = tmp_path / "hotfolder.db"
    with closing(sqlite3.connect(path)) as old:
        migrations.steps.apply(Database(old), stop_before="m010_verdicts")
        for image_id, place, verdict in (
            (1, "keep/a.png", "keep"), (2, "reject/sub/b.png", "reject"), (3, "keep/c.png", "keep"),
            (4, "archive/d.png", None),
        ):  # fmt: skip
            old.execute(
                "INSERT INTO images (id, path, sha256, role, verdict, width, height, score, created_at) "
                "VALUES (?, ?, 'x', 'dropped', ?, 1, 1, 6.0, 100)",
                (image_id, place, verdict),
            )
        old.execute("INSERT INTO reroutes VALUES (1, 6.8, 200, NULL), (2, 5.0, 300, NULL), (3, 9.0, 400, 500)")
        # b was moved by the first, c by both; what the third moved is back.
        old.execute(
            "INSERT INTO reroute_moves VALUES (1, 2, 'keep'), (1, 3, 'keep'), (2, 3, 'reject'), (3, 1, 'keep')"
        )
        old.commit()
    ledger = Ledger.open(path)
    assert [(action.id, action.keep) for action in ledger.actions.last(9)] == [(2, 5.0), (1, 6.8)]
    moved = ledger.verdicts.of_action(2, 0, 9)
    assert [(each.image_id, each.path_before, each.is_last) for each in moved] == [(3, "reject/c.png", True)]
    moved = ledger.verdicts.of_action(1, 0, 9)
    assert [(each.image_id, each.path_before, each.is_last) for each in moved] == [
        (2, "keep/sub/b.png", True), (3, "keep/c.png", False),
    ]  # fmt: skip
    ledger.verdicts.take_back(3, 2, 600.0)
    ledger.close()
    with Reader(path) as reader:
        assert [(each["verdict"], each["gate_keep"]) for each in reader.verdicts_of_image(3)] == [
            ("keep", None), ("reject", 6.8),
        ]  # fmt: skip
        assert [(row["path"], row["verdict"]) for row in reader.results()] == [
            ("keep/a.png", "keep"), ("reject/sub/b.png", "reject"), ("keep/c.png", "reject"), ("archive/d.png", None),
        ]  # fmt: skip


def test_a_result_is_found_by_its_path_in_the_views(tmp_path: Path) -> None:
    """However many there are: by the index over what is there."""
    path = tmp_path / "hotfolder.db"
    Ledger.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        for sql in (
            "SELECT * FROM results WHERE path = 'keep/a.png'",
            "SELECT * FROM score_gain WHERE upscaled_path = 'upscaled/a_4x.png'",
            "SELECT * FROM verdicts WHERE path = 'keep/a.png'",
        ):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
            assert any("images_place" in step for step in plan), (sql, plan)
