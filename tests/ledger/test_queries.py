"""What is asked for each file, or each batch, must not take longer the more files there are."""

import re
import sqlite3

import pytest

from hotfolder.ledger.drops import Taken
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.queries import queries, read
from hotfolder.types import GenerateParams, Kind, NewJob, PromptSpec, Sighting

#: Asked at the start, at a scan of the inboxes, or by a person: these may look through a table.
MAY_SCAN = {
    "open_drops", "finished_drops", "recover_jobs", "image_count", "pending_entries", "export", "models", "results",
    "outcome_counts", "unrated", "drop_placed_at", "images_called", "histogram", "score_summary",
    "drops_waited_for",
    "cancel_drop", "mark_cancelled", "cancel_jobs",
    "shown_images", "ordered_images", "images_saying", "prompts_saying", "shown_sources", "scorers",
    "files_that_wait", "files_that_failed", "forget_all_looks",
    "known_files", "placed_files", "restored_drops", "dropped_images",
    "images_written_of", "embedded", "encoders", "image_count_in",
    "inboxes_judged", "said_of_inbox", "looked_at_of_inbox", "encoder_of_inbox", "library_of_inbox",
    "scorers_like_taste", "prior_is_the_gates", "forget_scores_of_taste", "forget_looks_of_inbox", "close_calls",
    "forget_verdicts_by_taste", "version_of_prior",
}  # fmt: skip
TABLES = {"drops", "jobs", "images", "scores", "embeddings", "journal", "verdict_history", "looks"}


@pytest.mark.parametrize("name", sorted(queries().keys() - MAY_SCAN))
def test_looks_things_up(name, tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.close()
    connection = sqlite3.connect(tmp_path / "ledger.db")
    sql = queries()[name]
    values = dict.fromkeys(re.findall(r"(?<!:):(\w+)", sql), None) | {
        "ids": "[1, 2]",
        "patterns": "[]",
        "folders": "[]",
    }
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    scans = [step for step in plan if (found := re.match(r"SCAN (\w+)", step)) and found[1] in TABLES]
    assert not scans


def test_a_part_stands_where_its_name_is_and_nowhere_by_itself():
    text = """-- Of all.
-- part: is_new
-- A sentence with {braces}.
(age < 3 AND kind != '{}')
-- name: new
-- Those.
SELECT 1 FROM t WHERE {is_new} AND NOT {is_new};
"""
    rule = "(age < 3 AND kind != '{}')"
    assert read(text) == {"new": f"\n-- Those.\nSELECT 1 FROM t WHERE {rule} AND NOT {rule};\n"}
    with pytest.raises(KeyError, match="is_old"):
        read(text.replace("NOT {is_new}", "{is_old}"))
    assert not any(re.search(r"\{\w", sql) for sql in queries().values())


def test_whose_turn_it_is_takes_no_longer_the_more_wait(tmp_path):
    """By the index of queued jobs, in its order: nothing of the queue is sorted."""
    Ledger.open(tmp_path / "ledger.db").close()
    connection = sqlite3.connect(tmp_path / "ledger.db")
    plan = [
        row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {queries()['runnable_groups']}", {"now": 1.0})
    ]
    looks = [step for step in plan if step.startswith("SEARCH jobs") and "rowid" not in step]
    assert len(looks) >= 4
    assert all("jobs_queued (kind" in step for step in looks)
    assert plan.count("USE TEMP B-TREE FOR ORDER BY") == 1  # of the groups themselves


def test_a_judged_seed_costs_the_same_however_many_came_before(tmp_path):
    """Steps of SQLite's machine for a seed of a run, with 60 and with 6,000 before it, of which most were rejected."""
    assert _steps_for_a_seed(tmp_path / "few.db", 60) * 1.5 > _steps_for_a_seed(tmp_path / "many.db", 6_000)


def _steps_for_a_seed(path, before):
    ledger = Ledger.open(path)
    sighting = Sighting("inbox/generate/p.txt", 1, 2, 3, 4)
    prompt = GenerateParams(PromptSpec("a star", "", seed=1, until_kept=1000, at_most=12_000), 0)
    first = NewJob(Kind.GENERATE, "tiny", prompt)
    (drop_id,) = ledger.drops.add([Taken(Kind.GENERATE, sighting, 1.0, [first] * before)], 1.0)
    connection = ledger.database._connection
    execute = connection.execute
    execute("UPDATE jobs SET state = 'done' WHERE id <= ?", (before - 5,))
    (run,) = ledger.runs.of_drop(drop_id)
    assert (run.drawn, len(run.open)) == (before, 5)
    steps = 0

    def count():
        nonlocal steps
        steps += 1

    execute("UPDATE jobs SET state = 'failed' WHERE id = ?", (before - 4,))
    connection.set_progress_handler(count, 1)
    ledger.runs.follow(run)
    ledger.runs.begin(run, [first], 2.0)
    connection.set_progress_handler(None, 0)
    assert (run.drawn, len(run.open)) == (before + 1, 5)
    ledger.close()
    return steps
