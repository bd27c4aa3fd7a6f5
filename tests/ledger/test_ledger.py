"""The ledger: schema, claims, recovery."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from hotfolder.errors import LedgerError
from hotfolder.ledger.drops import Taken
from hotfolder.ledger.images import Judged
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.memory import Memory
from hotfolder.ledger.queries import queries
from hotfolder.ledger.reader import Reader
from hotfolder.publishing.entries import encode
from hotfolder.transitions import Move, NewImage, Scored
from hotfolder.types import (
    Embedding,
    ErrorInfo,
    FailureClass,
    Kind,
    NewJob,
    Role,
    Score,
    ScoreParams,
    Sighting,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "hotfolder.db")


M = (Kind.SCORE, "m")


def queue(ledger: Ledger, *models: str) -> None:
    taken = [
        Taken(
            Kind.SCORE,
            Sighting(f"inbox/score/{i}.png", 1, 2, 3, 4),
            50.0,
            [NewJob(Kind.SCORE, model, ScoreParams(), f"{i}")],
        )
        for i, model in enumerate(models)
    ]
    ledger.drops.add(taken, 100.0)


def test_the_public_views_have_the_promised_columns(ledger: Ledger, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "hotfolder.db")
    columns = {
        view: [row[1] for row in connection.execute(f"PRAGMA table_info({view})")]
        for view in ("results", "queue", "score_gain")
    }
    assert {view: " ".join(names) for view, names in columns.items()} == {
        "results": "image_id path sha256 role verdict score scorer width height parent_path prompt "
        "negative_prompt seed model source_file job_id created_at",
        "queue": "job_id kind state source_file attempt error_kind error created_at started_at finished_at",
        "score_gain": "parent_path parent_score upscaled_path upscaled_score gain",
    }
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_opening_again_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    queue(ledger, "m")
    ledger.close()
    before = dump(tmp_path / "hotfolder.db")
    assert any(line.startswith('INSERT INTO "jobs"') for line in before)
    again = Ledger.open(tmp_path / "hotfolder.db")
    assert again.jobs.open_count() == 1
    again.close()
    assert dump(tmp_path / "hotfolder.db") == before


def dump(path: Path) -> list[str]:
    """All that a database holds, its schema included."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def test_only_the_owner_may_write_the_database(ledger: Ledger, tmp_path: Path) -> None:
    mode = (tmp_path / "hotfolder.db").stat().st_mode
    assert not mode & (stat.S_IWGRP | stat.S_IWOTH)


def test_a_job_is_claimed_once_and_the_attempt_counts_from_the_claim(ledger: Ledger) -> None:
    queue(ledger, "m", "m")
    jobs = ledger.jobs.runnable(100.0, M)
    claimed = ledger.jobs.claim(jobs, 101.0)
    assert [(j.attempt, j.claim) for j in claimed] == [(1, 1), (1, 1)]
    assert ledger.jobs.claim(jobs, 101.0) == []
    assert ledger.jobs.runnable(102.0, M) == []


def test_released_jobs_keep_their_claim_number_and_wait(ledger: Ledger) -> None:
    queue(ledger, "m")
    error = ErrorInfo("x", FailureClass.TRANSIENT, "why", "how")
    (first,) = ledger.jobs.claim(ledger.jobs.runnable(100.0, M), 101.0)
    ledger.jobs.release(first, not_before=110.0, spent=True, died=True, error=error)
    assert ledger.jobs.runnable(109.0, M) == []
    assert ledger.jobs.next_due() == 110.0
    (second,) = ledger.jobs.claim(ledger.jobs.runnable(110.0, M), 111.0)
    assert (second.attempt, second.claim, second.deaths) == (2, 2, 1)
    ledger.jobs.release(first, not_before=0, spent=True)  # an older claim changes nothing
    assert ledger.jobs.runnable(112.0, M) == []
    ledger.jobs.release(second, not_before=0, spent=False)
    assert ledger.jobs.runnable(112.0, M)[0].attempt == 1


def test_after_a_crash_running_jobs_go_back_without_blame(ledger: Ledger) -> None:
    queue(ledger, "m", "m")
    ledger.jobs.claim(ledger.jobs.runnable(100.0, M), 101.0)
    assert ledger.jobs.recover() == 2
    assert [(j.attempt, j.claim) for j in ledger.jobs.runnable(102.0, M)] == [(0, 1), (0, 1)]


def test_whatever_waits_is_seen_behind_a_long_queue(ledger: Ledger) -> None:
    other = (Kind.SCORE, "other")
    queue(ledger, *["m"] * 300, "other", *["m"] * 300, "x")
    assert ledger.jobs.groups(100.0) == [M, other, (Kind.SCORE, "x")]
    assert len(ledger.jobs.runnable(100.0, M)) == 256
    (only,) = ledger.jobs.runnable(100.0, other)
    (claimed,) = ledger.jobs.claim([only], 101.0)
    assert ledger.jobs.groups(102.0) == [M, (Kind.SCORE, "x")]
    ledger.jobs.release(claimed, not_before=200.0, spent=True)
    assert other not in ledger.jobs.groups(199.0)
    assert ledger.jobs.groups(200.0)[1] == other


def test_a_job_that_has_to_wait_hides_no_other_of_its_kind(ledger: Ledger) -> None:
    queue(ledger, "m", "m")
    first, _ = ledger.jobs.runnable(100.0, M)
    (claimed,) = ledger.jobs.claim([first], 101.0)
    ledger.jobs.release(claimed, not_before=200.0, spent=True)
    assert ledger.jobs.groups(150.0) == [M]
    assert len(ledger.jobs.runnable(150.0, M)) == 1


def test_a_reader_cannot_write_and_says_what_is_wrong(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="does not exist"):
        Reader(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 30)
    with pytest.raises(LedgerError, match="cannot be read"):
        Reader(tmp_path / "text.db")
    with Reader(tmp_path / "hotfolder.db") as reader:
        assert reader.counts() == {}


def test_every_query_is_used_somewhere() -> None:
    import hotfolder

    code = "".join(path.read_text() for path in Path(hotfolder.__file__).parent.rglob("*.py"))
    assert [name for name in queries() if f'"{name}"' not in code] == []


def test_scores_of_an_older_schema_become_the_gates(tmp_path: Path) -> None:
    from sqlite_utils import Database

    from hotfolder.ledger import migrations

    path = tmp_path / "old.db"
    old = sqlite3.connect(path, isolation_level=None)
    migrations.steps.apply(Database(old), stop_before="m003_several_scorers_and_embeddings")
    old.execute(
        "INSERT INTO images (id, path, sha256, role, width, height, created_at) "
        "VALUES (1, 'keep/a.png', 'a', 'dropped', 1, 1, 0)"
    )
    old.execute(
        "INSERT INTO scores (image_id, score, scorer, weights_sha256, preprocessing, precision, created_at) "
        "VALUES (1, 7.5, 'technical', 'w', 'p', 'float32', 0)"
    )
    old.close()
    Ledger.open(path).close()
    with Reader(path) as reader:
        assert [(row["path"], row["score"]) for row in reader.results()] == [("keep/a.png", 7.5)]
    remembered = Memory(path).recall("a")
    assert remembered is not None
    assert (remembered.width, [score.value for score in remembered.scores]) == (1, [7.5])
    assert Memory(path).recall("b") is None


def test_a_content_is_remembered_with_its_prompt(ledger: Ledger, tmp_path: Path) -> None:
    """Of several images with one content, one that has a prompt says it."""
    for number, prompt in enumerate((None, "a cat", None)):
        image = NewImage(Role.DROPPED, "sha", 2, 3, prompt=prompt)
        ledger.images.add(image, Move(f"inbox/score/{number}.png", f"keep/{number}.png"), 1.0)
        remembered = Memory(tmp_path / "hotfolder.db").recall("sha")
        assert remembered is not None
        assert remembered.prompt == (None if number == 0 else "a cat")


def test_a_score_is_added_once_and_the_gates_choice_can_go_back_and_forth(ledger: Ledger, tmp_path: Path) -> None:
    image = NewImage(Role.DROPPED, "sha", 2, 3)
    queue(ledger, "m")
    red, blue = (Score(value, name, "w", "p", "float32") for name, value in (("red", 5.0), ("blue", 6.0)))
    transition = Scored(
        drop_id=1, source_file="inbox/score/0.png", job_id=1, sha256="sha", score=red, new_image=image,
        embeddings=(Embedding("eye", "AAA8"),), image=Move("inbox/score/0.png", "keep/a.png"),
    )  # fmt: skip
    (entry,) = ledger.journal.record([encode(transition)], 1.0)
    ledger.journal.apply([(entry, transition)], [], 1.0)

    def gate() -> object:
        with Reader(tmp_path / "hotfolder.db") as reader:
            return reader.results()[0]["scorer"]

    assert ledger.images.add_scores([Judged(1, "sha", red)], 2.0) == 0
    assert ledger.images.add_scores([Judged(1, "sha", None, (blue,))], 2.0) == 1
    assert gate() == "red"
    assert ledger.images.add_scores([Judged(1, "sha", None, (blue,))], 2.0) == 0
    assert ledger.images.add_scores([Judged(1, "sha", blue)], 3.0) == 1
    assert gate() == "blue"
    assert ledger.images.add_scores([Judged(1, "sha", red)], 4.0) == 1
    assert gate() == "red"
    assert ledger.images.add_scores([Judged(1, "sha", red, (), (Embedding("eye", "AAA8"),))], 5.0) == 0
    remembered = Memory(tmp_path / "hotfolder.db").recall("sha")
    assert remembered is not None
    assert remembered.embeddings == (Embedding("eye", "AAA8"),)
