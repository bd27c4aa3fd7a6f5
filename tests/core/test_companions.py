"""Which files belong to which picture, by their names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotfolder.core.companions import belongs_to, left_behind, pairs, renamed


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("a.png.xmp", "a.png"),
        ("a.xmp", "a.png"),
        ("A.XMP", "a.png"),
        ("IMG_1.xmp", "IMG_1.JPG"),
        ("a.json", "a.png"),
        ("IMG_1.jpg.supplemental-metadata.json", "IMG_1.jpg"),
        ("IMG_1.jpg.suppl.json", "IMG_1.jpg"),
        ("IMG_1.jpg(2).json", "IMG_1(2).jpg"),
        ("IMG_1.jpg.supplemental-metadata(2).json", "IMG_1(2).jpg"),
        ("x" * 46 + ".json", "x" * 60 + ".jpg"),
        ("a.txt", "a.png"),
        ("a.caption", "a.webp"),
        ("IMG_1.AAE", "IMG_1.HEIC"),
        ("IMG_1.MOV", "IMG_1.JPG"),
        ("IMG_1.CR3", "IMG_1.JPG"),
        ("a.nef", "a.jpg"),
        ("a.nef.xmp", "a.nef"),
        ("a_01.nef.xmp", "a.nef"),
        ("a.jpg.dop", "a.jpg"),
        ("a.b.c.txt", "a.b.c.png"),
        ("a.png.note.md", "a.png"),
    ],
)  # fmt: skip
def test_it_belongs_to_it(name: str, picture: str) -> None:
    assert belongs_to(name, picture)
    assert pairs([picture, name, "other.png", "zebra.txt"]) == {name: picture}


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("b.xmp", "a.png"),
        ("a.pdf", "a.png"),
        ("a.png", "a.jpg"),
        ("a.png.error.json", "a.png"),
        ("a-1.xmp", "a.png"),
        ("IMG_10.json", "IMG_1.jpg"),
        ("IMG_1.jpg(2).json", "IMG_1.jpg.png"),
        ("a.jpg.png", "a.jpg"),
        ("a.png", "a.txt"),
    ],
)  # fmt: skip
def test_it_does_not(name: str, picture: str) -> None:
    assert not belongs_to(name, picture)


def test_what_belongs_to_the_raw_half_goes_with_the_other_half() -> None:
    assert pairs(["a.cr3", "a.cr3.xmp", "a.jpg", "a.xmp"]) == dict.fromkeys(
        ("a.cr3", "a.cr3.xmp", "a.xmp"), "a.jpg"
    )
    assert pairs(["a.cr3", "a.cr3.xmp", "a.xmp"]) == {"a.cr3.xmp": "a.cr3", "a.xmp": "a.cr3"}


def test_of_several_pictures_with_its_stem_it_goes_with_the_first_and_with_its_own_capitals() -> None:
    assert pairs(["a.png", "a.jpg", "a.txt"]) == {"a.txt": "a.jpg"}
    assert pairs(["A.png", "a.png", "a.png.xmp", "A.txt"]) == {"a.png.xmp": "a.png", "A.txt": "A.png"}


def test_what_failed_by_itself_belongs_to_nobody() -> None:
    assert pairs(["p.png", "p.txt", "p.txt.error.json", "p.png.error.json"]) == {}


@pytest.mark.parametrize(
    ("name", "picture", "now", "wanted"),
    [
        ("a.png.xmp", "a.png", "a-1.png", "a-1.png.xmp"),
        ("a.xmp", "a.png", "a-1.png", "a-1.xmp"),
        ("IMG_1.CR3.xmp", "IMG_1.JPG", "IMG_1-2.JPG", "IMG_1-2.CR3.xmp"),
        ("img_1.XMP", "IMG_1.JPG", "x.JPG", "x.XMP"),
        ("a_01.nef.xmp", "a.nef", "a-1.nef", "a-1_01.nef.xmp"),
        ("I.jpg(2).json", "I(2).jpg", "I(2).jpg", "I.jpg(2).json"),
        ("I.jpg(2).json", "I(2).jpg", "I(2)-1.jpg", "I(2)-1.jpg.json"),
    ],
)  # fmt: skip
def test_it_is_renamed_with_its_picture(name: str, picture: str, now: str, wanted: str) -> None:
    assert renamed(name, picture, now) == wanted


NAME = st.from_regex(r"\A[aA]{1,2}(_01)?(\(1\))?(\.(png|JPG|cr3|xmp|json|txt|error)){1,3}\Z")


@given(st.lists(NAME, max_size=8, unique=True))
def test_nobody_belongs_to_what_belongs_to_another_or_is_not_there(names: list[str]) -> None:
    found = pairs(names)
    assert found.keys() <= set(names) and set(found.values()) <= set(names)
    assert not found.keys() & set(found.values())
    for name, picture in found.items():
        assert renamed(name, picture, picture) == name


def test_what_is_left_behind_is_of_pictures_that_are_gone_and_of_no_other() -> None:
    there = [
        "keep/a.xmp", "keep/a.nef", "keep/b.jpg", "keep/b.xmp", "keep/b.tif.xmp", "keep/b.TIF.dop", "keep/c.txt",
        "a.pp3", "reject/a.pp3", "keep/IMG_1.jpg(2).json", "keep/d.error.json", "keep/d.dng", "keep/ab.xmp",
    ]  # fmt: skip
    moved = ["keep/a.jpg", "keep/b.tif", "keep/IMG_1(2).jpg", "keep/d.png"]
    assert left_behind(moved, there, {"keep/d.dng"}) == {
        "keep/a.jpg": ["keep/a.nef"],  # and with that one, what may be its own
        "keep/b.tif": ["keep/b.TIF.dop", "keep/b.tif.xmp"],
        "keep/IMG_1(2).jpg": ["keep/IMG_1.jpg(2).json"],
    }
    assert left_behind(["keep/b.jpg"], there, set()) == {}  # another file has its name now
    assert left_behind([], there, set()) == {}
