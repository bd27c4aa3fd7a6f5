"""Stars that a person gives in another program, beside a result, are a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hotfolder.cli.queue import run_reroute
from hotfolder.cli.verdicts import run_undo
from hotfolder.core.stars import Rated, verdict_of
from hotfolder.folders.layout import Layout
from hotfolder.ledger.images import Images
from hotfolder.status import mailbox
from hotfolder.types import Kind, Verdict
from tests.support.roots import daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor
from tests.support.stars import stars_in

SCORES = {"a": 4.0, "b": 6.0, "c": 6.6, "d": 6.9}


def look(layout: Layout, rating: str = "sidecar") -> None:
    executor = ScriptedExecutor(lambda _, item: SCORES[Path(str(item.source)).stem])
    daemon(layout, executor, WATCH__MODE="polling", OUTPUT__RATING=rating).run(once=True)


@pytest.fixture
def judged(layout: Layout) -> Layout:
    """Two that were rejected, a and b, and two that were kept, c and d; each with our stars beside it."""
    for number, name in enumerate(SCORES):
        picture(layout.inbox(Kind.SCORE) / f"{name}.png", number)
    look(layout)
    assert stars(layout) == {"reject/a": -1, "reject/b": -1, "keep/c": 3, "keep/d": 3}
    return layout


def stars(layout: Layout) -> dict[str, int | None]:
    found = [path for path in files_in(layout, "keep", "reject") if path.endswith(".xmp")]
    return {path.removesuffix(".png.xmp"): stars_in((layout.root / path).read_bytes()) for path in found}


def give(layout: Layout, path: str, number: int) -> None:
    """As another program does: its own sidecar, in the place of ours."""
    (layout.root / f"{path}.png.xmp").write_text(
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
        f"<rdf:Description xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='{number}'/></rdf:RDF></x:xmpmeta>"
    )


def verdicts(layout: Layout) -> list[tuple[str, ...]]:
    return rows(layout, "SELECT path, verdict, how FROM verdicts WHERE by = 'person' ORDER BY path")


def test_what_stars_say() -> None:
    assert [verdict_of(number, 6.5) for number in (-1, 0, 2, 3, 5)] == [
        Verdict.REJECT, None, None, Verdict.KEEP, Verdict.KEEP,
    ]  # fmt: skip
    assert [verdict_of(number, 1.0) for number in (0, 1)] == [None, Verdict.KEEP]
    for text in ("4:keep/a: b.png", "*-1:reject/a.png"):
        assert str(Rated.of(text)) == text
    assert Rated.of(None) is None and Rated.of("") is None


def test_stars_of_another_program_are_a_verdict_and_stay(judged: Layout) -> None:
    look(judged)
    assert verdicts(judged) == []  # ours are nobody's
    give(judged, "reject/a", 5)
    give(judged, "keep/c", -1)
    give(judged, "keep/d", 4)  # kept already: now it is you who says so
    give(judged, "reject/b", 1)  # too few to keep it
    look(judged)
    assert stars(judged) == {"keep/a": 5, "reject/b": 1, "reject/c": -1, "keep/d": 4}
    given = [("keep/a.png", "keep", "stars"), ("keep/d.png", "keep", "stars"), ("reject/c.png", "reject", "stars")]
    assert verdicts(judged) == given
    mailbox.ask(judged, {"do": "reroute", "keep": 9.0})  # overrules none of them, and writes over no star
    look(judged)
    assert stars(judged) == {"keep/a": 5, "reject/b": 1, "reject/c": -1, "keep/d": 4}
    assert verdicts(judged) == given


def test_it_is_taken_back_as_one_and_not_said_again(judged: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    give(judged, "keep/c", -1)
    give(judged, "keep/d", -1)
    look(judged)
    assert stars(judged) == {"reject/a": -1, "reject/b": -1, "reject/c": -1, "reject/d": -1}
    run_undo(judged.root, 1, dry_run=False, as_json=True)
    assert '"action": "reject"' in capsys.readouterr().out
    look(judged)
    assert stars(judged) == {"reject/a": -1, "reject/b": -1, "keep/c": -1, "keep/d": -1}
    assert verdicts(judged) == []


def test_stars_are_nothing_where_they_are_off_or_not_understood(judged: Layout) -> None:
    give(judged, "keep/c", -1)
    (judged.root / "keep/d.png.xmp").write_text("no XML")
    look(judged, "off")
    assert verdicts(judged) == []
    (judged.root / "keep/c.png.xmp").unlink()
    give(judged, "keep/c", 99)
    picture(judged.root / "keep/theirs.png", 99)
    give(judged, "keep/theirs", -1)  # of no result
    look(judged)
    assert verdicts(judged) == []
    assert (judged.root / "keep/d.png.xmp").read_text() == "no XML"


def test_sidecars_go_along_with_commands_and_a_reroute(judged: Layout) -> None:
    for name, content in (("keep/c.xmp", "<c/>"), ("keep/d.pp3", "d"), ("reject/b.png.out.pp3", "b")):
        (judged.root / name).write_text(content)
    run_reroute(judged.root, 6.8, undo=False, also_mine=False, dry_run=False, as_json=True)
    look(judged)
    assert [path for path in files_in(judged, "reject") if "/c" in path] == [
        "reject/c.png", "reject/c.png.xmp", "reject/c.xmp",
    ]  # fmt: skip
    run_undo(judged.root, 1, dry_run=False, as_json=True)
    (ids,) = rows(judged, "SELECT image_id FROM results WHERE path LIKE '%b.png'")
    mailbox.ask(judged, {"do": "verdict", "verdict": "keep", "images": list(ids)})
    look(judged)
    assert files_in(judged, "keep") == [
        f"keep/{name}"
        for name in (
            "b.png", "b.png.out.pp3", "b.png.xmp", "c.png", "c.png.xmp", "c.xmp", "d.png", "d.png.xmp", "d.pp3",
        )
    ]  # fmt: skip


def star(layout: Layout, number: int, *names: str, rating: str = "sidecar") -> dict[str, Any]:
    """By a key; gives the answer."""
    ids = [rows(layout, "SELECT id FROM images WHERE path LIKE ?", (f"%/{name}.png",))[0][0] for name in names]
    asked = mailbox.ask(layout, {"do": "stars", "stars": number, "images": ids})
    look(layout, rating)
    answer = mailbox.answer_to(asked, 0)
    assert answer is not None
    return answer


def undo(layout: Layout, last: int, rating: str = "sidecar") -> list[str]:
    """What the actions were, the newest first."""
    asked = mailbox.ask(layout, {"do": "undo", "last": last})
    look(layout, rating)
    answer = mailbox.answer_to(asked, 0)
    assert answer is not None
    return [each["action"] for each in answer["undone"]]


def history(layout: Layout) -> int:
    return int(rows(layout, "SELECT count(*) FROM verdict_history WHERE given_by = 'person'")[0][0])


def test_stars_by_a_key_are_written_say_the_same_and_are_taken_back(judged: Layout) -> None:
    before = stars(judged)
    assert star(judged, 4, "a", "c")["files"] == [
        {"file": "reject/a.png", "path": "keep/a.png"}, {"file": "keep/c.png", "path": "keep/c.png"},
    ]  # fmt: skip
    star(judged, 1, "b")  # too few to keep it
    star(judged, 0, "d")
    assert stars(judged) == {"keep/a": 4, "reject/b": 1, "keep/c": 4, "keep/d": 0}
    given = [("keep/a.png", "keep", "stars"), ("keep/c.png", "keep", "stars")]
    assert (verdicts(judged), history(judged)) == (given, 2)
    mailbox.ask(judged, {"do": "reroute", "keep": 9.0})
    look(judged)  # says nothing twice, and writes over no star
    assert stars(judged) == {"keep/a": 4, "reject/b": 1, "keep/c": 4, "reject/d": 0}
    assert (verdicts(judged), history(judged)) == (given, 2)
    star(judged, 2, "c")  # it was kept before, and stays so
    assert stars(judged)["keep/c"] == 2
    assert undo(judged, 5) == ["stars", "reroute", "stars", "stars", "stars"]
    assert (stars(judged), verdicts(judged)) == (before, [])
    look(judged)
    assert (stars(judged), verdicts(judged)) == (before, [])


def test_stars_by_a_key_wait_in_the_ledger_while_none_are_written(layout: Layout) -> None:
    for number, name in enumerate(SCORES):
        picture(layout.inbox(Kind.SCORE) / f"{name}.png", number)
    look(layout, "off")
    star(layout, 5, "a", "d", rating="off")
    star(layout, 2, "d", rating="off")
    star(layout, 2, "b", rating="off")
    assert undo(layout, 1, "off") == ["stars"]
    assert stars(layout) == {}
    assert verdicts(layout) == [("keep/a.png", "keep", "stars"), ("keep/d.png", "keep", "stars")]
    assert rows(layout, "SELECT path, rated FROM images WHERE rated IS NOT NULL ORDER BY path") == [
        ("keep/a.png", "*5:reject/a.png"), ("keep/d.png", "*2:keep/d.png"),
    ]  # fmt: skip
    look(layout)  # now they are
    assert stars(layout) == {"keep/a": 5, "reject/b": -1, "keep/c": 3, "keep/d": 2}
    assert undo(layout, 1) == ["stars"]
    assert stars(layout)["keep/d"] == 5


def test_stars_by_a_key_go_into_the_sidecar_of_another_program(judged: Layout) -> None:
    give(judged, "keep/c", 2)
    look(judged)
    star(judged, 5, "c")
    text = (judged.root / "keep/c.png.xmp").read_text()
    assert "hotfolder" not in text
    assert stars(judged)["keep/c"] == 5
    give(judged, "keep/c", -1)  # said there, later
    look(judged)
    assert ("reject/c.png", "reject", "stars") in verdicts(judged)
    asked = mailbox.ask(judged, {"do": "stars", "stars": 3, "images": [999]})
    for wrong in (-1, 6, True, "3", None):
        mailbox.ask(judged, {"do": "stars", "stars": wrong, "images": [1]})
    look(judged)
    assert mailbox.answer_to(asked, 0) == {"files": [{"file": "image 999", "error": "it is not known"}]}
    assert stars(judged) == {"reject/a": -1, "reject/b": -1, "reject/c": -1, "keep/d": 3}


@pytest.mark.parametrize("theirs", [False, True])
def test_a_crash_between_our_stars_and_their_row_makes_no_verdict(
    judged: Layout, monkeypatch: pytest.MonkeyPatch, theirs: bool
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    if theirs:  # the same stars, as another program writes the file anew
        give(judged, "keep/c", 3)
        look(judged)
    mailbox.ask(judged, {"do": "reroute", "keep": 6.8})
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Images, "rated", killed)
        look(judged)
    assert stars(judged)["reject/c"] == -1
    look(judged)
    assert verdicts(judged) == []
    assert stars(judged) == {"reject/a": -1, "reject/b": -1, "reject/c": -1, "keep/d": 3}


def test_stars_that_could_not_be_written_make_no_verdict(judged: Layout) -> None:
    """Those before them stay beside the picture, and are still ours."""
    (judged.root / "keep/c.xmp").write_text("<c/>")
    mailbox.ask(judged, {"do": "reroute", "keep": 6.8})
    look(judged)
    look(judged)
    assert verdicts(judged) == []
    assert stars(judged)["reject/c"] == 3
    assert rows(judged, "SELECT rated FROM images WHERE path LIKE '%c.png'") == [("3:reject/c.png",)]


def test_a_crash_between_a_star_and_its_row_loses_none(judged: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    (ids,) = rows(judged, "SELECT image_id FROM results WHERE path LIKE '%a.png'")
    mailbox.ask(judged, {"do": "stars", "stars": 4, "images": list(ids)})
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Images, "rated", killed)
        look(judged)
    assert stars(judged)["reject/a"] == 4
    look(judged)
    assert stars(judged)["keep/a"] == 4
    assert verdicts(judged)[-1] == ("keep/a.png", "keep", "stars")
    assert list(mailbox.waiting(judged)) == []
