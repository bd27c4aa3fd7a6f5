"""Scores as stars, in sidecars or in our own images: nothing depends on them, and nothing is stopped by them."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from hotfolder.config.settings import Settings
from hotfolder.daemon import ratings
from hotfolder.daemon.loop import Daemon
from hotfolder.daemon.reporter import Report
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import Layout
from hotfolder.imaging import xmp
from hotfolder.imaging.encode import stage
from hotfolder.imaging.metadata import explained
from hotfolder.ledger.images import Images
from hotfolder.ledger.ledger import Ledger
from hotfolder.status import mailbox
from hotfolder.types import Item, Kind
from tests.faults.disks import fill_up, mounted, paused, run, wait_for_pause, working
from tests.support.live import wait_for
from tests.support.roots import daemon, files_in, new_root, picture, rows, settings
from tests.support.scripted import Script, ScriptedExecutor, always
from tests.support.stars import stars_in

#: Nothing is enlarged or drawn again, so that what is there is what was dropped.
PLAIN = {"GATE__UPSCALE": "10", "GATE__REGENERATE_BELOW": "1"}
FOREIGN = (
    "<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='XMP Core 6.0'><rdf:RDF "
    "xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description rdf:about='' "
    "xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='1' xmp:Label='Red'/></rdf:RDF></x:xmpmeta>"
)


#: The same of a program in which nobody gave any.
UNRATED = FOREIGN.replace("xmp:Rating='1'", "xmp:Rating='0'")


class _Dies(BaseException):
    """The power is cut."""


def work(layout: Layout, rating: str, script: Script | float = 7.5, **overrides: str) -> Report:
    executor = ScriptedExecutor(always(script) if isinstance(script, float) else script)
    return daemon(layout, executor, **{**PLAIN, "OUTPUT__RATING": rating, **overrides}).run(once=True)


def prompt(layout: Layout, text: str = "a cat --seed 7", name: str = "p.txt") -> None:
    (layout.inbox(Kind.GENERATE) / name).write_text(text)


def packet_of(path: Path) -> bytes | None:
    with Image.open(path) as image:
        image.load()
        found = image.info.get("xmp")
    return found.encode() if isinstance(found, str) else found


def stars_of(path: Path) -> int | None:
    """Of a sidecar, or of the image itself."""
    packet = path.read_bytes() if path.suffix == ".xmp" else packet_of(path)
    return stars_in(packet) if packet else None


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


def sidecars(layout: Layout) -> dict[str, int | None]:
    found = files_in(layout, "keep", "reject", "upscaled", "archive", "failed")
    return {path: stars_of(layout.root / path) for path in found if path.endswith(".xmp")}


def check_true(layout: Layout) -> None:
    """What the ledger says of each file is so, and nothing is left half done."""
    for path, known in rows(layout, "SELECT path, sha256 FROM images"):
        assert sha256(layout.root / path) == known, path
    assert rows(layout, "SELECT count(*) FROM images WHERE unrated AND score IS NOT NULL") == [(0,)]
    assert files_in(layout, ".hotfolder/staging", ".hotfolder/unscored") == []
    assert [p for p in files_in(layout, ".") if p.endswith(".partial")] == []


def by_name(scores: dict[str, float]) -> Script:
    """The score of a dropped file is looked up by the beginning of its name."""

    def script(_: Kind, item: Item) -> float:
        name = Path(str(item.source)).name
        return next((score for begin, score in scores.items() if name.startswith(begin)), 7.5)

    return script


# --- where and how many --------------------------------------------------------------------------


def test_off_writes_nothing(layout: Layout) -> None:
    data = picture(layout.inbox(Kind.SCORE) / "a.png").read_bytes()
    prompt(layout)
    work(layout, "off")
    assert files_in(layout, "keep", "reject", "upscaled") == ["keep/a.png", "keep/p-s7.png"]
    assert (layout.root / "keep/a.png").read_bytes() == data
    assert packet_of(layout.root / "keep/p-s7.png") is None
    assert rows(layout, "SELECT rated FROM images") == [(None,), (None,)]


@pytest.mark.parametrize(
    ("mode", "name"), [("sidecar", "keep/set/a.b.png.xmp"), ("lightroom", "keep/set/a.b.xmp")]
)
def test_a_sidecar_lies_where_programs_look_for_it(layout: Layout, mode: str, name: str) -> None:
    data = picture(layout.inbox(Kind.SCORE) / "set/a.b.png").read_bytes()
    assert work(layout, mode).paused is None
    assert sidecars(layout) == {name: 4}
    assert (layout.root / "keep/set/a.b.png").read_bytes() == data
    assert xmp.is_ours((layout.root / name).read_bytes())
    check_true(layout)
    before = (layout.root / name).stat().st_mtime_ns
    work(layout, mode)
    assert (layout.root / name).stat().st_mtime_ns == before  # once is enough


@pytest.mark.parametrize("mode", ["sidecar", "in-place"])
def test_stars_are_half_the_score(layout: Layout, mode: str) -> None:
    scores = {"a": 1.0, "b": 5.2, "c": 7.0, "d": 10.0, "e": 2.9}
    stars = {"a": 1, "b": 3, "c": 4, "d": 5, "e": 1}
    for name in scores:
        picture(layout.inbox(Kind.SCORE) / f"{name}.png", ord(name))
    work(layout, mode, by_name(scores), GATE__KEEP="1")
    found = sidecars(layout)
    assert {name: found[f"keep/{name}.png.xmp"] for name in scores} == stars
    check_true(layout)


def test_what_is_rejected_has_minus_one(layout: Layout) -> None:
    for name in ("a", "b", "c"):
        picture(layout.inbox(Kind.SCORE) / f"{name}.png", ord(name))
    work(layout, "sidecar", by_name({"a": 1.0, "b": 6.4, "c": 6.5}))
    assert sidecars(layout) == {"reject/a.png.xmp": -1, "reject/b.png.xmp": -1, "keep/c.png.xmp": 3}


def test_enlarged_and_archived_ones_are_rated_too(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    original = picture(layout.inbox(Kind.UPSCALE) / "b.png", 2).read_bytes()
    script: Script = lambda _, item: 9.0 if "_4x" in str(item.source) else 7.5  # noqa: E731
    work(layout, "in-place", script, GATE__UPSCALE="7")
    assert stars_of(layout.root / "upscaled/a_4x.png") == stars_of(layout.root / "upscaled/b_4x.png") == 5
    assert sidecars(layout) == {"keep/a.png.xmp": 4, "archive/b.png.xmp": 4}
    assert (layout.root / "archive/b.png").read_bytes() == original
    check_true(layout)


def test_many_are_rated_in_one_go(layout: Layout) -> None:
    for number in range(45):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    assert work(layout, "off").done == 45
    work(layout, "sidecar")
    assert len(sidecars(layout)) == 45


def test_the_best_of_several_are_rated_when_they_are_chosen(layout: Layout) -> None:
    seen: list[list[str]] = []

    def script(kind: Kind, item: Item) -> float | str:
        if kind is Kind.SCORE:
            return 7.0 + len(seen) / 10
        seen.append([path for path in files_in(layout, ".") if path.endswith(".xmp")])
        late = item.params["seed"] == 2 and len(seen) < 6
        return "killed" if late else 0.0

    prompt(layout, "a cat --seed 1 --best-of 3 --keep 1")
    work(layout, "sidecar", script, RETRY__MAX_DEATHS="100", RETRY__MAX_ATTEMPTS="100")
    assert len(seen) >= 6
    assert not any(seen)  # while one is missing, there are no stars yet
    found = sidecars(layout)
    assert sorted(found.values()) == [-1, -1, 4]  # type: ignore[type-var]
    assert sorted(path.partition("/")[0] for path in found) == ["keep", "reject", "reject"]
    check_true(layout)


# --- in place ------------------------------------------------------------------------------------


def test_our_own_images_are_rated_in_place_and_others_beside(layout: Layout) -> None:
    data = picture(layout.inbox(Kind.SCORE) / "a.png").read_bytes()
    prompt(layout)
    work(layout, "off")
    ours = layout.root / "keep/p-s7.png"
    drawn = ours.read_bytes()
    ours.chmod(0o604)
    os.utime(ours, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
    work(layout, "in-place")
    assert stars_of(ours) == 4
    assert pixels(ours.read_bytes()) == pixels(drawn)
    facts = ours.stat()
    assert (facts.st_mode & 0o7777, facts.st_mtime_ns) == (0o604, 1_500_000_000_987_654_321)
    assert (layout.root / "keep/a.png").read_bytes() == data
    assert sidecars(layout) == {"keep/a.png.xmp": 4}
    check_true(layout)
    before = ours.read_bytes()
    work(layout, "in-place")
    assert ours.read_bytes() == before


def test_a_rated_image_is_still_the_same_image_when_it_is_drawn_again(layout: Layout) -> None:
    for _ in range(2):
        prompt(layout)
        work(layout, "in-place")
    assert files_in(layout, "keep", "reject") == ["keep/p-s7.png"]
    assert rows(layout, "SELECT error_kind, state FROM queue WHERE kind = 'generate' AND error_kind NOT NULL") == [
        ("duplicate", "done")
    ]


def test_an_image_that_has_no_place_for_it_gets_a_sidecar(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> bytes:
        raise ValueError("it is no PNG, JPEG or extended WebP")

    prompt(layout)
    monkeypatch.setattr(ratings, "with_packet", refuses)
    work(layout, "in-place")
    assert sidecars(layout) == {"keep/p-s7.png.xmp": 4}
    check_true(layout)


# --- what others did -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sidecar", "lightroom"])
@pytest.mark.parametrize("name", ["a.png.xmp", "a.xmp"])
def test_a_persons_sidecar_gets_the_stars_and_none_is_laid_beside_it(layout: Layout, mode: str, name: str) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    (layout.inbox(Kind.SCORE) / name).write_text(UNRATED)
    (layout.inbox(Kind.SCORE) / name).chmod(0o640)
    assert work(layout, mode).paused is None
    assert (layout.root / "keep" / name).read_text() == FOREIGN.replace("xmp:Rating='1'", "xmp:Rating='4'")
    assert (layout.root / "keep" / name).stat().st_mode & 0o777 == 0o640
    assert sidecars(layout) == {f"keep/{name}": 4}
    assert mailbox.ask(layout, {"do": "reroute", "keep": 9}).exists()
    work(layout, mode)
    assert (layout.root / "reject" / name).read_text() == FOREIGN.replace("xmp:Rating='1'", "xmp:Rating='-1'")
    assert sidecars(layout) == {f"reject/{name}": -1}


@pytest.mark.parametrize("mode", ["sidecar", "lightroom", "in-place"])
@pytest.mark.parametrize("name", ["a.png.xmp", "a.xmp"])
def test_a_persons_stars_that_come_with_a_picture_stand_and_are_no_verdict(
    layout: Layout, mode: str, name: str
) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    (layout.inbox(Kind.SCORE) / name).write_text(FOREIGN)
    work(layout, mode, 4.0)
    assert files_in(layout, "reject") == ["reject/a.png", f"reject/{name}"]  # as the gate says
    for keep, folder in ((3, "keep"), (9, "reject")):
        mailbox.ask(layout, {"do": "reroute", "keep": keep})
        work(layout, mode)
        assert files_in(layout, "keep", "reject") == [f"{folder}/a.png", f"{folder}/{name}"]
        assert (layout.root / folder / name).read_text() == FOREIGN
    assert rows(layout, "SELECT rated FROM images") == [("*1:reject/a.png",)]
    assert rows(layout, "SELECT count(*) FROM verdicts WHERE by = 'person'") == [(0,)]
    check_true(layout)
    (layout.root / "reject" / name).write_text(FOREIGN.replace("xmp:Rating='1'", "xmp:Rating='5'"))
    work(layout, mode, WATCH__MODE="polling")  # now it is one
    assert sidecars(layout) == {f"keep/{name}": 5}
    assert rows(layout, "SELECT verdict, how FROM verdicts WHERE by = 'person'") == [("keep", "stars")]


@pytest.mark.parametrize("number", ["9", "-2", "1e300"])
def test_a_number_that_is_none_of_stars_does_not_stand(layout: Layout, number: str) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    theirs = FOREIGN.replace("xmp:Rating='1'", f"xmp:Rating='{number}'")
    (layout.inbox(Kind.SCORE) / "a.png.xmp").write_text(theirs)
    work(layout, "sidecar", 7.0)
    assert sidecars(layout) == {"keep/a.png.xmp": 4}
    assert rows(layout, "SELECT rated FROM images") == [("4:keep/a.png",)]


def test_stars_of_a_person_are_those_of_the_picture_that_the_sidecar_is_of(layout: Layout) -> None:
    """`a.xmp` is of a.jpg, where that lies beside a.png: by the first name, as for all that goes along."""
    for number, ending in enumerate(("jpg", "png")):
        picture(layout.inbox(Kind.SCORE) / f"a.{ending}", number)
    (layout.inbox(Kind.SCORE) / "a.xmp").write_text(FOREIGN)
    for mode in ("sidecar", "lightroom"):
        work(layout, mode)
        assert sidecars(layout) == {"keep/a.png.xmp": 4, "keep/a.xmp": 1}
        assert (layout.root / "keep/a.xmp").read_text() == FOREIGN
        connection = sqlite3.connect(layout.database)
        with connection:
            connection.execute("UPDATE images SET unrated = 1")
        connection.close()
    assert rows(layout, "SELECT rated FROM images ORDER BY path") == [("*1:keep/a.jpg",), ("4:keep/a.png",)]


def test_a_crash_after_our_stars_were_written_into_a_persons_sidecar_makes_them_nobodys(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    (layout.inbox(Kind.SCORE) / "a.png.xmp").write_text(UNRATED)

    def dies(*_: object) -> None:
        raise _Dies

    with monkeypatch.context() as patch:
        patch.setattr(Images, "rated", dies)
        with pytest.raises(_Dies):
            work(layout, "sidecar", 7.0)
    assert sidecars(layout) == {"keep/a.png.xmp": 4}
    mailbox.ask(layout, {"do": "reroute", "keep": 8})
    work(layout, "sidecar")
    assert sidecars(layout) == {"reject/a.png.xmp": -1}
    assert rows(layout, "SELECT rated FROM images") == [("-1:reject/a.png",)]
    assert rows(layout, "SELECT count(*) FROM verdicts WHERE by = 'person'") == [(0,)]


def test_all_of_a_persons_sidecar_stays_as_it_was(layout: Layout) -> None:
    before = FOREIGN.replace(" xmp:Rating='1'", "").replace(
        "'/></rdf:RDF>", "'>\r\n <!-- é -->\t</rdf:Description></rdf:RDF>"
    )
    long = before.replace("<!-- é -->", f"<!-- {'history ' * 50_000} -->")  # drawn masks of darktable
    for number, text in enumerate((before, "\ufeff" + before, long)):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
        (layout.inbox(Kind.SCORE) / f"{number}.xmp").write_bytes(text.encode())
    work(layout, "sidecar")
    for number, text in enumerate((before, "\ufeff" + before, long)):
        found = (layout.root / f"keep/{number}.xmp").read_bytes().decode()
        assert found.replace(' xmp:Rating="4"', "") == text
        assert stars_of(layout.root / f"keep/{number}.xmp") == 4


def test_a_sidecar_that_cannot_be_understood_is_left_as_it_is(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    (layout.inbox(Kind.SCORE) / "a.xmp").write_text("no XML at all")
    assert work(layout, "sidecar").paused is None
    assert files_in(layout, "keep") == ["keep/a.png", "keep/a.xmp"]
    assert (layout.root / "keep/a.xmp").read_text() == "no XML at all"


@pytest.mark.parametrize("name", ["a.png.xmp", "a.xmp"])
@pytest.mark.parametrize(("theirs", "stars"), [(UNRATED, 4), (FOREIGN, 1)])
def test_a_persons_sidecar_that_comes_later_takes_the_place_of_ours(
    layout: Layout, name: str, theirs: str, stars: int
) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    work(layout, "sidecar")
    assert sidecars(layout) == {"keep/a.png.xmp": 4}
    (layout.inbox(Kind.SCORE) / name).write_text(theirs)
    work(layout, "sidecar")
    assert files_in(layout, "inbox") == []
    assert sidecars(layout) == {f"keep/{name}": stars}
    assert "xmp:Label='Red'" in (layout.root / "keep" / name).read_text()
    assert rows(layout, "SELECT count(*) FROM verdicts WHERE by = 'person'") == [(0,)]


def a_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def a_link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/etc/hostname")


def a_dead_link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")


def a_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


def another_picture(path: Path) -> None:
    picture(path, 99)


def no_picture(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff")


ODD: list[Callable[[Path], None]] = [a_folder, a_link, a_dead_link, a_pipe]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_file_in_the_place_of_a_sidecar_stops_nothing(
    layout: Layout, odd: Callable[[Path], None]
) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    work(layout, "off")
    odd(layout.root / "keep/a.png.xmp")
    picture(layout.inbox(Kind.SCORE) / "b.png", 2)
    assert work(layout, "sidecar").paused is None
    assert stars_of(layout.root / "keep/b.png.xmp") == 4
    assert Path("/etc/hostname").is_file()
    assert not (layout.root / "keep/a.png.xmp").is_file() or (layout.root / "keep/a.png.xmp").is_symlink()


@pytest.mark.parametrize("mode", ["in-place", "sidecar"])
@pytest.mark.parametrize("done", [*ODD, nothing, another_picture, no_picture])
def test_a_file_that_a_person_changed_or_took_is_left_alone_and_stops_nothing(
    layout: Layout, done: Callable[[Path], None], mode: str
) -> None:
    prompt(layout)
    work(layout, "off")
    path = layout.root / "keep/p-s7.png"
    done(path)
    before = path.read_bytes() if path.is_file() else None
    prompt(layout, "a dog --seed 8", "q.txt")
    report = work(layout, mode)
    assert report.paused is None
    assert (path.read_bytes() if path.is_file() else None) == before
    other = layout.root / ("keep/q-s8.png" if mode == "in-place" else "keep/q-s8.png.xmp")
    assert stars_of(other) == 4
    assert rows(layout, "SELECT count(*) FROM images WHERE unrated") == [(0,)]  # not looked at for ever
    assert files_in(layout, ".hotfolder/staging") == []


def test_a_folder_that_a_person_replaced_by_a_file_stops_nothing(layout: Layout) -> None:
    (layout.inbox(Kind.GENERATE) / "set").mkdir()
    prompt(layout, name="set/p.txt")
    work(layout, "off")
    shutil.rmtree(layout.root / "keep/set")
    (layout.root / "keep/set").write_text("mine")
    prompt(layout, "a dog --seed 8", "q.txt")
    assert work(layout, "in-place").paused is None
    assert stars_of(layout.root / "keep/q-s8.png") == 4
    assert (layout.root / "keep/set").read_text() == "mine"


@pytest.mark.parametrize("mode", ["sidecar", "lightroom", "in-place"])
def test_a_name_as_long_as_names_can_be_stops_nothing(layout: Layout, mode: str) -> None:
    picture(layout.inbox(Kind.SCORE) / ("x" * 251 + ".png"), 1)
    picture(layout.inbox(Kind.SCORE) / "y.png", 2)
    report = work(layout, mode)
    assert report.paused is None
    assert report.done == 2
    assert any(path.startswith("keep/y.") for path in sidecars(layout))


# --- later ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "ending"), [("sidecar", ".png.xmp"), ("lightroom", ".xmp")])
def test_after_a_reroute_the_sidecar_follows_its_image(layout: Layout, mode: str, ending: str) -> None:
    for name in ("a", "b"):
        picture(layout.inbox(Kind.SCORE) / f"set/{name}.png", ord(name))
    work(layout, mode, by_name({"a": 7.0, "b": 9.0}))
    assert sidecars(layout) == {f"keep/set/a{ending}": 4, f"keep/set/b{ending}": 5}
    mailbox.ask(layout, {"do": "reroute", "keep": 8})
    work(layout, mode)
    assert sidecars(layout) == {f"reject/set/a{ending}": -1, f"keep/set/b{ending}": 5}
    mailbox.ask(layout, {"do": "undo"})
    work(layout, mode)
    assert sidecars(layout) == {f"keep/set/a{ending}": 4, f"keep/set/b{ending}": 5}
    check_true(layout)


def test_after_a_reroute_an_image_has_its_other_stars_in_place(layout: Layout) -> None:
    prompt(layout)
    work(layout, "in-place", 7.0)
    before = (layout.root / "keep/p-s7.png").read_bytes()
    mailbox.ask(layout, {"do": "reroute", "keep": 8})
    work(layout, "in-place")
    assert stars_of(layout.root / "reject/p-s7.png") == -1
    check_true(layout)
    mailbox.ask(layout, {"do": "undo"})
    work(layout, "in-place")
    assert (layout.root / "keep/p-s7.png").read_bytes() == before
    check_true(layout)


def test_turned_on_later_it_rates_what_is_there(layout: Layout) -> None:
    for name in ("a", "b"):
        picture(layout.inbox(Kind.SCORE) / f"{name}.png", ord(name))
    prompt(layout)
    work(layout, "off", by_name({"a": 2.0}))
    assert sidecars(layout) == {}
    work(layout, "in-place")
    assert sidecars(layout) == {"reject/a.png.xmp": -1, "keep/b.png.xmp": 4}
    assert stars_of(layout.root / "keep/p-s7.png") == 4
    check_true(layout)


def test_turned_on_while_it_works_it_rates_what_is_there(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")
    line, mode = reloadable(layout)
    with working(line):
        wait_for((layout.root / "keep/a.png").exists, 20, "it is kept")
        mode[0] = "sidecar"
        line.reload()
        wait_for((layout.root / "keep/a.png.xmp").exists, 20, "it is rated")
    assert sidecars(layout) == {"keep/a.png.xmp": 4}


def reloadable(layout: Layout) -> tuple[Daemon, list[str]]:
    """A daemon that does not rate, and where it finds the mode that it has after `reload`."""
    mode = ["off"]

    def load() -> Settings:
        return settings(layout, **{**PLAIN, "OUTPUT__RATING": mode[0], "OUTPUT__MIN_FREE_MB": "0"})

    return Daemon(layout.root, load(), ScriptedExecutor(always(7.5)), load=load), mode


# --- crashes -------------------------------------------------------------------------------------


def dies_before_the_row(layout: Layout, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stars are written, and the ledger does not know."""

    def dies(*_: object) -> None:
        raise _Dies

    with monkeypatch.context() as patch:
        patch.setattr(Images, "rated", dies)
        with pytest.raises(_Dies):
            work(layout, mode)
    assert rows(layout, "SELECT count(*) FROM images WHERE rated IS NULL")[0][0] >= 1


@pytest.mark.parametrize("mode", ["in-place", "sidecar"])
def test_a_crash_between_the_file_and_its_row_is_healed(
    layout: Layout, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        prompt(layout, f"a cat --seed {number}", f"p{number}.txt")
    work(layout, "off")
    dies_before_the_row(layout, mode, monkeypatch)
    first = layout.root / ("keep/p0-s0.png" if mode == "in-place" else "keep/p0-s0.png.xmp")
    assert stars_of(first) == 4
    before = first.read_bytes()
    work(layout, mode)
    assert first.read_bytes() == before
    check_true(layout)
    assert rows(layout, "SELECT count(*) FROM images WHERE rated LIKE '4:keep/%'") == [(3,)]


def test_a_crash_before_the_file_is_in_its_place_leaves_it_whole(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt(layout)
    work(layout, "off")
    path = layout.root / "keep/p-s7.png"
    before = path.read_bytes()

    def dies(self: Beneath, src: str, dst: str) -> None:
        raise _Dies

    with monkeypatch.context() as patch:
        patch.setattr(Beneath, "replace", dies)
        with pytest.raises(_Dies):
            ratings.Ratings(layout, Ledger.open(layout.database)).work("in-place")
    assert path.read_bytes() == before
    work(layout, "in-place")
    assert stars_of(path) == 4
    check_true(layout)


def test_a_crash_after_which_the_stars_are_others_is_healed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt(layout)
    work(layout, "off", 7.0)
    dies_before_the_row(layout, "in-place", monkeypatch)
    assert stars_of(layout.root / "keep/p-s7.png") == 4
    mailbox.ask(layout, {"do": "reroute", "keep": 8})
    work(layout, "in-place")
    assert stars_of(layout.root / "reject/p-s7.png") == -1
    check_true(layout)


# --- disks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["in-place", "sidecar"])
def test_no_space_for_the_stars_pauses_and_goes_on(
    layout: Layout, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt(layout)
    work(layout, "off")
    path = layout.root / "keep/p-s7.png"
    before = path.read_bytes()
    full = threading.Event()
    full.set()
    real = os.fsync

    def fsync(handle: int) -> None:
        name = str(Path(f"/proc/self/fd/{handle}").readlink())
        if full.is_set() and ("rating-" in name or name.startswith(str(layout.root / "keep"))):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    line = daemon(layout, ScriptedExecutor(always(7.5)), **{**PLAIN, "OUTPUT__RATING": mode})
    with working(line):
        wait_for_pause(layout, "no space left")
        # It is tried again and again, and each time nothing is left.
        wait_for(lambda: files_in(layout, ".hotfolder/staging") == [], 20, "nothing is left of it")
        assert path.read_bytes() == before
        assert not (layout.root / "keep/p-s7.png.xmp").exists()
        full.clear()
        done = path if mode == "in-place" else layout.root / "keep/p-s7.png.xmp"
        wait_for(lambda: done.exists() and stars_of(done) == 4, 20, "it goes on by itself")
        wait_for(lambda: paused(layout) == "", 20, "it says so")
    check_true(layout)


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "none") as disk:
        layout = new_root(disk)
        prompt(layout, "a cat --seed 7 --count 5")
        line, mode = reloadable(layout)
        with working(line):
            wait_for(lambda: len(files_in(layout, "keep")) == 5, 20, "they are kept")
            before = {path: (layout.root / path).read_bytes() for path in files_in(layout, "keep")}
            filler = fill_up(disk)
            mode[0] = "in-place"
            line.reload()
            time.sleep(1)  # it looks again and again meanwhile
            assert {path: (layout.root / path).read_bytes() for path in before} == before
            filler.unlink()
            wait_for(lambda: all(stars_of(layout.root / p) == 4 for p in before), 20, "it goes on by itself")
            assert {p: pixels((layout.root / p).read_bytes()) for p in before} == {
                path: pixels(data) for path, data in before.items()
            }
        check_true(layout)


@pytest.mark.parametrize("mode", ["in-place", "sidecar"])
def test_a_folder_that_is_read_only_pauses_and_goes_on(layout: Layout, mode: str) -> None:
    prompt(layout)
    work(layout, "off")
    keep, path = layout.root / "keep", layout.root / "keep/p-s7.png"
    if not run("chattr", "+i", str(keep)):
        pytest.skip("this file system, or this user, makes no folder immutable")
    try:
        before = path.read_bytes()
        with working(daemon(layout, ScriptedExecutor(always(7.5)), **{**PLAIN, "OUTPUT__RATING": mode})):
            wait_for_pause(layout, "keep")
            assert path.read_bytes() == before
            run("chattr", "-i", str(keep))
            done = path if mode == "in-place" else layout.root / "keep/p-s7.png.xmp"
            wait_for(lambda: done.exists() and stars_of(done) == 4, 20, "it goes on by itself")
            wait_for(lambda: paused(layout) == "", 20, "it says so")
    finally:
        run("chattr", "-i", str(keep))
    check_true(layout)


# --- another database ----------------------------------------------------------------------------


def test_a_database_is_made_anew_with_sidecars_around(layout: Layout) -> None:
    for name in ("a", "b"):
        picture(layout.inbox(Kind.SCORE) / f"{name}.png", ord(name))
    prompt(layout)
    work(layout, "sidecar", by_name({"a": 2.0}))
    (layout.root / "keep/other.png.xmp").write_text(FOREIGN)
    before, told = rows(layout, "SELECT path, sha256 FROM images ORDER BY path"), sidecars(layout)
    assert len(told) == 4
    layout.database.write_bytes(b"no database" * 1000)
    assert work(layout, "sidecar").paused is None
    assert rows(layout, "SELECT path, sha256 FROM images ORDER BY path") == before
    assert sidecars(layout) == told


def test_a_database_is_made_anew_with_rated_images_around(layout: Layout) -> None:
    prompt(layout)
    work(layout, "in-place")
    before = sha256(layout.root / "keep/p-s7.png")
    for path in layout.root.glob("hotfolder.db*"):
        path.unlink()
    picture(layout.inbox(Kind.SCORE) / "new.png")
    assert work(layout, "in-place").done == 1
    assert rows(layout, "SELECT path, sha256 FROM images WHERE path LIKE '%p-s7%'") == [("keep/p-s7.png", before)]
    check_true(layout)


def test_what_was_dropped_is_not_changed_after_the_database_was_made_anew(layout: Layout) -> None:
    """Also what says of itself that it was generated: it may be a person's, from another root."""
    told = {
        "prompt": "a cat", "seed": 7, "steps": 8, "sampler": "DDIM", "guidance": 3.0, "width": 8, "height": 8,
        "model": "shapes",
    }  # fmt: skip
    image = Image.new("RGB", (8, 8), "red")
    staged = stage(image, layout.root.parent / "mine", "mine", "png", carried=explained(told))
    dropped = layout.inbox(Kind.SCORE) / "mine.png"
    shutil.copy(staged.path, dropped)
    before = dropped.read_bytes()
    work(layout, "in-place")
    assert (layout.root / "keep/mine.png").read_bytes() == before
    for path in layout.root.glob("hotfolder.db*"):
        path.unlink()
    work(layout, "in-place")
    connection = sqlite3.connect(layout.database)
    with connection:  # as after a rescore
        assert connection.execute("UPDATE images SET score = 9").rowcount == 1
    connection.close()
    work(layout, "in-place")
    assert rows(layout, "SELECT rated FROM images") == [("5:keep/mine.png",)]
    assert (layout.root / "keep/mine.png").read_bytes() == before


def test_stars_of_a_person_are_written_into_our_own_images_and_stay(layout: Layout) -> None:
    prompt(layout)
    work(layout, "in-place")
    ours = layout.root / "keep/p-s7.png"
    assert stars_of(ours) == 4
    mailbox.ask(layout, {"do": "stars", "stars": 5, "images": [1]})
    work(layout, "in-place")
    assert stars_of(ours) == 5
    mailbox.ask(layout, {"do": "verdict", "verdict": "reject", "images": [1]})
    work(layout, "in-place")
    assert stars_of(layout.root / "reject/p-s7.png") == 5
    check_true(layout)
    mailbox.ask(layout, {"do": "undo", "last": 2})
    work(layout, "in-place")
    assert stars_of(ours) == 4
    assert sidecars(layout) == {}
    check_true(layout)
