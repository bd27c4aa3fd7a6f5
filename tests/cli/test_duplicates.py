"""Copies among the results: which is the best, and all others rejected in one go."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hotfolder.cli.duplicates import run_duplicates
from hotfolder.cli.verdicts import run_undo, run_verdict
from hotfolder.demo.pictures import draw_landscape
from hotfolder.errors import ExitCode, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.types import Item, Kind, Verdict
from tests.support.roots import check_consistent, daemon, files_in, rows
from tests.support.scripted import ScriptedExecutor

SCORES = {"a": 6.9, "a-small": 6.95, "a-crop": 6.6, "b": 6.7, "b-jpeg": 6.8, "c": 6.6, "d-bad": 4.0, "d": 6.6}


@pytest.fixture
def worked(layout: Layout) -> Layout:
    """Copies of a, of b (of which the better one is enlarged) and of d (of which one is rejected); c is alone."""
    inbox = layout.inbox(Kind.SCORE)
    pictures = {name: draw_landscape(number) for number, name in enumerate("abcd")}
    for name, image in pictures.items():
        image.save(inbox / f"{name}.png")
    pictures["a"].resize((160, 120)).save(inbox / "a-small.png")
    pictures["a"].crop((8, 4, 312, 232)).save(inbox / "a-crop.png")
    pictures["b"].save(inbox / "b-jpeg.jpg", quality=70)
    pictures["d"].save(inbox / "d-bad.png", compress_level=1)

    def script(kind: Kind, item: Item) -> float:
        name = Path(str(item.source)).stem
        return 7.5 if "_4x" in name else SCORES[name]

    daemon(layout, ScriptedExecutor(script), WATCH__MODE="polling", GATE__UPSCALE="6.75").run(once=True)
    assert files_in(layout, "upscaled") == [
        "upscaled/a-small_4x.png",
        "upscaled/a_4x.png",
        "upscaled/b-jpeg_4x.png",
    ]
    return layout


class Duplicates:
    def __init__(self, layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
        self._root, self._capsys = layout.root, capsys

    def __call__(self, **options: Any) -> dict[str, Any]:
        wanted = {"threshold": None, "move_to": None, "rejected_too": False, **options}
        run_duplicates(self._root, as_json=True, **wanted)
        document: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        assert document["schema_version"] == 1
        return document

    def groups(self, **options: Any) -> list[tuple[str, list[str]]]:
        found = self(**options)["groups"]
        return [
            (each["best"]["files"][0], [copy["files"][0] for copy in each["copies"]])
            for each in sorted(found, key=lambda each: str(each["best"]["files"]))
        ]


@pytest.fixture
def duplicates(worked: Layout, capsys: pytest.CaptureFixture[str]) -> Duplicates:
    return Duplicates(worked, capsys)


def test_copies_are_grouped_and_the_best_is_named(duplicates: Duplicates) -> None:
    assert duplicates.groups() == [
        ("keep/a.png", ["keep/a-small.png", "keep/a-crop.png"]), ("keep/b-jpeg.jpg", ["keep/b.png"]),
    ]  # fmt: skip
    first, second = duplicates()["groups"]
    assert {first["best"]["why"], second["best"]["why"]} == {
        "it is the largest: 320×240, and none has a higher score", "its score is the highest: 7.50, the next 6.70",
    }  # fmt: skip
    assert ("keep/d.png", ["reject/d-bad.png"]) in duplicates.groups(rejected_too=True)
    assert duplicates.groups(threshold=1.0) == []


def test_all_but_the_best_are_rejected_in_one_go(
    duplicates: Duplicates, worked: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_in(worked, "keep", "reject", "upscaled")
    told = duplicates(move_to="reject")
    assert (told["waits"], len(told["moved"])) == (False, 4)
    assert files_in(worked, "keep", "upscaled") == [
        "keep/a.png", "keep/b-jpeg.jpg", "keep/c.png", "keep/d.png", "upscaled/a_4x.png", "upscaled/b-jpeg_4x.png",
    ]  # fmt: skip
    assert rows(worked, "SELECT DISTINCT verdict, how FROM verdicts WHERE by = 'person'") == [
        ("reject", "command")
    ]
    check_consistent(worked)
    assert duplicates.groups() == []
    run_undo(worked.root, 1, dry_run=False, as_json=True)
    capsys.readouterr()
    assert files_in(worked, "keep", "reject", "upscaled") == before
    assert len(duplicates.groups()) == 2


def test_what_a_person_kept_is_the_best_and_never_rejected(
    duplicates: Duplicates, worked: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [worked.root / "keep/a-crop.png", worked.root / "keep/a-small.png"]
    run_verdict(worked.root, Verdict.KEEP, paths, dry_run=False, as_json=True)
    capsys.readouterr()
    told = duplicates(move_to="reject")
    best = next(each["best"] for each in told["groups"] if "a" in Path(each["best"]["path"]).name)
    assert best["why"] == "you kept it"
    assert [path for path in files_in(worked, "keep") if "/a" in path] == ["keep/a-crop.png", "keep/a-small.png"]


def test_it_is_told_in_words(duplicates: Duplicates, worked: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    code = run_duplicates(worked.root, None, "reject", rejected_too=False, as_json=False)
    told = capsys.readouterr().out
    assert code == ExitCode.DONE
    assert "upscaled/b-jpeg_4x.png and 1 more file of it  7.50  320×240  the best: its score is" in told
    assert "3 copies of 2 images\n4 files went to reject/; take it back with: hotfolder undo\n" in told
    run_duplicates(worked.root, None, None, rejected_too=False, as_json=False)
    assert capsys.readouterr().out == "no copies\n"


def test_what_makes_no_sense_is_refused(duplicates: Duplicates, worked: Layout) -> None:
    with pytest.raises(UsageError, match="--move-to keep"):
        duplicates(move_to="keep")
    for threshold in (0.2, 1.5, float("nan")):
        with pytest.raises(UsageError, match="--threshold"):
            duplicates(threshold=threshold)


def test_images_that_nobody_looked_at_are_counted(duplicates: Duplicates, worked: Layout) -> None:
    def forget(where: str) -> None:
        connection = sqlite3.connect(worked.database)
        with connection:
            connection.execute(f"DELETE FROM embeddings WHERE {where}")
        connection.close()

    forget("sha256 IN (SELECT sha256 FROM images WHERE path = 'keep/c.png')")
    assert duplicates()["unseen"] == 1
    forget("1")
    with pytest.raises(UsageError, match="nothing is known yet") as error:
        duplicates()
    assert "rescore" in error.value.fix


def test_links_and_names_do_no_harm(duplicates: Duplicates, worked: Layout, tmp_path: Path) -> None:
    """What lies in a copy's place by now is not moved."""
    Image.new("RGB", (8, 8)).save(tmp_path / "other.png")
    (worked.root / "keep/b.png").unlink()
    (worked.root / "keep/b.png").symlink_to(tmp_path / "other.png")
    told = duplicates(move_to="reject")
    assert [each for each in told["moved"] if "error" in each]
    assert (tmp_path / "other.png").exists() and (worked.root / "keep/b.png").is_symlink()
