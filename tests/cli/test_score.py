"""`hotfolder score` and `hotfolder rescore`."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hotfolder.demo.pictures import draw_landscape
from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.folders.layout import Layout
from hotfolder.printable import printable
from hotfolder.types import Kind
from tests.support.in_process import hotfolder
from tests.support.live import wait_for
from tests.support.roots import picture, rows
from tests.support.standin import StandInEncoder, StandInPrompted, ensemble
from tests.support.stars import stars_in

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no root in sight."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("HOTFOLDER_ROOT", raising=False)
    monkeypatch.chdir(folder)
    return folder


def break_in(path: Path, way: int) -> None:
    """One of twenty ways to be no picture."""
    data = path.read_bytes()
    broken = [
        b"",
        b"this is text",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\x03\x04" + bytes(60),
        b"%PDF-1.7\n",
        b"GIF89a",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"\x89PNG\r\n\x1a\n",
        bytes(100),
        data[::-1],
        *(data[: len(data) * share // 100] for share in (5, 15, 30, 50, 70, 85, 95)),
        data[:60] + bytes(40) + data[100:],
        data[: data.index(b"IDAT") + 20] + b"\xff" * 30 + data[data.index(b"IDAT") + 50 :],
        data.replace(b"IEND", b"IENX"),
    ][way]
    path.write_bytes(broken)


def test_of_500_pictures_20_are_broken_and_480_are_judged(nowhere: Path) -> None:
    paths = [picture(nowhere / "in" / f"{number:03d}.png", number, (48, 40)) for number in range(500)]
    for way in range(20):
        break_in(paths[way * 25], way)
    done = hotfolder("score", "in", "--json")
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert (told["count"], told["errors"], len(told["scores"])) == (480, 20, 500)
    assert [row["image"] for row in told["scores"]] == [f"in/{number:03d}.png" for number in range(500)]
    wrong = [row for row in told["scores"] if "error" in row]
    assert [row["image"] for row in wrong] == [f"in/{way * 25:03d}.png" for way in range(20)]
    assert {row["error"]["kind"] for row in wrong} == {"empty_file", "not_an_image", "truncated_image"}
    assert all(row["error"]["message"] and row["error"]["fix"] for row in wrong)
    scores = [row["score"] for row in told["scores"] if "score" in row]
    assert told["mean_score"] == pytest.approx(np.mean(scores), abs=1e-3)
    assert told["schema_version"] == 1
    assert told["scorer"] == "technical"


def test_a_table_in_the_order_given_with_verdicts_and_the_mean(nowhere: Path) -> None:
    draw_landscape(1).save(nowhere / "good.png")
    Image.new("RGB", (300, 300), "black").save(nowhere / "dull.png")
    done = hotfolder("score", "good.png", "dull.png", "nothing.png")
    assert done.returncode == 3
    first, second, third, last = done.stdout.splitlines()
    name, score, verdict = first.split()
    assert (name, verdict) == ("good.png", "keep")
    assert float(score) >= 6.5
    assert second.split()[2] == "reject"
    assert third.split()[2:] == ["vanished:", "no", "such", "file"]
    assert last.startswith("mean ") and last.endswith(" of 2 images, 1 failed")


def test_a_scorer_by_prompts_takes_the_commands_or_the_files_own(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = nowhere / ".local/share/hotfolder/models/clip-vit-l-14/clip-vit-l-14.safetensors"
    tower.parent.mkdir(parents=True)
    tower.touch()
    judges = ensemble("clip-align", StandInPrompted("clip-align", StandInEncoder()))
    monkeypatch.setattr(ScorerEnsemble, "load", lambda *_: judges)
    image = Image.new("RGB", (20, 10), (255, 102, 0))
    image.save("a.png")
    info = PngInfo()
    info.add_text("parameters", "very green\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 20x10")
    image.save("b.png", pnginfo=info)
    done = hotfolder("score", "a.png", "b.png", "--scorer", "clip-align", "--json")
    without, own = json.loads(done.stdout)["scores"]
    assert done.returncode == 3
    assert without["error"]["kind"] == "no_prompt" and "--prompt" in without["error"]["fix"]
    assert own["score"] == pytest.approx(4.6)
    done = hotfolder("score", "a.png", "b.png", "--scorer", "clip-align", "--prompt", "all red", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["score"] for row in json.loads(done.stdout)["scores"]] == pytest.approx([10, 10])


def test_csv_and_several_scorers(nowhere: Path) -> None:
    draw_landscape(1).save(nowhere / "a,b.png")
    done = hotfolder("score", "a,b.png", "--csv", "--scorer", "0.5*technical + 1")
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["image"] == "a,b.png"
    assert (row["width"], row["height"], row["error"]) == ("320", "240", "")
    technical = json.loads(hotfolder("score", "a,b.png", "--json").stdout)["scores"][0]["score"]
    assert float(row["score"]) == pytest.approx(technical / 2 + 1, abs=2e-4)


def test_folders_globs_and_what_is_passed_over(nowhere: Path) -> None:
    for name in ("in/a.png", "in/b.JPG", "in/deep/c.png", "in/deep/er/d.webp", "in/.hidden.png"):
        path = nowhere / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_landscape(1).save(path.with_suffix(path.suffix.lower()))
        path.with_suffix(path.suffix.lower()).rename(path)
    (nowhere / "in/notes.txt").write_text("no image")
    os.mkfifo(nowhere / "in/pipe.png")

    def judged(*arguments: str) -> list[str]:
        done = hotfolder("score", *arguments, "--json")
        return [row["image"] for row in json.loads(done.stdout)["scores"]]

    assert judged("in") == ["in/a.png", "in/b.JPG"]
    assert judged("in", "-r") == ["in/a.png", "in/b.JPG", "in/deep/c.png", "in/deep/er/d.webp"]
    assert judged("in/b.JPG", "in/*.png", "in/a.png") == ["in/b.JPG", "in/a.png", "in/pipe.png"]
    assert judged("in/**/*.webp") == ["in/deep/er/d.webp"]
    assert "1 files are no images by their names" in hotfolder("score", "in").stderr
    pipe = json.loads(hotfolder("score", "in/pipe.png", "--json").stdout)
    assert pipe["scores"][0]["error"]["message"] == "not a file"


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["empty"], "no images in empty", 2),
        (["*.jpg"], "nothing matches *.jpg", 2),
        (["a.png", "--json", "--csv"], "do not go together", 2),
        (["a.png", "--scorer", "tecnical"], "did you mean 'technical'?", 2),
        (["a.png", "--scorer", "2 *"], "column 4: expected a scorer", 2),
        (["a.png", "--scorer", "technical", "--prompt", "a cat"], "--prompt changes nothing", 2),
        (["a.png", "--scorer", "technical", "--prompt", " "], "--prompt is empty", 2),
        (["a.png", "--scorer", "laion-v2"], "is not on this machine", 4),
        (["a.png", "--scorer", "shapes"], "does not score", 2),
        (["a.png", "--root", "/nowhere"], "has no hotfolder.toml", 2),
    ],
)
def test_what_cannot_be_done_is_said_with_a_remedy(
    nowhere: Path, arguments: list[str], says: str, code: int
) -> None:
    (nowhere / "empty").mkdir()
    picture(nowhere / "a.png", 1)
    done = hotfolder("score", *arguments)
    assert says in done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_names_do_not_steer_the_terminal(nowhere: Path) -> None:
    name = "\x1b[31mred\n\udcff.png"
    draw_landscape(1).save(nowhere / "a.png")
    (nowhere / "a.png").rename(nowhere / name)
    done = hotfolder("score", ".")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(r"\x1b[31mred\n\udcff.png ")
    assert printable("plain – ü") == "plain – ü"
    assert json.loads(hotfolder("score", ".", "--json").stdout)["scores"][0]["image"] == name
    assert r"\udcff" in hotfolder("score", ".", "--csv").stdout


def test_interrupted_it_says_what_it_knows_and_leaves_no_worker(nowhere: Path) -> None:
    for number in range(2000):
        (nowhere / "in").mkdir(exist_ok=True)
        os.link(
            picture(nowhere / "a.png", 1, (1500, 1500)) if number == 0 else nowhere / "a.png",
            nowhere / "in" / f"{number:04d}.png",
        )
    said = nowhere / "stderr.txt"
    with said.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hotfolder", "score", "in", "--json"],
            stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    wait_for(lambda: re.search(r": [1-9]\d*/2000 ", said.read_text()) is not None, 120, "some are judged")
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=240)
    err = said.read_text()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    told = json.loads(out)
    assert 0 < told["count"] < 2000
    assert told["errors"] == 0
    names = [row["image"] for row in told["scores"]]
    assert len(names) == told["count"]
    assert set(names) < {f"in/{number:04d}.png" for number in range(2000)}
    assert [row for row in told["scores"] if not 1 <= row["score"] <= 10] == []
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []


# --- rescore -------------------------------------------------------------------------------------


@pytest.fixture
def judged(layout: Layout) -> Layout:
    """A root whose pictures have been judged by `technical`."""
    for number in range(3):
        path = layout.inbox(Kind.SCORE) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_landscape(number).save(path)
    assert hotfolder("run", "--once", "--root", layout.root).returncode == 0
    return layout


def test_embeddings_are_kept_with_the_scores(judged: Layout) -> None:
    found = rows(judged, "SELECT encoder, length(vector) FROM embeddings")
    images = rows(judged, "SELECT DISTINCT sha256 FROM results")
    assert len(found) == 2 * len(images) >= 6
    assert {(encoder.partition("/")[0], length) for encoder, length in found} == {
        ("technical", 2 * 192),
        ("layout", 2 * 384),
    }


def test_rescoring_looks_at_what_has_no_layout_yet(judged: Layout) -> None:
    import sqlite3

    before = rows(judged, "SELECT sha256, vector FROM embeddings WHERE encoder LIKE 'layout/%' ORDER BY 1")
    with sqlite3.connect(judged.database) as connection:
        connection.execute("DELETE FROM embeddings WHERE encoder LIKE 'layout/%'")
    gone, sha256 = rows(judged, "SELECT path, sha256 FROM results WHERE role = 'dropped' LIMIT 1")[0]
    (judged.root / gone).unlink()  # it has its score still
    done = hotfolder("rescore", "--root", judged.root, "--json")
    assert (done.returncode, json.loads(done.stdout)["errors"]) == (0, [])
    after = rows(judged, "SELECT sha256, vector FROM embeddings WHERE encoder LIKE 'layout/%' ORDER BY 1")
    assert after == [row for row in before if row[0] != sha256]


def test_rescoring_needs_no_pictures_and_writes_nothing_twice(judged: Layout) -> None:
    before = rows(judged, "SELECT image_id, score FROM results ORDER BY image_id")
    count = len(before)
    for path in [*judged.root.glob("keep/*"), *judged.root.glob("reject/*"), *judged.root.glob("upscaled/*")]:
        path.unlink()  # only what the database holds is left
    done = hotfolder("rescore", "--root", judged.root, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["images"], told["added"], told["errors"]) == (count, 0, [])
    formula = "2*technical - 1"
    for added in (count, 0):
        told = json.loads(hotfolder("rescore", "--root", judged.root, "--scorer", formula, "--json").stdout)
        assert (told["scorer"], told["images"], told["added"]) == (formula, count, added)
    beside = dict(
        rows(judged, "SELECT image_id, score FROM image_scores WHERE scorer = ? AND NOT is_gate", [formula])
    )
    assert beside == pytest.approx({image: 2 * score - 1 for image, score in before})
    # The gate's score is what it was.
    assert rows(judged, "SELECT image_id, score FROM results ORDER BY image_id") == before


def test_the_configured_formula_becomes_what_the_gate_looks_at(judged: Layout) -> None:
    gain = rows(judged, "SELECT gain FROM score_gain ORDER BY 1")
    config = judged.root / "hotfolder.toml"
    config.write_text(config.read_text().replace("[gate]", '[gate]\nscore = "0.5*technical + 5"', 1))
    assert hotfolder("rescore", "--root", judged.root).returncode == 0
    assert rows(judged, "SELECT DISTINCT scorer FROM results") == [("0.5*technical + 5",)]
    # Parent and enlarged image are compared by one and the same scorer.
    halved = rows(judged, "SELECT gain FROM score_gain ORDER BY 1")
    assert [g for (g,) in halved] == pytest.approx([g / 2 for (g,) in gain])
    back = hotfolder("rescore", "--root", judged.root, HOTFOLDER_GATE__SCORE="technical")
    assert back.returncode == 0
    assert rows(judged, "SELECT DISTINCT scorer FROM results") == [("technical",)]


def test_a_picture_that_is_gone_is_an_error_row(judged: Layout) -> None:
    (path,) = rows(judged, "SELECT path FROM results WHERE role = 'dropped' LIMIT 1")[0]
    (judged.root / path).unlink()
    import sqlite3

    with sqlite3.connect(judged.database) as connection:
        connection.execute("DELETE FROM embeddings")
        connection.execute("DELETE FROM scores")
    done = hotfolder("rescore", "--root", judged.root)
    assert done.returncode == 3
    assert f"{path}: vanished: " in done.stdout
    assert rows(judged, "SELECT count(*) FROM results WHERE score IS NULL") == [(1,)]


def test_the_bench_measures_every_part(nowhere: Path) -> None:
    done = hotfolder("bench", "score", "--images", "6", "--size", "64", "--naive", "3", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    rates = told["images_per_second"]
    assert set(rates) == {"decode_one_thread", "decode_pool", "tower", "end_to_end", "naive_loop"}
    assert min(rates.values()) > 0
    assert told["times_naive"] == pytest.approx(rates["end_to_end"] / rates["naive_loop"], rel=0.01)
    assert told["roofline"]["gflop_per_image"] > 0
    assert told["peak_memory"]["process_mb"] > 100
    assert "images per second" in hotfolder("bench", "score", "--images", "6", "--size", "64").stdout


def test_stars_beside_photographs_and_in_them(nowhere: Path) -> None:
    for number in (1, 2):
        draw_landscape(number, (64, 48)).save(nowhere / f"{number}.jpg")
    draw_landscape(3, (64, 48)).save(nowhere / "3.gif")
    before = {path.name: path.read_bytes() for path in nowhere.iterdir()}
    done = hotfolder("score", ".", "--stars", "--json")
    assert done.returncode == 0, done.stderr
    rows_ = json.loads(done.stdout)["scores"]
    assert [row["stars_in"] for row in rows_] == [["1.jpg.xmp"], ["2.jpg.xmp"], ["3.gif.xmp"]]
    assert {path.name: path.read_bytes() for path in nowhere.iterdir() if path.suffix != ".xmp"} == before
    for row in rows_:
        assert stars_in((nowhere / f"{row['image']}.xmp").read_bytes()) == row["stars"]
        assert row["stars"] == (-1 if row["verdict"] == "reject" else round(row["score"] / 2))
    (nowhere / ".hotfolder").mkdir()  # what lies in a root is known there by its content
    assert "which knows it by its content" in hotfolder("score", "1.jpg", "--stars", "--in-file").stdout
    (nowhere / ".hotfolder").rmdir()
    done = hotfolder("score", "1.jpg", "3.gif", "--stars", "--in-file", "--csv")
    assert done.returncode == 3
    first, second = csv.DictReader(io.StringIO(done.stdout))
    assert (first["stars"], first["error_kind"]) == (str(rows_[0]["stars"]), "")
    assert (second["stars"], second["error_kind"]) == ("", "not_rated")
    with Image.open("1.jpg") as image:
        assert stars_in(image.info["xmp"]) == rows_[0]["stars"]
    assert hotfolder("score", "1.jpg", "--in-file").returncode == 2


@pytest.mark.parametrize("command", ["score", "upscale"])
def test_an_empty_name_is_not_the_folder_that_one_stands_in(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("a.png")
    done = hotfolder(command, "")
    assert (done.returncode, [each.name for each in tmp_path.glob("a*")]) == (2, ["a.png"])
    assert "one of the names is empty" in done.stderr
