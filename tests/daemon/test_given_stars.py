"""Stars that a person gives in another program, beside a result, are a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotfolder.cli.queue import run_reroute
from hotfolder.cli.verdicts import run_undo
from hotfolder.core.stars import Rated, verdict_of
from hotfolder.folders.layout import Layout
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
