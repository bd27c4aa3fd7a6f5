"""Images for inbox/generate that would take the memory of whoever decodes them, or unpacks what they say."""

from __future__ import annotations

import collections
import os
import resource
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from hotfolder.errors import HotfolderError
from hotfolder.prompt_files.reading import read_specs
from tests.faults.hostile import chunk

_PNG = b"\x89PNG\r\n\x1a\n"
_END = chunk(b"IEND", b"")
_PACKED = zlib.compress(bytes(2**30), 9)  # 1 MB of a gigabyte
_SPARSE = 12 * 2**30
_SETTINGS = b'{"prompt": "a cat", "seed": 1}'


def _header(width: int = 1, height: int = 1) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def _part(kind: int, body: bytes) -> bytes:
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body


def _riff(*parts: tuple[bytes, bytes]) -> bytes:
    inside = b"".join(kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for kind, body in parts)
    return b"RIFF" + struct.pack("<I", len(inside) + 4) + b"WEBP" + inside


def _exif(number: int = 5_000) -> bytes:
    """Each of so many values is nearly the whole of it."""
    room = 60_000
    entries = b"".join(struct.pack("<HHII", tag, 7, room - 1_000, 0) for tag in range(number))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, number) + entries[: room - 20]


def bombs(folder: Path) -> Iterator[Path]:
    """About thirty; most are holes, and take no place on the disk."""

    def made(name: str, *parts: bytes, size: int = 0) -> Path:
        path = folder / name
        with path.open("wb") as file:
            file.write(b"".join(parts))
            file.truncate(max(size, file.tell()))
        return path

    vp8x = (b"VP8X", bytes([0x2C]) + bytes(9))
    large = struct.pack("<I", 2**32 - 100)
    yield made("sparse.webp", _riff(vp8x), size=_SPARSE)
    yield made("sparse-exif.webp", _riff(vp8x)[:-1] + b"\0EXIF" + large, size=_SPARSE)
    yield made("sparse-xmp.webp", _riff(vp8x)[:-1] + b"\0XMP " + large, size=_SPARSE)
    yield made("sparse-icc.webp", _riff(vp8x)[:-1] + b"\0ICCP" + large, size=_SPARSE)
    yield made("sparse-pixels.webp", _riff(vp8x)[:-1] + b"\0VP8L" + large, size=_SPARSE)
    yield made("sparse-frames.webp", _riff(vp8x, (b"ANIM", bytes(6))), size=_SPARSE)
    yield made("wide.webp", _riff((b"VP8L", b"\x2f\xff\xff\xff\x0f" + bytes(100))))
    yield made("exif.webp", _riff(vp8x, (b"EXIF", _exif())))
    yield made("exif-many.webp", _riff(vp8x, *[(b"EXIF", bytes(2**20))] * 50))
    yield made("xmp-many.webp", _riff(vp8x, *[(b"XMP ", b"x" * 2**20)] * 50))
    yield made("sparse.jpg", b"\xff\xd8\xff\xe0\0\2", size=_SPARSE)
    yield made("fill.jpg", b"\xff\xd8" + b"\xff" * 2**26)
    yield made("com.jpg", b"\xff\xd8" + _part(0xFE, bytes(65_533)) * 1_000 + b"\xff\xd9")
    yield made("app.jpg", b"\xff\xd8" + _part(0xED, bytes(65_533)) * 1_000 + b"\xff\xd9")
    yield made("icc.jpg", b"\xff\xd8" + _part(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)) * 1_000 + b"\xff\xd9")
    yield made("xmp.jpg", b"\xff\xd8" + _part(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(65_000)) * 1_000)
    yield made("exif.jpg", b"\xff\xd8" + _part(0xE1, _exif()) + b"\xff\xd9")
    yield made("exif-long.jpg", b"\xff\xd8" + _part(0xE1, b"Exif\0\0" + bytes(65_000)) * 1_000 + b"\xff\xd9")
    yield made("short.jpg", b"\xff\xd8" + _part(0xFE, b"") * 500_000)
    frame = _part(0xC0, b"\x08\xff\xff\xff\xff\x03\1\x11\0\2\x11\0\3\x11\0")
    yield made("large.jpg", b"\xff\xd8" + frame + b"\xff\xd9")
    yield made("sparse.png", _PNG + _header(), size=_SPARSE)
    yield made("sparse-text.png", _PNG + _header() + b"\x7f\xff\xff\xfftEXt", size=_SPARSE)
    yield made("sparse-profile.png", _PNG + _header() + b"\x7f\xff\xff\xffiCCPp\0\0", size=_SPARSE)
    yield made("sparse-pixels.png", _PNG + _header(60_000, 60_000) + b"\x7f\xff\xff\xffIDAT", size=_SPARSE)
    yield made("ztxt.png", _PNG + _header() + chunk(b"zTXt", b"parameters\0\0" + _PACKED[: 2**20 - 20]) + _END)
    yield made(
        "itxt.png", _PNG + _header() + chunk(b"iTXt", b"hotfolder\0\1\0\0\0" + _PACKED[: 2**20 - 20]) + _END
    )
    yield made("iccp.png", _PNG + _header() + chunk(b"iCCP", b"p\0\0" + _PACKED) + _END)
    small = zlib.compress(bytes(2**20 - 1), 9)  # 1 KB of a megabyte
    texts = (chunk(b"zTXt", b"k%d\0\0" % number + small) for number in range(3_900))
    yield made("four-gigabytes.png", _PNG + _header(), *texts, _END)
    again = chunk(b"zTXt", b"parameters\0\0" + small) * 4_000
    yield made("again.png", _PNG + _header() + again + _END)
    named = chunk(b"tEXt", b"hotfolder\0" + _SETTINGS) + chunk(b"tEXt", b"k\0" + bytes(2**20 - 2)) * 60
    yield made("said-by-a-large-one.png", _PNG + _header() + named + _END, size=_SPARSE)
    yield made("tiny-chunks.png", _PNG + _header() + chunk(b"aaAa", b"") * 500_000 + _END)


def measured(folder: Path) -> Iterator[str]:
    """For each bomb, in a process of its own: its name, what it ended with, and its peak in MiB."""
    made = os.fork()
    if made == 0:  # so that what they are made of counts for nobody
        collections.deque(bombs(folder), maxlen=0)
        os._exit(0)
    os.waitpid(made, 0)
    for path in (None, *sorted(folder.iterdir())):
        pid = os.fork()
        if pid == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
            try:
                if path is not None:
                    read_specs(path, lambda _: None)
            except HotfolderError:
                os._exit(1)
            except BaseException:  # noqa: BLE001 - whatever else it is, it is wrong
                os._exit(2)
            os._exit(0)
        _, status, used = os.wait4(pid, 0)
        yield f"{path.name if path else 'nothing'} {os.waitstatus_to_exitcode(status)} {used.ru_maxrss >> 10}"


if __name__ == "__main__":
    most = int(sys.argv[2]) << 20  # MiB that a process may have
    for line in measured(Path(sys.argv[1])):
        if line.startswith("nothing"):
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        print(line, flush=True)  # noqa: T201
