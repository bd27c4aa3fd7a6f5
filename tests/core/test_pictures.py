"""Pictures by their first bytes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from hotfolder.core.pictures import HEAD, is_picture, what_it_is


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_what_is_read_is_known_by_its_first_bytes(format_: str) -> None:
    made = io.BytesIO()
    Image.new("RGB", (8, 8)).save(made, format_)
    assert is_picture(made.getvalue()[:HEAD])


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        b"\0\0\0\x1cftypmsf1\0\0\0\0hevc",
        b"IIRO\x08\0",
        b"FUJIFILMCCD-RAW 0201",
        b"\xff\x0a\xfa",
        b"8BPS\0\1",
    ],
)
def test_pictures_that_need_more_are_pictures(head: bytes) -> None:
    assert is_picture(head)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  \0\0\0\x08wide", "a film"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "a film"),
        (b"RIFF\0\0\0\0AVI LIST", "a film"),
        (b"RIFF\0\0\0\0WAVEfmt ", "sound"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"PK\x03\x04\x14\0", "an archive"),
        (b'{"title": "IMG_1.jpg"}', "text"),
        ("grüße, Ж".encode(), "text"),
        (b"BM is how this text begins", "text"),
        (b"Page 1 of a text", "text"),
        (b"", "an empty file"),
        (b'<?xml version="1.0"?><svg xmlns="x">', "a picture of a format that is not read"),
        (b"\0\0\1\0\1\0\x10\x10", "a picture of a format that is not read"),
        (b"\x93NUMPY\1\0\0", ""),
    ],
)
def test_what_is_none_has_a_name(head: bytes, what: str) -> None:
    assert not is_picture(head)
    assert what_it_is(head) == what
