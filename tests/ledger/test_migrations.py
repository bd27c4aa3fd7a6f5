"""What older versions wrote is there after a migration."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from hotfolder.ledger import migrations, prompt_words, shown
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.reader import Reader
from hotfolder.ledger.shown import Filters, Shown


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


def test_verdicts_steps_and_places_stay_what_they_are_where_tables_are_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "hotfolder.db"
    with closing(sqlite3.connect(path)) as old:
        migrations.steps.apply(Database(old), stop_before="m012_stars_words_and_places")
        old.executescript("""
            INSERT INTO drops VALUES (1, 'score', 'inbox/score/a.png', 1, 2, 3, 4, 5, 'failed', NULL, 6, 7, NULL);
            INSERT INTO images (id, path, sha256, role, verdict, width, height, prompt, score, created_at)
            VALUES (1, 'keep/a.png', 'x', 'generated', 'keep', 1, 1, 'A red Éclair', 6.0, 100),
                (2, 'keep/b.png', 'y', 'generated', 'keep', 1, 1, 'A red Éclair', 6.0, 100),
                (3, 'keep/c.png', 'z', 'dropped', 'keep', 1, 1, NULL, 6.0, 100);
            INSERT INTO actions
            VALUES (4, 'keep', 'one', NULL, 200, NULL, NULL), (5, 'retry', 'two', 1, 201, 202, 'x');
            INSERT INTO verdict_history VALUES
                (7, 1, 'keep', 'person', 'key', 6.0, 6.5, 'reject/a.png', 'keep/a.png', 4, 200, NULL);
            INSERT INTO action_steps VALUES (9, 5, 1, 3, NULL, 2, 'kind', 'error', 'fix');
        """)
        for state, not_before in (("queued", -7), ("queued", 0), ("queued", 50), ("done", -7.001)):
            old.execute(
                "INSERT INTO jobs (kind, state, drop_id, source_file, model, not_before, created_at) "
                "VALUES ('score', ?, 1, 'a', 'm', ?, 1)",
                (state, not_before),
            )
        for name in ("verdicts", "results", "actions", "verdict_history", "action_steps"):
            old.execute(f"CREATE VIEW mine_of_{name} AS SELECT * FROM {name}")
        old.execute("CREATE TRIGGER mine AFTER INSERT ON verdict_history BEGIN SELECT count(*) FROM actions; END")
        old.commit()
        views = list(old.execute("SELECT * FROM verdicts"))
    Ledger.open(path).close()
    with closing(sqlite3.connect(path)) as new:
        assert new.execute("PRAGMA foreign_key_check").fetchall() == []
        assert new.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert new.execute("SELECT * FROM verdicts").fetchall() == views
        assert new.execute("SELECT * FROM mine_of_verdicts").fetchall() == views
        for name in ("results", "actions", "verdict_history", "action_steps"):
            assert new.execute(f"SELECT count(*) FROM mine_of_{name}").fetchone()[0] > 0
        assert new.execute("SELECT id, kind, asked, keep, undone_by FROM actions").fetchall() == [
            (4, "keep", "one", None, None), (5, "retry", "two", 1.0, "x"),
        ]  # fmt: skip
        assert new.execute("SELECT id, action_id, error, image_id FROM action_steps").fetchall() == [
            (9, 5, "error", None)
        ]
        assert new.execute("SELECT not_before, place FROM jobs ORDER BY id").fetchall() == [
            (0, -7), (0, 0), (50, 0), (0, -7.001),
        ]  # fmt: skip
        new.execute("PRAGMA foreign_keys = ON")
        insert = (
            "INSERT INTO verdict_history (image_id, verdict, given_by, how, path, action_id, created_at) "
            "VALUES (1, 'keep', 'person', ?, 'keep/a.png', ?, 300)"
        )
        new.execute(insert, ("stars", 4))
        for wrong in (("looks", 4), ("stars", 99)):
            with pytest.raises(sqlite3.IntegrityError):
                new.execute(insert, wrong)
        names = {name for (name,) in new.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}
        assert {"verdict_history_image", "verdict_history_action", "actions_undone"} <= names


def saying(path: Path, *words: str) -> list[int]:
    with Shown(path) as reader:
        return sorted(reader.ordered(Filters(words=words), "newest"))


def add_prompts(path: Path, first: int, *prompts: str | None) -> None:
    with closing(sqlite3.connect(path)) as writer:
        writer.executemany(
            "INSERT INTO images (id, path, sha256, role, width, height, prompt, created_at) "
            "VALUES (?, ?, 'x', 'generated', 1, 1, ?, 1)",
            [(number, f"keep/Set/{number}.png", prompt) for number, prompt in enumerate(prompts, first)],
        )
        writer.commit()


def test_prompts_are_found_by_their_words_with_and_without_fts5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hotfolder.db"
    Ledger.open(path).close()
    add_prompts(path, 1, "A red Éclair", "A red Éclair", None, 'a "blue" 100%_car', "赤い車の写真")
    with closing(sqlite3.connect(path)) as connection:
        # The second has the same prompt as the first.
        assert connection.execute("SELECT count(*) FROM prompt_words_idx").fetchone()[0] >= 1
        assert prompt_words.is_kept_up(connection)
        indexed = connection.execute(
            "SELECT rowid FROM prompt_words WHERE prompt_words MATCH '\"red\"'"
        ).fetchall()
        assert indexed == [(1,)]
    asked = [
        ("RED",), ("clair",), ('"blue"',), ("100%_",), ("red", "set/2"), ("/3.png",), ("ca",), ("赤い車",), ("い車",),
        ("none such",), ("*",), ('"',), ("NEAR(",),
    ]  # fmt: skip
    found = [saying(path, *words) for words in asked]
    assert found == [[1, 2], [1, 2], [4], [4], [2], [3], [4], [5], [5], [], [], [4], []]
    saying(path, "red\0")  # does no harm
    assert saying(path, "éclair") == [1, 2]  # large and small beyond ASCII: by the index alone
    with monkeypatch.context() as patched:  # words that many prompts say
        patched.setattr(shown, "_COMMON", 1)
        assert [saying(path, *words) for words in asked] == found
        assert saying(path, "éclair", "red") == [1, 2]
    with monkeypatch.context() as patched:  # a Python whose SQLite has no FTS5
        patched.setattr(prompt_words, "can_be", lambda _: False)
        Ledger.open(path).close()
        add_prompts(path, 6, "A green apple")
        assert [saying(path, *words) for words in asked] == found
        assert saying(path, "apple") == [6]
    with closing(sqlite3.connect(path)) as connection:
        assert not prompt_words.is_kept_up(connection)
    assert saying(path, "apple") == [6]  # before the daemon has opened it again
    Ledger.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        assert prompt_words.is_kept_up(connection)
    assert [saying(path, *words) for words in asked] == found
    assert saying(path, "apple") == [6]


def test_a_database_without_fts5_is_migrated_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hotfolder.db"
    with monkeypatch.context() as patched:
        patched.setattr(prompt_words, "can_be", lambda _: False)
        Ledger.open(path).close()
        add_prompts(path, 1, "A red car")
        assert saying(path, "red") == [1]
    Ledger.open(path).close()
    assert saying(path, "red") == [1]
