"""Stars for photographs where they lie."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hotfolder.demo.pictures import draw_landscape
from hotfolder.errors import DiskFull
from hotfolder.imaging.packets import with_packet
from hotfolder.oneshot.stars import NotRated, Rated, rate
from tests.support.stars import ratings_in, stars_in

PERSON = (
    "<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='XMP Core 6.0'>"
    "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description rdf:about='' "
    "xmlns:xmp='http://ns.adobe.com/xap/1.0/'{} xmp:Label='Grün'/></rdf:RDF></x:xmpmeta>"
)
PLAIN, GIVEN = PERSON.format(""), PERSON.format(" xmp:Rating='2'")


def photo(path: Path, **options: Any) -> Path:
    image = draw_landscape(1, (40, 30))
    if path.suffix in (".dng", ".cr2"):
        buffer = io.BytesIO()
        image.save(buffer, "TIFF")
        path.write_bytes(buffer.getvalue())
    else:
        image.save(path, **options)
    return path


def stars(file: Path, number: int, *, in_file: bool = False, overwrite: bool = False) -> Rated:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return rate(file, number, digest, in_file=in_file, overwrite=overwrite)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def pixels(file: Path) -> bytes:
    with Image.open(io.BytesIO(file.read_bytes())) as image:
        return image.tobytes()


# --- beside it -----------------------------------------------------------------------------------


def test_a_photograph_gets_a_file_beside_it_and_stays_as_it_is(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg")
    before, at = file.read_bytes(), file.stat()
    assert stars(file, 4) == Rated((tmp_path / "a.jpg.xmp",))
    assert stars_in((tmp_path / "a.jpg.xmp").read_bytes()) == 4
    assert (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino) == (before, at.st_mtime_ns, at.st_ino)
    assert stars(file, -1).places == (tmp_path / "a.jpg.xmp",)  # ours is written anew
    assert stars_in((tmp_path / "a.jpg.xmp").read_bytes()) == -1
    assert sorted(tree(tmp_path)) == ["a.jpg", "a.jpg.xmp"]


def test_a_raw_file_is_rated_for_lightroom_and_for_digikam(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.cr2")
    before = file.read_bytes()
    assert stars(file, 3, in_file=True).places == (tmp_path / "a.cr2.xmp", tmp_path / "a.xmp")
    assert {stars_in(data) for name, data in tree(tmp_path).items() if name != "a.cr2"} == {3}
    assert file.read_bytes() == before  # a camera's own file is never written


@pytest.mark.parametrize("name", ["a.jpg.xmp", "a.xmp"])
def test_a_persons_sidecar_gets_the_stars_and_keeps_all_else(tmp_path: Path, name: str) -> None:
    file, beside = photo(tmp_path / "a.jpg"), tmp_path / name
    beside.write_text(PLAIN)
    beside.chmod(0o640)
    assert stars(file, 4).places == (beside,)
    assert ratings_in(beside.read_bytes()) == ["4"]
    assert beside.read_text().replace(' xmp:Rating="4"', "") == PLAIN
    assert beside.stat().st_mode & 0o777 == 0o640
    assert sorted(tree(tmp_path)) == ["a.jpg", name]  # none of ours is laid beside it


def test_a_persons_stars_stay_unless_they_are_to_be_overwritten(tmp_path: Path) -> None:
    file, beside = photo(tmp_path / "a.jpg"), tmp_path / "a.jpg.xmp"
    beside.write_text(GIVEN)
    assert stars(file, 4) == Rated(kept=2)
    assert beside.read_text() == GIVEN
    assert stars(file, 2).places == (beside,)  # they are the same
    assert stars(file, 4, overwrite=True).places == (beside,)
    assert beside.read_text() == GIVEN.replace("xmp:Rating='2'", "xmp:Rating='4'")
    beside.write_text(GIVEN.replace("'2'", "'0'"))  # none, as cameras write it
    assert stars(file, 4).places == (beside,)


@pytest.mark.parametrize("beside", ["a.txt", "a.mov", "a.JSON"])
def test_a_caption_or_a_film_is_no_other_picture_that_the_sidecar_may_be_of(tmp_path: Path, beside: str) -> None:
    file = photo(tmp_path / "a.jpg")
    (tmp_path / beside).write_text("a dog")
    (tmp_path / "a").mkdir()
    (tmp_path / "a.xmp").write_text(GIVEN)
    assert stars(file, 4) == Rated(kept=2)
    assert sorted(tree(tmp_path)) == sorted(["a.jpg", "a.xmp", beside])


def test_the_sidecar_of_the_raw_file_is_not_that_of_the_jpeg(tmp_path: Path) -> None:
    jpeg, raw = photo(tmp_path / "a.jpg"), photo(tmp_path / "a.cr2")
    (tmp_path / "a.xmp").write_text(PLAIN)
    assert stars(raw, 5).places == (tmp_path / "a.xmp",)
    assert stars(jpeg, 1).places == (tmp_path / "a.jpg.xmp",)
    assert ratings_in((tmp_path / "a.xmp").read_bytes()) == ["5"]


@pytest.mark.parametrize("content", ["", "no xml", "<!DOCTYPE x><x/>", "<x/>", "\udcff", "x" * (5 * 2**20)])
def test_a_sidecar_that_is_not_understood_stays_as_it_is(tmp_path: Path, content: str) -> None:
    file, beside = photo(tmp_path / "a.jpg"), tmp_path / "a.jpg.xmp"
    beside.write_bytes(content.encode(errors="surrogateescape"))
    before = tree(tmp_path)
    if not content:  # an empty one says nothing that could be lost
        assert stars(file, 3).places == (beside,)
        return
    with pytest.raises(NotRated, match=r"a\.jpg\.xmp is not understood"):
        stars(file, 3)
    assert tree(tmp_path) == before


def test_no_link_is_followed_to_a_sidecar(tmp_path: Path) -> None:
    file, elsewhere = photo(tmp_path / "a.jpg"), tmp_path / "elsewhere"
    elsewhere.write_text(PLAIN)
    (tmp_path / "a.jpg.xmp").symlink_to(elsewhere)
    with pytest.raises(NotRated):
        stars(file, 3)
    assert elsewhere.read_text() == PLAIN


# --- in it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.dng"])
def test_stars_in_the_file_itself(tmp_path: Path, name: str) -> None:
    file = photo(tmp_path / name)
    file.chmod(0o604)
    shown = pixels(file)
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(os, "setxattr"):
            try:
                os.setxattr(file, "user.tag", b"holiday")
            except OSError:
                patch.setattr(os, "getxattr", lambda *_: b"holiday")
        assert stars(file, 4, in_file=True) == Rated((file,))
        assert os.getxattr(file, "user.tag") == b"holiday"
    assert sorted(tree(tmp_path)) == [name]
    with Image.open(file) as image:
        image.load()
        found = image.tag_v2[700] if name[-3:] in ("tif", "dng") else image.info["xmp"]  # type: ignore[attr-defined]
    assert stars_in(found) == 4
    assert pixels(file) == shown
    assert file.stat().st_mode & 0o777 == 0o604
    at = file.stat()
    assert stars(file, 4, in_file=True).places == (file,)
    assert file.stat().st_ino == at.st_ino  # nothing had to be written
    assert stars(file, 2, in_file=True).places == (file,)  # ours is no person's
    assert pixels(file) == shown


def test_a_persons_stars_in_the_file_stay_as_well(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg", xmp=GIVEN.encode())
    before = file.read_bytes()
    assert stars(file, 5, in_file=True) == Rated(kept=2)
    assert file.read_bytes() == before
    assert stars(file, 5, in_file=True, overwrite=True) == Rated((file,))
    with Image.open(file) as image:
        assert ratings_in(image.info["xmp"]) == ["5"]
        assert "xmp:Label='Grün'".encode() in image.info["xmp"]


def test_what_raw_converters_write_may_be_long(tmp_path: Path) -> None:
    words = PLAIN.replace("Grün", "x" * 500_000).encode()
    file = photo(tmp_path / "a.png")
    file.write_bytes(with_packet(file.read_bytes(), lambda _: words))
    assert stars(file, 5, in_file=True) == Rated((file,))
    with Image.open(file) as image:
        assert stars_in(image.text["XML:com.adobe.xmp"].encode()) == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["a.gif", "a.bmp", "a.avif"])
def test_a_format_without_a_place_is_refused(tmp_path: Path, name: str) -> None:
    file = photo(tmp_path / name)
    before = tree(tmp_path)
    with pytest.raises(NotRated, match="no stars can be put into it") as found:
        stars(file, 3, in_file=True)
    assert "beside" in found.value.fix
    assert tree(tmp_path) == before


def test_what_changed_since_it_was_judged_is_left(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg")
    before = file.read_bytes()
    with pytest.raises(NotRated, match="changed after it had been judged"):
        rate(file, 3, "0" * 64, in_file=True, overwrite=False)
    assert file.read_bytes() == before


def test_what_changes_meanwhile_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = photo(tmp_path / "a.jpg")
    fsync = os.fsync

    def and_somebody_saves(handle: int) -> None:
        fsync(handle)
        photo(file, quality=50)

    monkeypatch.setattr(os, "fsync", and_somebody_saves)
    with pytest.raises(NotRated, match="changed by somebody"):
        stars(file, 3, in_file=True)
    saved = file.read_bytes()
    monkeypatch.undo()
    assert saved == photo(tmp_path / "b.jpg", quality=50).read_bytes()
    assert sorted(tree(tmp_path)) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_or_a_power_cut_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, *, in_file: bool
) -> None:
    file = photo(tmp_path / "a.jpg")
    (tmp_path / "a.jpg.xmp").write_text(PLAIN)
    before = tree(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, full)
        with pytest.raises(DiskFull):
            stars(file, 3, in_file=in_file)
    assert tree(tmp_path) == before  # nothing half written is left, either

    class Dies(BaseException):
        """The power is cut."""

    def dies(*_: object, **__: object) -> None:
        raise Dies

    with monkeypatch.context() as patch:
        patch.setattr(os, step, dies)
        with pytest.raises(Dies):
            stars(file, 3, in_file=in_file)
    assert {name: data for name, data in tree(tmp_path).items() if not name.endswith(".partial")} == before
    stars(file, 3, in_file=in_file)
    assert sorted(tree(tmp_path)) == sorted(before)  # what was left is taken away
    changed = file if in_file else tmp_path / "a.jpg.xmp"
    assert {name for name, data in tree(tmp_path).items() if data != before[name]} == {changed.name}


def test_a_link_to_a_photograph_means_the_photograph(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    file = photo(tmp_path / "real/a.jpg")
    link = tmp_path / "link.jpg"
    link.symlink_to(file)
    stars(link, 3, in_file=True)
    assert link.is_symlink()
    with Image.open(file) as image:
        assert stars_in(image.info["xmp"]) == 3
