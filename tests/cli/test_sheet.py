"""`hotfolder sheet`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from hotfolder.cli.sheet import run_sheet
from hotfolder.errors import EnvironmentTrouble, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.imaging.sheet import is_sheet
from hotfolder.types import Item, Kind
from tests.support.roots import daemon, picture
from tests.support.scripted import ScriptedExecutor

SCORES = {"-s1.": 4.0, "-s2.": 6.6, "-s3.": 8.0, "_4x": 8.5}


@pytest.fixture
def worked(layout: Layout) -> Layout:
    """A prompt of three, the best of which is enlarged, and a picture that is rejected."""
    (layout.inbox(Kind.GENERATE) / "cats.txt").write_text("a cat --seed 1 --count 3")
    picture(layout.inbox(Kind.SCORE) / "photo.png")

    def script(_: Kind, item: Item) -> float:
        return next((score for name, score in reversed(SCORES.items()) if name in str(item.source)), 5.5)

    daemon(layout, ScriptedExecutor(script), GATE__MAX_ATTEMPTS="1").run(once=True)
    return layout


def told(
    layout: Layout, capsys: pytest.CaptureFixture[str], file: str | None = None, most: int | None = None,
    since: str | None = None, out: Path | None = None, *, opened: bool = False,
) -> tuple[Path, list[list[object]]]:  # fmt: skip
    """The sheet, and name, score, verdict and gain of what is on it."""
    run_sheet(layout.root, Path(file) if file else None, most, since, out, opened=opened, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    with Image.open(document["sheet"]) as image:
        image.load()
        assert image.size == (document["width"], document["height"])
    keys = ("path", "score", "verdict", "gain")
    return Path(document["sheet"]), [[row[key] for key in keys] for row in document["images"]]


BEST: list[object] = ["upscaled/cats-s3_4x.png", 8.5, "keep", 0.5]


def test_the_best_of_a_root_each_once(worked: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    place, images = told(worked, capsys)
    assert place == worked.root / "contact-sheet.png"
    assert images == [
        BEST, ["keep/cats-s2.png", 6.6, "keep", None], ["reject/photo.png", 5.5, "reject", None],
        ["reject/cats-s1.png", 4.0, "reject", None],
    ]  # fmt: skip
    assert told(worked, capsys, most=1, since="1h") == (place, [BEST])  # over the older sheet
    assert told(worked, capsys, since="2100-01-01")[1] == []  # a sheet that says so


def test_what_came_of_a_file(worked: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    (worked.root / "keep/cats-s2.png").unlink()  # its place stays
    family = [BEST, ["keep/cats-s2.png", 6.6, "keep", None], ["reject/cats-s1.png", 4.0, "reject", None]]
    for file in ("inbox/generate/cats.txt", "archive/cats.txt", "keep/cats-s3.png", "upscaled/cats-s3_4x.png"):
        assert told(worked, capsys, file)[1] == family, file
    assert told(worked, capsys, "reject/photo.png")[1] == [["reject/photo.png", 5.5, "reject", None]]
    with pytest.raises(UsageError, match="not in the database"):
        told(worked, capsys, "nothing.png")


def test_no_other_file_is_overwritten(worked: Layout, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mine = picture(tmp_path / "mine.png")
    before = mine.read_bytes()
    for place in (mine, tmp_path):
        with pytest.raises(UsageError) as found:
            told(worked, capsys, out=place)
        assert "--out" in found.value.fix
    assert mine.read_bytes() == before
    place, _ = told(worked, capsys, out=tmp_path / "new/sheet.png")
    assert is_sheet(place)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if not os.access(closed, os.W_OK):  # root may
        with pytest.raises(UsageError, match="cannot be written"):
            told(worked, capsys, out=closed / "sheet.png")
    with pytest.raises(UsageError, match=r"sheet\.jpg would be a PNG"):  # and not what its name says
        told(worked, capsys, out=tmp_path / "sheet.jpg")


def test_it_is_opened_if_asked_for(
    worked: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def launch(path: str, code: int = 0) -> int:
        opened.append(path)
        return code

    monkeypatch.setattr("typer.launch", launch)
    place, _ = told(worked, capsys, opened=True)
    assert opened == [str(place)]
    monkeypatch.setattr("typer.launch", lambda path: launch(path, 3))
    with pytest.raises(EnvironmentTrouble, match="no program was found"):
        told(worked, capsys, opened=True)
