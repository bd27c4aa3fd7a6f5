"""A root that an older version left in the middle of its work: this one finishes it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hotfolder.folders.layout import Layout
from tests.publishing.script import by_name
from tests.publishing.stored import facts, unpack
from tests.support.roots import daemon, is_worked, rows
from tests.support.scripted import ScriptedExecutor

HERE = Path(__file__).parent
VERSIONS = sorted(HERE.glob("journal_v*"))


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def stored(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def expected(stored: Path) -> dict[str, Any]:
    """What has to be there in the end; None in the place of a sha256: made anew, by the version of its time."""
    found: dict[str, Any] = json.loads((stored / "expected.json").read_text())
    return found


def test_the_versions_are_found() -> None:
    assert [path.name for path in VERSIONS][:1] == ["journal_v1"]


def test_what_was_begun_is_finished(stored: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    unpack(stored, layout.root)
    assert len(rows(layout, "SELECT id FROM journal")) > 50
    report = daemon(layout, ScriptedExecutor(by_name), WATCH__MODE="polling").run(once=True)
    assert report.paused is None
    assert rows(layout, "SELECT count(*) FROM journal") == [(0,)]
    assert is_worked(layout)
    found, wanted = facts(layout.root), expected(stored)
    assert found.keys() == wanted.keys()
    for path, sha256 in wanted["files"].items():
        if sha256 is None and path in found["files"]:
            found["files"][path] = None
    for image, wanted_image in zip(found["images"], wanted["images"], strict=True):
        if wanted_image["sha256"] is None:
            image["sha256"] = None
    for key, value in wanted.items():
        assert found[key] == value, key


def test_each_cut_is_in_the_journal(stored: Path) -> None:
    """That the test above is not about nothing: what each entry names lies where that entry's cut left it."""
    connection = sqlite3.connect(":memory:")
    connection.executescript((stored / "database.sql").read_text())
    there = json.loads((stored / "files.json").read_text())
    begun: dict[str, set[str]] = {"before": set(), "moved": set(), "linked": set()}
    for (text,) in connection.execute("SELECT publication FROM journal"):
        publication = json.loads(text)
        for placement in publication["placements"]:
            at = {
                key for key in ("src", "dst") if there.get(placement[key], {}).get("inode") == placement["inode"]
            }
            assert at, placement
            state = "linked" if len(at) == 2 else "moved" if at == {"dst"} else "before"
            begun[state].add(placement["src"])
    connection.close()
    assert min(len(begun["before"]), len(begun["moved"])) > 20 and len(begun["linked"]) == 1
