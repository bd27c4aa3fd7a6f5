"""What is asked for each file, or each batch, must not take longer the more files there are."""

import re
import sqlite3

import pytest

from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.queries import queries

#: Asked at the start, at a scan of the inboxes, or by a person: these may look through a table.
MAY_SCAN = {
    "open_drops", "finished_drops", "recover_jobs", "image_count", "pending_entries", "export", "models", "results",
    "outcome_counts", "unrated", "drop_placed_at", "images_called", "histogram", "score_summary",
    "drops_waited_for",
    "cancel_drop", "mark_cancelled", "cancel_jobs",
    "known_files", "placed_files", "restored_drops", "dropped_images",
}  # fmt: skip
TABLES = {"drops", "jobs", "images", "scores", "embeddings", "journal", "verdict_history"}


@pytest.mark.parametrize("name", sorted(queries().keys() - MAY_SCAN))
def test_looks_things_up(name, tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.close()
    connection = sqlite3.connect(tmp_path / "ledger.db")
    sql = queries()[name]
    values = dict.fromkeys(re.findall(r"(?<!:):(\w+)", sql), None) | {"ids": "[1, 2]"}
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    scans = [step for step in plan if (found := re.match(r"SCAN (\w+)", step)) and found[1] in TABLES]
    assert not scans
