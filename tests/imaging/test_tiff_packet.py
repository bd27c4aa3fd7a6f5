"""Stars in TIFF files, and in JPEG files of several pictures: every other byte stays where it was."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from hotfolder.demo.pictures import draw_landscape
from hotfolder.imaging import xmp
from hotfolder.imaging.packets import with_packet
from tests.support.stars import stars_in

OTHERS = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    b"<rdf:Description rdf:about='' xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Label='Red'/></rdf:RDF></x:xmpmeta>"
)


def rated(data: bytes, stars: int) -> bytes:
    return with_packet(data, lambda packet: xmp.rated(packet, stars))


def tiff(*, words: bool = False, **options: Any) -> bytes:
    """Two pages of 16 bits, the first with a smaller copy of itself in a folder below."""
    pixels = np.random.default_rng(1).integers(0, 65536, (2, 40, 60, 3), dtype=np.uint16)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as writer:
        extra = [(700, 1, len(OTHERS), OTHERS, True)] if words else []
        writer.write(pixels[0], photometric="rgb", subifds=1, extratags=extra, metadata=None)
        writer.write(pixels[0, ::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        writer.write(pixels[1], photometric="rgb", metadata=None)
    return buffer.getvalue()


TIFFS = {
    "little": lambda: tiff(byteorder="<"),
    "big": lambda: tiff(byteorder=">"),
    "large": lambda: tiff(byteorder="<", bigtiff=True),
    "large, with words": lambda: tiff(byteorder=">", bigtiff=True, words=True),
    "with words": lambda: tiff(byteorder="<", words=True),
}


def pages(data: bytes) -> list[bytes]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        first: Any = file.pages[0]
        found = [page.asarray().tobytes() for page in file.pages]
        return [*found, *(page.asarray().tobytes() for page in first.pages)]


def packet_in(data: bytes) -> bytes:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        first: Any = file.pages[0]
        found: bytes = first.tags[700].value
        return found


def tags_in(data: bytes) -> dict[int, Any]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        first: Any = file.pages[0]
        return {tag.code: tag.value for tag in first.tags}


@pytest.mark.parametrize("name", sorted(TIFFS))
def test_a_tiff_gets_stars_and_keeps_every_byte(name: str) -> None:
    data = TIFFS[name]()
    new = rated(data, 4)
    assert stars_in(packet_in(new)) == 4
    assert (b"xmp:Label='Red'" in packet_in(new)) == ("words" in name)
    header = 16 if "large" in name else 8
    assert new[header : len(data)] == data[header:]
    assert len(pages(new)) == 3
    assert pages(new) == pages(data)
    before, after = tags_in(data), tags_in(new)
    assert list(after) == sorted(after)
    assert {**before, 700: None} == {**after, 700: None}
    # Again and again, it grows no more.
    again = rated(new, 1)
    assert stars_in(packet_in(again)) == 1
    assert len(rated(again, -1)) <= len(again) + 8
    assert pages(again) == pages(data)


def test_pillow_reads_it_as_well() -> None:
    buffer = io.BytesIO()
    draw_landscape(1, (50, 40)).save(buffer, "TIFF", compression="tiff_lzw", description="a lake")
    with Image.open(io.BytesIO(rated(buffer.getvalue(), 3))) as image, Image.open(buffer) as before:
        assert image.tobytes() == before.tobytes()
        assert stars_in(image.tag_v2[700]) == 3  # type: ignore[attr-defined]
        assert image.tag_v2[270] == "a lake"  # type: ignore[attr-defined]


def test_a_damaged_tiff_is_refused_or_keeps_its_bytes() -> None:
    data = TIFFS["with words"]()
    (folder,) = struct.unpack_from("<I", data, 4)
    rng = np.random.default_rng(0)
    damaged = [data[:end] for end in (0, 3, 4, 7, 8, folder, folder + 5, folder + 40, len(data) - 1)]
    for _ in range(300):
        one = bytearray(data)
        at = int(rng.integers(0, 8)) if rng.random() < 0.2 else folder + int(rng.integers(0, 200))
        one[at] = int(rng.integers(0, 256))
        damaged.append(bytes(one))
    refused = 0
    for each in damaged:
        try:
            new = rated(each, 3)
        except ValueError:
            refused += 1
        else:
            assert new[8 : len(each)] == each[8:]
    assert 0 < refused < len(damaged)


@pytest.mark.parametrize("with_words", [False, True])
def test_the_further_pictures_of_a_jpeg_are_found_again(*, with_words: bool) -> None:
    """As phones write them: a second view, or a map of its light."""
    buffer = io.BytesIO()
    more = {"xmp": OTHERS} if with_words else {}
    second = draw_landscape(2, (50, 40))
    draw_landscape(1, (50, 40)).save(buffer, "MPO", save_all=True, append_images=[second], **more)
    data = buffer.getvalue()
    new = rated(rated(data, 5), -1)
    for number in (0, 1):
        with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(new)) as after:
            assert before.format == after.format == "MPO"
            before.seek(number)
            after.seek(number)
            assert before.tobytes() == after.tobytes()
    with Image.open(io.BytesIO(new)) as image:
        entries = image.mpinfo[0xB002]  # type: ignore[attr-defined]
        assert stars_in(image.info["xmp"]) == -1
    for entry in entries:
        start = entry["DataOffset"] + (new.index(b"MPF\0") + 4 if entry["DataOffset"] else 0)
        assert new[start : start + 2] == b"\xff\xd8"
        assert new[start + entry["Size"] - 2 : start + entry["Size"]] == b"\xff\xd9"
