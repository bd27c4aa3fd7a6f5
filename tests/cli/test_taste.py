"""`hotfolder taste`: what it says, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hotfolder.folders.layout import Layout
from tests.support.in_process import hotfolder
from tests.support.tasting import cull, judged_root, work


@pytest.fixture(scope="module")
def culled_once(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = judged_root(tmp_path_factory.mktemp("taste"), 120)
    cull(layout)
    work(layout, TASTE__TRAIN_AFTER="0")
    return layout


@pytest.fixture
def culled(culled_once: Layout, tmp_path: Path) -> Layout:
    shutil.copytree(culled_once.root, tmp_path / "root", symlinks=True)
    return Layout(tmp_path / "root")


def told(layout: Layout, *arguments: object, code: int = 0) -> Any:
    done = hotfolder("taste", *arguments, "--root", layout.root, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_status_says_what_is_known_and_draws_it(culled: Layout, tmp_path: Path) -> None:
    (found,) = told(culled, "status")["tastes"]
    assert found["inbox"] == "score" and found["level"] == "direction" and found["in_use"] is None
    assert found["labels"] == 120 and found["direction"]["passes"] and found["heads"] == []
    done = hotfolder("taste", "status", "score", "--png", tmp_path / "spread.png", "--root", culled.root)
    assert done.returncode == 0
    assert (
        "you keep from" in done.stdout
        and "AUC" in done.stdout
        and "gate 6.5" in done.stdout
        and "█" in done.stdout
    )
    with Image.open(tmp_path / "spread.png") as image:
        assert image.size[0] > 400 and len(image.getcolors(10**6) or []) > 5
    png = ("taste", "status", "score", "--root", culled.root, "--png")
    assert hotfolder(*png, tmp_path / "spread.png").returncode == 0  # again, in the place of the older one
    Image.new("RGB", (8, 8)).save(tmp_path / "mine.png")
    before = (tmp_path / "mine.png").read_bytes()
    assert (
        "mine.png is there already, and is no picture of a taste" in hotfolder(*png, tmp_path / "mine.png").stderr
    )
    assert (tmp_path / "mine.png").read_bytes() == before
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it
    assert "pipe is there already" in hotfolder(*png, tmp_path / "pipe").stderr
    (tmp_path / "empty.png").touch()
    assert hotfolder(*png, tmp_path / "empty.png").returncode == 0
    refused = hotfolder(*png, tmp_path / "my spread.jpg").stderr
    assert f"let the name end in .png: --png '{tmp_path / 'my spread.png'}'" in refused


def test_nothing_is_known_of_a_new_root(layout: Layout) -> None:
    work(layout)
    assert told(layout, "status")["tastes"] == []
    assert told(layout, "use", code=2)["error"]["kind"] == "usage"
    assert told(layout, "status", "nowhere", code=2)["error"]["message"] == "there is no inbox 'nowhere'"


def test_train_use_and_off(culled: Layout) -> None:
    (found,) = told(culled, "train")["tastes"]
    assert (culled.tastes / f"{found['offered']}.safetensors").exists()
    assert told(culled, "status")["tastes"][0]["in_use"] is None
    assert told(culled, "use")["head"] == found["offered"]
    assert told(culled, "status")["tastes"][0]["in_use"] == found["offered"]
    assert told(culled, "off")["before"] == found["offered"]
    assert told(culled, "status")["tastes"][0]["in_use"] is None


def test_labels_go_out_and_come_back(culled: Layout, tmp_path: Path) -> None:
    done = hotfolder("taste", "export", "--root", culled.root)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 120 and {row["verdict"] for row in rows} == {"keep", "reject"}
    before = told(culled, "status")["tastes"][0]
    assert told(culled, "forget", "--yes")["looks"] > 0
    assert told(culled, "status", "score")["tastes"][0]["labels"] == 0
    table = tmp_path / "labels.csv"
    table.write_text(done.stdout + "score," + "0" * 64 + ",gone.png,keep,1,,1\n")
    assert told(culled, "import", table) == {
        "schema_version": 1, "root": str(culled.root), "added": {"score": 120}, "unknown": 1,
    }  # fmt: skip
    after = told(culled, "status", "score")["tastes"][0]
    assert after["digest"] == before["digest"] and after["direction"] == before["direction"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no columns"),
        ("path,verdict\n{path},maybe\n", "line 2: verdict is keep or reject"),
        ("path,verdict,weight\n{path},keep,7\n", "line 2: a weight"),
        ("path,verdict,at\n{path},keep,yesterday\n", "line 2"),
        ("path,verdict,at\n{path},keep,9999-12-31T23:59:59-12:00\n", "line 2: at is not before 1970"),
        ("path,verdict,at\n{path},keep,1812-01-01\n", "line 2: at is not before 1970"),
    ],
)
def test_a_table_that_is_not_understood_takes_nothing(
    culled: Layout, tmp_path: Path, text: str, message: str
) -> None:
    path = next((culled.root / "keep").iterdir()).relative_to(culled.root)
    (tmp_path / "labels.csv").write_text(text.replace("{path}", str(path)))
    assert message in told(culled, "import", tmp_path / "labels.csv", code=2)["error"]["message"]
    assert not (culled.tastes / "notes.json").exists()


def test_forgetting_wants_a_yes(culled: Layout) -> None:
    assert "cannot be undone" in told(culled, "forget", code=2)["error"]["message"]


def test_scoring_by_a_taste_that_is_not_there_is_refused(layout: Layout, tmp_path: Path) -> None:
    work(layout)
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    done = hotfolder("score", tmp_path / "a.png", "--scorer", "taste", "--root", layout.root, "--json")
    assert done.returncode == 2
    assert "no taste is known of inbox/score" in done.stdout
