"""Images are found by words."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hotfolder.cli.search import Wanted, run_search
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.types import Item, Kind
from tests.support.roots import daemon, picture, rows
from tests.support.scripted import ScriptedExecutor

SCORES = {"1": 4.0, "2": 6.6, "3": 8.0}


@pytest.fixture
def worked(layout: Layout) -> Layout:
    """Three tries of one prompt, of which one is enlarged, two of another; and two dropped pictures."""
    (layout.inbox(Kind.GENERATE) / "animals.txt").write_text(
        "a red cat --seed 1 --count 3\nÉté: a dog and a \x1b[1m red ball --seed 1 --count 2\n"
    )
    picture(layout.inbox(Kind.SCORE) / "holiday/Beach_cat 1.png")
    picture(layout.inbox(Kind.SCORE) / "other.png", 1)

    def script(kind: Kind, item: Item) -> float:
        name = Path(str(item.source)).stem
        return 8.5 if "_4x" in name else SCORES.get(name[-1], 5.5)

    settings = {"GATE__MAX_ATTEMPTS": "1", "WATCH__MODE": "polling"}
    daemon(layout, ScriptedExecutor(script), **settings).run(once=True)
    return layout


class Search:
    def __init__(self, layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
        self._root, self._capsys = layout.root, capsys

    def __call__(self, *words: str, **wanted: Any) -> list[dict[str, Any]]:
        run_search(self._root, words, Wanted(**{"most": 20, **wanted}), as_json=True)
        document = json.loads(self._capsys.readouterr().out)
        assert document["schema_version"] == 1
        found: list[dict[str, Any]] = document["found"]
        return found

    def paths(self, *words: str, **wanted: Any) -> list[str]:
        return [each["path"] for each in self(*words, **wanted)]


@pytest.fixture
def search(worked: Layout, capsys: pytest.CaptureFixture[str]) -> Search:
    return Search(worked, capsys)


def test_all_words_are_said_and_the_best_is_first(search: Search) -> None:
    assert search.paths("CATS") == []
    red_cats = search.paths("red cat")
    assert red_cats == search.paths("red", "cat") == search.paths("cat", "red")
    assert [Path(path).name for path in red_cats] == [
        "animals-L1-s3_4x.png", "animals-L1-s2.png", "animals-L1-s1.png",
    ]  # fmt: skip
    assert len(search.paths("red")) == 5
    assert search.paths('"red ball" dog', most=1) == search.paths("red ball")[:1]
    assert len(search.paths("été")) == 2


def test_file_names_and_notes_are_searched_too(search: Search, worked: Layout) -> None:
    (found,) = search("beach", "holiday")
    assert (found["path"], found["found_in"]) == ("reject/holiday/Beach_cat 1.png", ["path", "source_file"])
    assert search.paths("keep") == search.paths("score") == search.paths("inbox") == []  # our folders are no words
    connection = sqlite3.connect(worked.database)
    with connection:
        connection.execute(
            "UPDATE images SET settings = json_object('notes', json_array('its colour profile is broken'))"
            " WHERE path LIKE '%other.png'"
        )
    connection.close()
    (found,) = search("colour profile")
    assert (found["path"], found["found_in"]) == ("reject/other.png", ["notes"])


def test_filters(search: Search, worked: Layout) -> None:
    assert {each["verdict"] for each in search("red", verdict="reject")} == {"reject"}
    assert search.paths("red", since="2d") == search.paths("red")
    assert search.paths("red", since="2999-01-01") == []
    with pytest.raises(UsageError, match="--verdict maybe"):
        search("red", verdict="maybe")
    for nothing in ([], ["  "], ['""']):
        with pytest.raises(UsageError, match="nothing to search for"):
            search(*nothing)


def test_what_is_gone_is_not_found(search: Search, worked: Layout) -> None:
    (worked.root / "reject/other.png").unlink()
    daemon(worked, ScriptedExecutor(lambda *_: 5.0), WATCH__MODE="polling").run(once=True)
    assert search.paths("other") == []
    assert rows(worked, "SELECT count(*) FROM results WHERE path IS NULL") == [(1,)]


def test_what_files_and_prompts_say_is_printed_harmlessly(
    worked: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    run_search(worked.root, ["dog"], Wanted(20), as_json=False)
    told = capsys.readouterr().out
    assert "animals-L2-s1.png" in told and "\x1b" not in told
    run_search(worked.root, ["nothing like it"], Wanted(20), as_json=False)
    assert capsys.readouterr().out == "no prompt, file name or note says that\n"
