"""Results that a person wants to have enlarged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hotfolder.cli.upscale import Options, run_upscale
from hotfolder.errors import EnlargedTooLarge, ExitCode, HotfolderError, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.status import mailbox
from hotfolder.types import Item, Kind
from tests.support.roots import check_consistent, daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor

SCORES = {"_4x": 8.5, "good": 6.9, "better": 6.95, "bad": 3.0}
NEVER = {"GATE__UPSCALE": "never"}


def script(_: Kind, item: Item) -> float:
    return next(score for name, score in SCORES.items() if name in str(item.source))


@pytest.fixture
def worked(layout: Layout) -> Layout:
    """Two kept pictures and a rejected one; nothing is enlarged for its score."""
    for number, name in enumerate(("good", "better", "bad")):
        picture(layout.inbox(Kind.SCORE) / f"set/{name}.png", number)
    daemon(layout, ScriptedExecutor(script), **NEVER).run(once=True)
    return layout


def asked(layout: Layout, **command: Any) -> dict[str, Any]:
    path = mailbox.ask(layout, {"do": "enlarge", **command})
    daemon(layout, ScriptedExecutor(script), **NEVER).run(once=True)
    answer = mailbox.answer_to(path, 1)
    assert answer is not None
    return answer


def upscale(
    layout: Layout, capsys: pytest.CaptureFixture[str], *paths: str, **options: Any
) -> tuple[ExitCode, list[dict[str, Any]]]:
    code = run_upscale(layout.root, paths, Options(**options), as_json=True)
    told: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["images"]
    return code, told


GAINS = "SELECT parent_path, upscaled_path, round(gain, 2) FROM score_gain ORDER BY 1"


def test_the_best_are_enlarged_with_their_lineage_and_gain(
    worked: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    best = str(worked.root / "keep/set/better.png")
    code, told = upscale(worked, capsys, top=1)
    assert (code, told) == (0, [{"image": best, "output": None, "skipped": False, "queued": True, "waits": True}])
    daemon(worked, ScriptedExecutor(script), **NEVER).run(once=True)  # it waits for one
    assert rows(worked, GAINS) == [("keep/set/better.png", "upscaled/set/better_4x.png", 1.55)]
    check_consistent(worked)
    # Of both, one is done before. What was rejected is none of the best, but can be named.
    for words, options in (((), {"since": "1h"}), (("keep/set/better.png", "keep/set/good.png"), {})):
        code, told = upscale(worked, capsys, *[str(worked.root / word) for word in words], **options)
        assert sorted(Path(row["image"]).name for row in told) == ["better.png", "good.png"]
    daemon(worked, ScriptedExecutor(script), **NEVER).run(once=True)
    upscale(worked, capsys, str(worked.root / "reject/set/bad.png"))
    daemon(worked, ScriptedExecutor(script), **NEVER).run(once=True)
    assert [row[0] for row in rows(worked, GAINS)] == [
        "keep/set/better.png", "keep/set/good.png", "reject/set/bad.png",
    ]  # fmt: skip
    assert rows(worked, "SELECT count(*) FROM jobs WHERE kind = 'upscale'") == [(3,)]
    check_consistent(worked)


def test_what_cannot_be_done_is_said_of_each(worked: Layout) -> None:
    (worked.root / "keep/set/good.png").unlink()
    ids = dict(rows(worked, "SELECT path, id FROM images"))
    good, better = ids["keep/set/good.png"], ids["keep/set/better.png"]
    answers = asked(worked, images=[good, 99, better], scales=[None, None, 4])["images"]
    assert [answer.get("error", {}).get("kind") for answer in answers] == ["vanished", "vanished", None]
    assert answers[2]["queued"]
    assert files_in(worked, "upscaled", "failed") == ["upscaled/set/better_4x.png"]
    again = asked(worked, images=[better, better, better], scales=[4, None, 2])["images"]
    assert [answer.get("done") for answer in again] == ["upscaled/set/better_4x.png"] * 2 + [None]
    (unknown,) = asked(worked, images=[better], scales=[None], model="x4-compcat")["images"]
    assert "x4-compact" in unknown["error"]["fix"]
    for wrong in ({"scales": [0]}, {"scales": [None, None]}, {"scales": [True]}, {"scales": None}):
        assert "error" in asked(worked, images=[better], **wrong)
    assert "error" in asked(worked, images=[better], scales=[None], format="bmp")


def test_a_result_that_is_gone_is_not_told_to_be_queued(
    worked: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    good = worked.root / "keep/set/good.png"
    good.unlink()
    code, (row,) = upscale(worked, capsys, str(good))
    assert (code, "queued" in row, "error" in row) == (ExitCode.PARTLY_FAILED, False, True)
    assert list(mailbox.waiting(worked)) == []


def test_what_waits_is_not_queued_twice_but_another_size_is(worked: Layout) -> None:
    ((best,),) = rows(worked, "SELECT id FROM images WHERE path = 'keep/set/better.png'")
    for scale in (2, 3, 2, None):
        mailbox.ask(worked, {"do": "enlarge", "images": [best], "scales": [scale]})
    daemon(worked, ScriptedExecutor(script), **NEVER).obey()
    waits = rows(worked, "SELECT params FROM jobs WHERE kind = 'upscale' AND state = 'queued' ORDER BY id")
    assert [json.loads(params)["scale"] for (params,) in waits] == [2, 3]


def test_one_that_would_be_too_large_stays_as_it_is(worked: Layout) -> None:
    told = EnlargedTooLarge("enlarged it would have 384 megapixels", "ask for a size")

    def refuses(kind: Kind, item: Item) -> float | HotfolderError:
        return told if kind is Kind.UPSCALE else script(kind, item)

    ((best,),) = rows(worked, "SELECT id FROM images WHERE path = 'keep/set/better.png'")
    mailbox.ask(worked, {"do": "enlarge", "images": [best], "scales": [None]})
    report = daemon(worked, ScriptedExecutor(refuses), **NEVER).run(once=True)
    assert (report.failed, files_in(worked, "upscaled", "failed")) == (0, [])
    assert "384" in rows(worked, f"SELECT settings FROM images WHERE id = {best}")[0][0]


def test_a_size_is_asked_for_in_pixels(
    worked: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = str(worked.root / "keep/set/good.png")
    upscale(worked, capsys, good, long_edge=40)
    (command,) = mailbox.waiting(worked)
    assert command.command["scales"] == [2.5]
    monkeypatch.setenv("HOTFOLDER_UPSCALE__MAX_OUTPUT_MEGAPIXELS", "0.01")
    code, (row,) = upscale(worked, capsys, good, megapixels=0.02)
    assert (code, row["error"]["kind"]) == (ExitCode.PARTLY_FAILED, "enlarged_too_large")
    assert "--out" in row["error"]["fix"]
    assert upscale(worked, capsys, good, scale=65.0)[1][0]["error"]["kind"] == "usage"


def test_either_files_or_the_best(worked: Layout) -> None:
    for paths, options in (((), Options()), (("keep",), Options(top=3))):
        with pytest.raises(UsageError, match="either name images"):
            run_upscale(worked.root, paths, options, as_json=True)


def test_what_is_asked_for_with_a_priority_goes_before_what_waits(
    worked: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(worked.root / "keep/set/good.png")
    for number in range(3):
        picture(worked.inbox(Kind.UPSCALE) / f"better{number}.png", 10 + number)
    upscale(worked, capsys, top=2)  # without
    upscale(worked, capsys, good, priority=7)  # and one of them again, sooner than the other
    upscale(worked, capsys, good, priority=3)  # which does not put it back
    executor = ScriptedExecutor(script)
    daemon(worked, executor, **NEVER).run(once=True)
    order = rows(worked, "SELECT source, place FROM jobs WHERE kind = 'upscale' ORDER BY started_at, id")
    assert dict(order)["keep/set/good.png"] == -7
    assert {place for source, place in order if source != "keep/set/good.png"} == {0}
    began = [str(item.source) for batch in executor.batches for item in batch.items if batch.kind is Kind.UPSCALE]
    assert began[0].endswith("keep/set/good.png")
    assert len(began) == 5
    measured = "SELECT min(place) FROM jobs WHERE kind = 'score' AND source LIKE '%good_4x%'"
    assert rows(worked, measured)[0][0] < -7  # its score, too
    for wrong in (-1, 101, "high"):
        assert "priority" in asked(worked, images=[1], scales=[None], priority=wrong)["error"]


def test_a_priority_of_what_is_no_result_is_refused(
    worked: Layout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = picture(tmp_path / "other.png", 20)
    with pytest.raises(UsageError, match=r"other\.png is none"):
        upscale(worked, capsys, str(other), priority=5)
    with pytest.raises(UsageError, match="here and now"):
        upscale(worked, capsys, top=1, priority=5, out=tmp_path)
    assert not list(tmp_path.glob("other_*"))
