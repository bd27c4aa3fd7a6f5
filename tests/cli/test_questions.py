"""Questions to the database: top, stats, show, query, export."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sqlite3
import subprocess
import sys

import pytest
from sqlite_utils import Database

from hotfolder.cli.doctor.command import examine
from hotfolder.cli.top import histogram
from hotfolder.folders.layout import Layout
from hotfolder.imaging.metadata import read_generation
from hotfolder.ledger import migrations
from hotfolder.types import Item, Kind
from tests.support import forks
from tests.support.roots import daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor

pytestmark = pytest.mark.slow

SCORES = {1: 4.0, 2: 6.6, 3: 8.0}


def hotfolder(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forks.hotfolder(*arguments, "--root", layout.root)


def answer(layout: Layout, *arguments: str) -> dict[str, object]:
    done = hotfolder(layout, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    assert document["schema_version"] == 1
    return document


@pytest.fixture
def worked(layout: Layout) -> Layout:
    """Three tries of one prompt, of which one is kept and one enlarged; and a dropped picture."""
    (layout.inbox(Kind.GENERATE) / "cats.txt").write_text("a cat's hat --seed 1 --count 3")
    picture(layout.inbox(Kind.SCORE) / "photo.png")

    def script(kind: Kind, item: Item) -> float:
        source = str(item.source)
        if "_4x" in source:
            return 8.5
        return next((score for seed, score in SCORES.items() if f"-s{seed}." in source), 5.5)

    daemon(layout, ScriptedExecutor(script), GATE__MAX_ATTEMPTS="1").run(once=True)
    assert files_in(layout, "keep", "reject", "upscaled") == [
        "keep/cats-s2.png", "keep/cats-s3.png", "reject/cats-s1.png", "reject/photo.png", "upscaled/cats-s3_4x.png",
    ]  # fmt: skip
    return layout


ALL = [
    ["status"], ["top"], ["top", "--by", "prompt"], ["top", "--by", "day"], ["stats"], ["show", "keep/cats-s2.png"],
    ["why", "keep/cats-s2.png"], ["export"], ["export", "--csv"], ["reroute", "--keep", "7", "--dry-run"],
    ["query", "SELECT * FROM results"],
]  # fmt: skip


def errors(layout: Layout) -> str:
    """What each question is answered with on stderr; none of it is a traceback, and some are no answers."""
    told = ""
    for words in ALL:
        done = hotfolder(layout, *words)
        assert done.returncode in (0, 1, 2), words
        assert "Traceback" not in done.stderr, (words, done.stderr)
        assert done.returncode != 1 or "fix: " in done.stderr, (words, done.stderr)
        told += done.stderr
    return told


def test_questions_to_a_schema_of_the_future(worked: Layout) -> None:
    with contextlib.closing(sqlite3.connect(worked.database)) as writer:
        for table, column in (("images", "verdict"), ("jobs", "state"), ("drops", "path")):
            writer.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO moon_of_{table}")
        writer.execute("INSERT INTO _sqlite_migrations VALUES (99, 'hotfolder', 'm999_moons', 'then')")
        writer.commit()
    told = errors(worked)
    assert told.count("the database is of a newer hotfolder: its schema is 'm999_moons'") == len(ALL)
    ((status, message, fix),) = [
        (c.status, c.message, c.fix) for c in examine(worked.root) if c.name == "database"
    ]
    assert (status, "m999_moons" in message, "newer hotfolder" in fix) == ("fail", True, True)
    done = hotfolder(worked, "run", "--once")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "m999_moons" in done.stderr


def test_questions_to_a_schema_of_the_past(layout: Layout) -> None:
    with contextlib.closing(sqlite3.connect(layout.database, isolation_level=None)) as old:
        migrations.steps.apply(Database(old), stop_before="m003_several_scorers_and_embeddings")
    assert "start hotfolder again: that brings an older one up to date" in errors(layout)


def test_questions_to_a_damaged_database(worked: Layout) -> None:
    data = worked.database.read_bytes()
    pages = range(4096, len(data), 4096)
    leaves = [
        start for start in pages if data[start] in (10, 13) and b"keep/cats-s2.png" in data[start : start + 4096]
    ]
    for start in leaves:
        data = data[:start] + bytes([7]) * 4096 + data[start + 4096 :]
    worked.database.write_bytes(data)
    assert "the database is damaged" in errors(worked)


def test_top(worked: Layout) -> None:
    found = answer(worked, "top", "2")
    assert [(row["path"], row["score"]) for row in found["top"]] == [  # type: ignore[attr-defined]
        ("upscaled/cats-s3_4x.png", 8.5),  # its original, with 8.0, is not told again
        ("keep/cats-s2.png", 6.6),
    ]
    assert answer(worked, "top", "--since", "1h") == answer(worked, "top")
    assert answer(worked, "top", "--since", "2100-01-01")["top"] == []
    assert hotfolder(worked, "top", "--since", "soon").returncode == 2
    (rejected, _) = answer(worked, "top", "--verdict", "reject")["top"]  # type: ignore[misc]
    assert rejected["path"] == "reject/photo.png"
    (prompt,) = answer(worked, "top", "--by", "prompt")["top"]  # type: ignore[misc]
    assert prompt == {
        "prompt": "a cat's hat", "best": 8.5, "mean": pytest.approx(6.2), "images": 3, "kept": 2, "judged": 3,
        "acceptance": pytest.approx(2 / 3),
    }  # fmt: skip
    assert answer(worked, "top", "--by", "prompt", "--since", "1h")["top"] == [prompt]
    (day,) = answer(worked, "top", "--by", "day")["top"]  # type: ignore[misc]
    assert (day["images"], day["kept"], day["best"], len(day["day"])) == (4, 2, 8.5, 10)
    assert answer(worked, "top", "--by", "day", "--since", "1h")["top"] == [day]
    assert answer(worked, "top", "--by", "day", "--since", "2100-01-01")["top"] == []
    lines = hotfolder(worked, "top").stdout.splitlines()
    assert lines[0].split() == ["score", "verdict", "image", "seed", "prompt"]
    assert lines[1].split()[:3] == ["8.50", "upscaled", "upscaled/cats-s3_4x.png"]
    assert hotfolder(worked, "top", "--by", "colour").returncode == 2


def test_stats(worked: Layout) -> None:
    found = answer(worked, "stats")
    assert found["images"] == 4  # the enlarged one is its original over again
    assert found["mean"] == pytest.approx((4 + 6.6 + 8 + 5.5) / 4)
    assert {row["bin"]: row["images"] for row in found["histogram"]} == {  # type: ignore[attr-defined]
        4.0: 1, 5.5: 1, 6.5: 1, 8.0: 1,
    }  # fmt: skip
    text = hotfolder(worked, "stats").stdout
    assert " 6.5         1 " in text
    assert "← keep 6.5" in text
    assert "← upscale 7" in text


def test_a_family_counts_once_however_often_it_was_enlarged(worked: Layout) -> None:
    """Enlarged twice over, and once without any gain, which is a verdict of its own."""
    with contextlib.closing(sqlite3.connect(worked.database, isolation_level=None)) as writer:
        for path, parent, verdict, score in (
            ("upscaled/a.png", "upscaled/cats-s3_4x.png", None, 8.2),
            ("upscaled/b.regressed.png", "keep/cats-s3.png", "reject", 7.0),
        ):
            writer.execute(
                "INSERT INTO images (path, sha256, role, verdict, width, height, parent_id, prompt, model, created_at,"
                " score) SELECT ?, 'x', 'upscaled', ?, 1, 1, id, prompt, 'x4', created_at, ? FROM images"
                " WHERE path = ?",
                (path, verdict, score, parent),
            )
    paths = [row["path"] for row in answer(worked, "top")["top"]]  # type: ignore[attr-defined]
    assert paths == ["upscaled/cats-s3_4x.png", "keep/cats-s2.png", "reject/photo.png", "reject/cats-s1.png"]
    (prompt,) = answer(worked, "top", "--by", "prompt")["top"]  # type: ignore[misc]
    assert (prompt["images"], prompt["kept"], prompt["judged"]) == (3, 2, 3)
    found = answer(worked, "stats")
    assert found["images"] == 4
    assert [row["model"] for row in found["models"]] == ["shapes", None]  # type: ignore[attr-defined]
    assert [row["judged"] for row in found["prompts"]] == [3]  # type: ignore[attr-defined]
    (day,) = answer(worked, "top", "--by", "day")["top"]  # type: ignore[misc]
    assert (day["images"], day["judged"]) == (4, 4)


def test_a_histogram_has_a_bar_for_each_half_point() -> None:
    text = histogram([{"bin": 2.0, "images": 8}, {"bin": 3.5, "images": 1}], {"keep": 3.6})
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == ["2.0", "2.5", "3.0", "3.5"]
    assert lines[0].count("█") == 50
    assert lines[1].split() == ["2.5", "0"]
    assert lines[3].endswith("← keep 3.6")


def test_show_draws_the_lineage_and_how_to_make_it_again(worked: Layout) -> None:
    found = answer(worked, "show", "upscaled/cats-s3_4x.png")
    assert (found["gain"], found["role"]) == (0.5, "upscaled")
    again = str(found["reproduce"]).split()
    assert again[:4] == ["hotfolder", "upscale", "--root", str(worked.root)]  # wherever a person stands
    lineage = found["lineage"]
    assert [row["seed"] for row in lineage] == [1, 2, 3]  # type: ignore[attr-defined]
    assert lineage[2]["became"][0]["path"] == "upscaled/cats-s3_4x.png"  # type: ignore[index]
    text = hotfolder(worked, "show", str(worked.root / "keep/cats-s3.png")).stdout
    assert "“a cat's hat”" in text
    assert "  ├─ seed 1, 4.00 reject  reject/cats-s1.png" in text
    assert "  └─ seed 3, 8.00 keep  keep/cats-s3.png  ◀" in text
    assert "     └─ 8.50, gain +0.50  upscaled/cats-s3_4x.png" in text
    dropped = answer(worked, "show", "reject/photo.png")
    assert dropped["reproduce"] is None
    assert hotfolder(worked, "show", "keep/nothing.png").returncode == 2


def test_the_command_that_makes_it_again_is_understood(worked: Layout) -> None:
    command = str(answer(worked, "show", "keep/cats-s3.png")["reproduce"])
    here = worked.root.parent / "elsewhere"
    here.mkdir()
    script = (
        f'hotfolder() {{ "{sys.executable}" -m hotfolder "$@"; }}; {command} --out made'  # as people add to it
    )
    subprocess.run(["sh", "-c", script], check=True, cwd=here)
    (made,) = (here / "made").iterdir()
    told = json.loads(read_generation(made)["hotfolder"])
    assert (made.name, told["prompt"], told["seed"]) == ("a-cat-s-hat-s3.png", "a cat's hat", 3)


def test_query_answers_in_three_ways_and_changes_nothing(worked: Layout) -> None:
    sql = "SELECT verdict, count(*) AS images FROM results GROUP BY verdict ORDER BY verdict"
    assert answer(worked, "query", sql)["rows"] == [[None, 1], ["keep", 2], ["reject", 2]]
    lines = hotfolder(worked, "query", sql).stdout.split("\n")
    assert [line.split() for line in lines[:3]] == [["verdict", "images"], ["–", "1"], ["keep", "2"]]
    assert list(csv.reader(io.StringIO(hotfolder(worked, "query", sql, "--csv").stdout)))[1] == ["", "1"]
    before = worked.database.read_bytes()
    for bad in (
        "DELETE FROM scores",
        "ATTACH 'x.db' AS x",
        "PRAGMA journal_mode = DELETE",
        "SELECT 1; DROP TABLE scores",
        "CREATE TEMP TABLE t (a)",
        "SELECT load_extension('x')",
        "SELEKT",
    ):
        done = hotfolder(worked, "query", bad)
        assert done.returncode == 2, bad
        assert "Traceback" not in done.stderr
    assert worked.database.read_bytes() == before


def test_export(worked: Layout) -> None:
    found = answer(worked, "export")["results"]
    assert [row["path"] for row in found] == [  # type: ignore[attr-defined]
        path for (path,) in rows(worked, "SELECT path FROM results ORDER BY image_id")
    ]
    (gain,) = [row["gain"] for row in found if row["gain"] is not None]  # type: ignore[attr-defined]
    assert gain == 0.5
    table = list(csv.DictReader(io.StringIO(hotfolder(worked, "export", "--csv").stdout)))
    assert [row["path"] for row in table] == [row["path"] for row in found]  # type: ignore[attr-defined]
    assert hotfolder(worked, "export", "--csv", "--json").returncode == 2


def test_nothing_yet(layout: Layout) -> None:
    done = hotfolder(layout, "top")
    assert done.returncode == 1
    assert "hotfolder run" in done.stderr
    daemon(layout, ScriptedExecutor(lambda *_: 6.6)).run(once=True)
    assert hotfolder(layout, "stats").stdout == "no image has a score yet\n"
    assert answer(layout, "top")["top"] == []


def test_the_score_in_the_row_is_the_newest_that_counts(worked: Layout) -> None:
    connection = sqlite3.connect(worked.database)
    add = (
        "INSERT INTO scores (image_id, score, scorer, weights_sha256, preprocessing, precision, gate, created_at) "
        "SELECT image_id, ?, 'other', 'w', 'p', 'float32', ?, 1 FROM results WHERE path = 'keep/cats-s2.png'"
    )
    with connection:
        connection.execute(add, (9.0, 0))
    assert rows(worked, "SELECT score, scorer FROM results WHERE path = 'keep/cats-s2.png'") == [(6.6, "scripted")]
    with connection:
        connection.execute(add, (3.0, 1))
    connection.close()
    assert rows(worked, "SELECT score, scorer FROM results WHERE path = 'keep/cats-s2.png'") == [(3.0, "other")]
