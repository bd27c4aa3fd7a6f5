"""What the grid asks: columns, orders, pictures."""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from hotfolder.folders.layout import Layout
from hotfolder.gallery.thumbnails import SMALL
from tests.support.gallery import Client, serving
from tests.support.roots import new_root, picture, rows


def ids(layout: Layout) -> dict[str, int]:
    return {path[-5]: id_ for id_, path in rows(layout, "SELECT id, path FROM images")}


def letters(layout: Layout, found: list[int]) -> str:
    names = {id_: name for name, id_ in ids(layout).items()}
    return "".join(names[id_] for id_ in found)


def test_columns_have_score_version_verdict_and_folder(judged: Layout, shown: Client) -> None:
    changed, images = shown.columns()
    assert changed == rows(judged, "SELECT max(changed) FROM images")[0][0] > 0
    by_name = ids(judged)
    score, version, flags = images[by_name["d"]]
    assert score == 6.9
    assert flags == 1 | 8 | 32  # kept, dropped, in keep/
    assert (
        f"{version:08x}" == rows(judged, "SELECT substr(sha256, 1, 8) FROM images WHERE path LIKE '%d.png'")[0][0]
    )
    assert images[by_name["f"]][0] == 6.4999999  # to the last bit: a threshold is previewed by it
    assert images[by_name["f"]][2] == 2 | 8 | 64


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("sort=best", "dcfbea"), ("sort=worst", "aebfcd"), ("sort=best&folder=keep", "dc"),
        ("sort=best&verdict=reject&from=5&to=6.2", "be"), ("sort=best&words=SUB/C", "c"), ("words=none-such", ""),
        ("sort=best&below=sub", "dcfbea"), ("below=other", ""), ("by=person", ""), ("sort=best&by=gate", "dcfbea"),
        ("sort=best&role=dropped&folder=keep,reject", "dcfbea"), ("model=x", ""), ("seed=7", ""), ("gain=0.1", ""),
        ("since=2999-01-01", ""), ("sort=best&until=2999-01-01", "dcfbea"), ("source=inbox/score/sub/a.png", "a"),
        ("sort=best&stars=3", "dc"), ("sort=best&stars=-1", "fbea"),
    ],
)  # fmt: skip
def test_filters_combine(judged: Layout, shown: Client, query: str, wanted: str) -> None:
    assert letters(judged, shown.order(query)) == wanted


@pytest.mark.parametrize(
    "query",
    ["sort=random", "folder=inbox", "from=nan", "stars=x", "since=yesterday", "seed=99999999999999999999999"],
)
def test_what_is_not_understood_is_refused(shown: Client, query: str) -> None:
    assert shown.get(f"/api/order?{query}").status == 400


def test_a_thumbnail_is_made_once_and_by_content(judged: Layout, shown: Client) -> None:
    id_, version = ids(judged)["c"], "x"
    answer = shown.get(f"/thumbnail/256/{id_}/{version}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/webp"
    assert "immutable" in answer.headers["cache-control"]
    with Image.open(io.BytesIO(answer.body)) as image:
        assert image.size == (256, 191)
    (sha256,) = rows(judged, "SELECT sha256 FROM images WHERE id = ?", (id_,))[0]
    kept = judged.thumbnails / sha256[:2] / f"{sha256}-{SMALL}-1.webp"
    assert kept.read_bytes() == answer.body
    kept.write_bytes(b"kept")
    assert shown.get(f"/thumbnail/256/{id_}/{version}").body == b"kept"
    kept.unlink()


def test_an_original_is_sent_as_it_lies(judged: Layout, shown: Client) -> None:
    id_ = ids(judged)["c"]
    answer = shown.get(f"/original/{id_}/x", range="bytes=0-1,0-1,0-1")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert answer.body == (judged.root / "keep/sub/c.png").read_bytes()
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_why_tells_all_but_where_the_root_is(judged: Layout, shown: Client) -> None:
    answer = shown.get(f"/api/images/{ids(judged)['c']}")
    document = answer.json
    assert document["path"] == "keep/sub/c.png"
    assert document["verdicts"][0]["gate_keep"] == 6.5
    assert document["scores"][0]["score"] == 6.6
    assert str(judged.root).encode() not in answer.body
    assert str(judged.root).encode() not in shown.get("/").body
    named = shown.get(f"/api/names?ids={ids(judged)['c']}").json["images"]
    assert [each["path"] for each in named] == ["keep/sub/c.png"]


def test_a_link_in_the_place_of_a_result_leads_nowhere(tmp_path: Path) -> None:
    layout = new_root(tmp_path)
    from tests.gallery.conftest import work

    picture(layout.inbox("score") / "c.png", 1)
    work(layout)
    file = layout.root / "keep/c.png"
    secret = picture(tmp_path / "secret.png", 2)
    file.unlink()
    file.symlink_to(secret)
    with serving(layout) as client:
        assert client.get("/original/1/x").status == 404
        assert client.get("/thumbnail/256/1/x").status == 422
        file.unlink()
        (layout.root / "keep").rmdir()
        assert client.get("/original/1/x").status == 404


def test_without_a_database_there_is_nothing_to_show(layout: Layout) -> None:
    with serving(layout) as client:
        assert client.get("/").status == 200
        assert client.columns() == (0, {})
        assert client.order() == []
        assert client.get("/healthz").status == 404
        assert client.get("/healthz").json["error"]["fix"] == "gallery.metrics = true switches it on"
        assert client.get("/static/nothing.js").json["error"]["message"] == "there is no such page"


def test_thumbnails_stay_below_their_limit(judged: Layout) -> None:
    from hotfolder.gallery.thumbnails import Thumbnails

    small = Thumbnails(judged, 100_000)
    with sqlite3.connect(judged.database) as connection:
        connection.row_factory = sqlite3.Row
        images = [dict(row) for row in connection.execute("SELECT * FROM images")]
    drawn = [small._make(row, SMALL) for row in images]
    assert sum(map(len, drawn)) > 100_000
    assert 0 < sum(size for _, size, _ in small._files()) <= 100_000


def test_any_scorer_can_be_sorted_by(tmp_path: Path) -> None:
    from tests.gallery.conftest import work

    layout = new_root(tmp_path)
    for number, name in enumerate("abc"):
        picture(layout.inbox("score") / f"{name}.png", number)
    work(layout)
    by_name = ids(layout)
    with sqlite3.connect(layout.database) as connection:
        connection.executemany(
            "INSERT INTO scores (image_id, score, scorer, weights_sha256, preprocessing, precision, gate, created_at) "
            "VALUES (?, ?, 'taste', '', '', '', 0, 1)",
            [(by_name["a"], 2.0), (by_name["b"], 9.0), (by_name["b"], 1.0)],  # the newest counts
        )
    with serving(layout) as client:
        assert client.get("/api/choices").json["scorers"] == ["scripted", "taste"]
        assert letters(layout, client.order("sort=scorer:taste")) == "abc"
        assert letters(layout, client.order("sort=scorer:scripted")) == "cba"
        assert sorted(letters(layout, client.order("sort=scorer:nobody"))) == list("abc")
        assert client.get("/api/order?sort=scorer").status == 400


@pytest.mark.slow
def test_what_is_like_one_is_found_by_the_command(judged: Layout, shown: Client) -> None:
    c = ids(judged)["c"]
    found = letters(judged, shown.order(f"like={c}"))
    assert found[0] == "c"
    assert sorted(found) == list("abcdef")
    assert letters(judged, shown.order(f"like={c}&folder=keep")) == "cd"  # together with any filter
    assert letters(judged, shown.order(f"like={c}&sort=worst")) == "aebfcd"
    for wrong, status in (
        (f"like={'9' * 30}", 400), ("like=-1", 400), ("like=x", 400), ("like=999", 404), ("sort=alike", 400),
        (f"like={c}&shows=a", 400), ("shows=%00", 400), ("shows=a+red+car", 422), ("shows=--help", 422),
    ):  # fmt: skip
        assert shown.get(f"/api/order?{wrong}").status == status, wrong
    refused = shown.get("/api/order?shows=a+red+car").json["error"]
    assert "CLIP" in refused["message"]
    assert "rescore" in refused["fix"]
