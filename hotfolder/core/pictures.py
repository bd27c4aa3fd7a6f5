"""Which files are pictures, by their ending and by their first bytes. Whether one is whole, only decoding tells."""

from __future__ import annotations

import re

#: Endings of pictures, but for RAW.
PLAIN = frozenset((
    ".apng", ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif",
    ".avif", ".avifs", ".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga",
    ".icb", ".vda", ".vst", ".psd", ".heic", ".heif", ".hif", ".jxl",
))  # fmt: skip
#: Of the RAW files of cameras.
RAW = frozenset((
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mef",
    ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
))  # fmt: skip
#: Bytes that `is_picture` and `what_it_is` want to see.
HEAD = 512
#: What a file begins with, of every format that is read, and of the RAW files of cameras.
_BEGINNINGS = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",
    b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n", b"8BPS",
    b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM", b"II\x1a\0\0\0HEAPCCDR",
)  # fmt: skip
#: Kinds of the container that films have, too (ISO 14496-12): AVIF, HEIF and Canon's RAW.
_BRANDS = frozenset((
    b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"crx ",
))  # fmt: skip
_OTHERS = (
    ((b"%PDF",), "a PDF"),
    ((b"PK\x03\x04", b"PK\x05\x06", b"7z\xbc\xaf", b"Rar!", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"),
     "an archive"),
    ((b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"0&\xb2u"), "a film"),
    ((b"ID3", b"fLaC", b"OggS", b"\xff\xfb", b"MThd"), "sound"),
    ((b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe"), "a program"),
    ((b"\0\0\1\0", b"\0\0\2\0", b"qoif", b"v/1\x01", b"DDS ", b"gimp xcf", b"%!PS", b"#?RADIANCE", b"SIMPLE  ="),
     "a picture of a format that is not read"),
)  # fmt: skip
_PPM = re.compile(rb"P[1-7fFyY][\s#]")
_WINDOWS = (12, 16, 40, 52, 56, 64, 108, 124)


def ending_of(name: str) -> str:
    """`.png` of `a.PNG`. Asked for every file at every scan."""
    at = name.rfind(".")
    return name[at:].lower() if at > 0 else ""


def is_picture(head: bytes) -> bool:
    """Whether a file that begins so is, or once was, a picture of a format that is read."""
    return (
        head.startswith(_BEGINNINGS)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and bool(_BRANDS & brands(head)))
        or _PPM.match(head) is not None
        or (head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _WINDOWS)
    )


def what_it_is(head: bytes) -> str:
    """What begins so, in words, of what is no picture; empty where that is not known."""
    for beginnings, what in _OTHERS:
        if head.startswith(beginnings):
            return what
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "a film"
    if head[:4] == b"RIFF":
        return "sound" if head[8:12] == b"WAVE" else "a film"
    if not head:
        return "an empty file"
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if "<svg" in text:
        return "a picture of a format that is not read"
    whole = text[:-4]  # the last character may be cut
    return "" if "\0" in head.decode("latin-1") or "\ufffd" in whole else "text"


def brands(head: bytes) -> set[bytes]:
    """What a file of ISO's media container calls itself."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
