"""Names that nobody dropped."""

import fnmatch
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotfolder.config.settings import Settings
from hotfolder.core.litter import LITTER, ignored

DEFAULT = Settings().watch.ignore
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/inboxes.md"


@pytest.mark.parametrize(
    "name",
    [
        "a.jpg.opdownload",
        "Unconfirmed 12345.crdownload",
        "a.jpg.filepart",
        "a.jpg.partial",
        "a.jpg.!qB",
        "a.jpg.!ut",
        "a.jpg.downloading",
        "a.jpg.aria2",
        "a.zip.xltd",
        "a.jpg.temp",
        "IMG_1.jpg:Zone.Identifier",
        "IMG_1.jpg\uf03aZone.Identifier",
        "~$report.docx",
        ".~lock.a.odt#",
        "#notes.txt#",
        ".#notes.txt",
        "4913",
        ".syncthing.a.jpg.tmp",
        "~syncthing~a.jpg.tmp",
        ".goutputstream-X1Y2Z3",
        "a.png.sb-1a2b3c4d-Xy12Zq",
        "@eaDir",
        "IMG_1.JPG@SynoEAStream",
        ".@__thumb",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        ".Spotlight-V100",
        ".DS_Store",
        "._IMG_1.jpg",
        "__MACOSX",
        "Icon\r",
        "Thumbs.db",
        "ehthumbs_vista.db",
    ],
)
def test_litter_is_left_alone(name: str) -> None:
    assert ignored(name, DEFAULT)


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "4913.png",
        "icons",
        "icon.png",
        "part.jpg",
        "party",
        "#1 cat.jpg",
        "$5.png",
        "tmp",
        "temp.jpg",
        "a.b.c.tif",
        "recycled",
        "@home.jpg",
        "download",
        "x.sync-conflict-20260101-101010-ABCDEFG.jpg",
        "p.txt",
        "hotfolder.toml",
    ],
)
def test_what_people_drop_is_not_taken_for_litter(name: str) -> None:
    assert ignored(name, DEFAULT) is None


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("a.png", None), ("A.PART", "*.part"), (".a", ".*"), ("a~", "*~"), ("x.crdownload", "*.crdownload")],
)
def test_the_pattern_is_named(name: str, pattern: str | None) -> None:
    assert ignored(name, DEFAULT) == pattern


def test_a_list_of_ones_own_takes_the_place_of_ours() -> None:
    own = Settings.model_validate({"watch": {"ignore": ("*.bak",)}}).watch.ignore
    assert ignored("a.bak", own) == "*.bak"
    assert ignored("a.jpg.opdownload", own) is None


@given(st.text(st.sampled_from("ab.*?[!]~#"), max_size=6), st.text(st.sampled_from("ab.~#"), max_size=8))
def test_any_pattern_means_what_a_shell_says(pattern: str, name: str) -> None:
    assert (ignored(name, (pattern,)) is not None) == fnmatch.fnmatchcase(name, pattern)


def test_the_list_is_documented() -> None:
    rows = [f"| {who} | {' '.join(f'`{name}`' for name in names)} |" for who, names in LITTER.items()]
    assert "\n".join(rows) in DOCUMENT.read_text()
