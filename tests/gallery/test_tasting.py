"""Taste in the gallery: what the page is told, and what it may ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.gallery.likeness import Likeness
from hotfolder.taste.in_use import InUse
from hotfolder.taste.notes import of_inbox
from tests.support.gallery import Client, serving
from tests.support.tasting import cull, images, judged_root, work


@pytest.fixture(scope="module")
def culled(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = judged_root(tmp_path_factory.mktemp("taste"), 120)
    cull(layout)
    work(layout)
    return layout


@pytest.fixture(scope="module")
def page(culled: Layout) -> Iterator[Client]:
    with serving(culled) as client:
        yield client


def test_the_offer_comes_with_its_evidence_and_is_carried_out_when_asked(page: Client, culled: Layout) -> None:
    (told,) = page.get("/api/taste").json["tastes"]
    assert told["inbox"] == "score" and told["level"] == "direction" and told["in_use"] is None
    assert told["direction"]["auc"] > told["direction"]["prior_auc"]
    assert "digest" not in told
    assert page.post("/api/taste", {"inbox": "score", "head": told["offered"]}).status == 202
    assert InUse(culled.root).heads() == {}
    work(culled)
    assert page.get("/api/taste").json["tastes"][0]["in_use"] == told["offered"]
    page.post("/api/taste", {"inbox": "score", "head": None})
    work(culled)
    assert page.get("/api/taste").json["tastes"][0]["in_use"] is None


def test_three_parts_sum_to_the_score(page: Client, culled: Layout) -> None:
    for image_id, *_ in images(culled)[:5]:
        taste = page.get(f"/api/taste/why/{image_id}").json["taste"]
        assert [each["part"] for each in taste["parts"]] == ["score", "threshold", "personal"]
        assert sum(each["points"] for each in taste["parts"]) == pytest.approx(taste["score"], abs=1e-9)
        assert len(taste["like_kept"]) == 3
        assert image_id not in {each["id"] for each in (*taste["like_kept"], *taste["like_rejected"])}
    assert page.get("/api/taste/why/99999").status == 404


def test_no_error_says_where_things_lie(culled: Layout) -> None:
    likeness = Likeness(culled)
    text = (
        f"the model {culled.root}/models/a.pth is gone, /srv/x y/b.pth too: https://example.org/a/b, inbox/score/c"
    )
    told = likeness._without_folders(text)
    assert told == "the model models/a.pth is gone, x y/b.pth too: https://example.org/a/b, inbox/score/c"


def test_pairs_are_noted(page: Client, culled: Layout) -> None:
    ids = [image_id for image_id, *_ in images(culled)[:3]]
    assert page.post("/api/taste/pair", {"images": ids}).status == 202
    work(culled)
    assert len(of_inbox(culled, "score").pairs) == 2
    assert page.get("/api/taste/close?inbox=score").json["sets"] == []  # dropped pictures have no prompt in common


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/taste", {"inbox": 1}),
        ("/api/taste", {"inbox": "score", "head": 3}),
        ("/api/taste/pair", {"images": [1]}),
        ("/api/taste/pair", {"images": [1, "2"]}),
        ("/api/taste/pair", {"images": list(range(1, 20))}),
    ],
)
def test_what_is_not_understood_is_refused(page: Client, path: str, asked: object) -> None:
    assert page.post(path, asked).status == 400


def test_an_inbox_that_is_none_is_refused(page: Client) -> None:
    assert page.get("/api/taste/close?inbox=../x").status == 400
