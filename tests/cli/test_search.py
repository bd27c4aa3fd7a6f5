"""Images are found by words, and by other images."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotfolder.cli import alike
from hotfolder.cli.search import Wanted, run_search
from hotfolder.demo.pictures import draw_landscape
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
        like, by = wanted.pop("like", None), wanted.pop("by", "words")
        run_search(self._root, words, like, by, Wanted(**{"most": 20, **wanted}), as_json=True)
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
    (found,) = search("L1-s2")  # in no name that was dropped
    assert (Path(found["path"]).name, found["found_in"]) == ("animals-L1-s2.png", ["path"])
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
        with pytest.raises(UsageError, match="search by words, or --like"):
            search(*nothing)


def test_what_is_gone_is_not_found(search: Search, worked: Layout) -> None:
    (worked.root / "reject/other.png").unlink()
    daemon(worked, ScriptedExecutor(lambda *_: 5.0), WATCH__MODE="polling").run(once=True)
    assert search.paths("other") == []
    assert rows(worked, "SELECT count(*) FROM results WHERE path IS NULL") == [(1,)]


def test_what_files_and_prompts_say_is_printed_harmlessly(
    worked: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    run_search(worked.root, ["dog"], None, "words", Wanted(20), as_json=False)
    told = capsys.readouterr().out
    assert "animals-L2-s1.png" in told and "\x1b" not in told
    run_search(worked.root, ["nothing like it"], None, "words", Wanted(20), as_json=False)
    assert capsys.readouterr().out == "no prompt, file name or note says that\n"


# --- by embeddings --------------------------------------------------------------------------------


@pytest.fixture
def landscapes(layout: Layout) -> Layout:
    """Five landscapes, a copy of the second, which is enlarged, and a copy of the third, which is rejected."""
    inbox = layout.inbox(Kind.SCORE)
    for number in range(5):
        draw_landscape(number).save(inbox / f"{number}.png")
    draw_landscape(1).resize((200, 150)).save(inbox / "copy of 1.png")
    draw_landscape(2).save(inbox / "copy of 2.jpg", quality=60)

    def script(kind: Kind, item: Item) -> float:
        name = Path(str(item.source)).stem
        return 4.0 if name.endswith("of 2") else 7.0 if name == "1" else 6.6

    daemon(layout, ScriptedExecutor(script), WATCH__MODE="polling").run(once=True)
    return layout


def test_images_like_a_result(landscapes: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    search = Search(landscapes, capsys)
    found = search(like="keep/2.png")
    assert (found[0]["path"], found[0]["is_copy"]) == ("reject/copy of 2.jpg", True)
    assert [each["alike"] for each in found] == sorted((each["alike"] for each in found), reverse=True)
    assert not any(each["is_copy"] for each in found[1:])
    # Of 1 and what was enlarged from it only one is told, and neither where they are asked for.
    assert len(found) == 6 and sum("/1" in each["path"] for each in found) == 1
    (number,) = rows(landscapes, "SELECT image_id FROM results WHERE path = 'upscaled/1_4x.png'")[0]
    assert [each["path"] for each in search(like=str(number), most=2) if each["is_copy"]] == ["keep/copy of 1.png"]
    assert not any(each["verdict"] == "reject" for each in search(like="2.png", verdict="keep"))
    assert search(like="keep/2.png", since="2999-01-01") == []
    run_search(landscapes.root, [], "keep/2.png", "words", Wanted(1), as_json=False)
    told, said = capsys.readouterr()
    assert "copy 1.00" in told and said == "by embeddings of layout\n"


def test_what_is_not_known_is_not_like_anything(landscapes: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    search = Search(landscapes, capsys)
    for like, said in (
        ("nowhere.png", "not in the database"),
        ("4711", "there is no image 4711"),
        ("²", "not in the database"),
    ):
        with pytest.raises(UsageError, match=said):
            search(like=like)
    for options in ({"like": "keep/2.png", "by": "colour"}, {"by": "picture"}):
        with pytest.raises(UsageError):
            search(**options)
    with pytest.raises(UsageError, match="no scorer has looked at them with CLIP"):
        search("a red car", by="picture")
    with pytest.raises(UsageError, match="search by words, or --like"):
        search("cat", like="keep/2.png")


def test_words_find_what_is_seen(
    landscapes: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By CLIP where it has looked; its text tower is a stand-in here."""
    encoder, asked = "clip-vit-l-14/centrecrop/0123456789abcdef", []
    connection = sqlite3.connect(landscapes.database)
    with connection:
        for path, sha256 in connection.execute("SELECT path, sha256 FROM images").fetchall():
            angle = int(Path(path).stem[0]) if Path(path).stem[0].isdigit() else 9
            vector = np.array([np.cos(angle / 9), np.sin(angle / 9)], "<f2").tobytes()
            connection.execute("INSERT INTO embeddings VALUES (?, ?, ?)", (sha256, encoder, vector))
    connection.close()

    def made(_layout: Layout, _settings: object, wanted: str, item: Item) -> dict[str, bytes]:
        asked.append((wanted, item.params))
        return {encoder: np.array([np.cos(3 / 9), np.sin(3 / 9)], "<f2").tobytes()}

    monkeypatch.setattr(alike, "_made", made)
    search = Search(landscapes, capsys)
    assert search.paths("a red car", by="picture")[0] == "keep/3.png"
    assert asked == [(encoder, {"words": "a red car"})]
    assert [Path(path).stem[0] for path in search.paths(like="keep/4.png")[:2]] == ["3", "2"]
    monkeypatch.setattr(alike, "_made", lambda *_: {"clip-vit-l-14/letterbox/0123456789abcdef": b"\0\0\0\0"})
    with pytest.raises(UsageError, match="are others now"):
        search("a red car", by="picture")


@pytest.mark.slow
def test_images_like_any_file(
    landscapes: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOTFOLDER_EXECUTOR__KIND", "inline")
    search = Search(landscapes, capsys)
    draw_landscape(4).crop((8, 0, 312, 228)).save(tmp_path / "crop.jpg")
    found = search(like=str(tmp_path / "crop.jpg"))
    assert (found[0]["path"], [each["is_copy"] for each in found]) == ("keep/4.png", [True] + 6 * [False])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"broken\.png"):
        search(like=str(tmp_path / "broken.png"))
    assert rows(landscapes, "SELECT count(*) FROM results WHERE path LIKE '%crop%'") == [(0,)]
