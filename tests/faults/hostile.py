"""Hostile and odd files: a generator, so that all of them are made anew in each run."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, PngImagePlugin

from hotfolder.demo.pictures import draw_landscape


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"".join(parts)


def files(seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """(name, content) of more than 300 files; some are right, and odd."""
    picture = draw_landscape(seed, (96, 64))
    whole = {
        "png": encoded(picture, "PNG"),
        "jpg": encoded(picture, "JPEG"),
        "webp": encoded(picture, "WEBP"),
        "tif": encoded(picture, "TIFF"),
        "gif": encoded(picture, "GIF"),
        "bmp": encoded(picture, "BMP"),
        "avif": encoded(picture, "AVIF"),
        "jp2": encoded(picture, "JPEG2000"),
        "ppm": encoded(picture, "PPM"),
        "tga": encoded(picture, "TGA"),
    }
    for ending, data in whole.items():
        yield f"whole.{ending}", data
        for percent in range(0, 100, 5):
            yield f"cut-{percent:02d}.{ending}", data[: len(data) * percent // 100]
    rng = random.Random(seed)
    for ending in ("png", "jpg", "webp", "tif", "gif", "avif", "jp2"):
        for number in range(5):
            data = bytearray(whole[ending])
            for _ in range(20):
                data[rng.randrange(20, len(data))] = rng.randrange(256)
            yield f"noise-{number}.{ending}", bytes(data)
        yield f"trailing.{ending}", whole[ending] + rng.randbytes(1000)
        for other in ("png", "jpg", "txt"):
            yield f"really-{ending}-as-{other}.{other}", whole[ending]
    yield from _not_images(rng)
    yield from _bombs()
    yield from _odd_sizes()
    yield from _odd_pixels(picture)
    yield from _metadata(picture)


def _not_images(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    archive, tar = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.png", "x")
    with tarfile.open(fileobj=tar, mode="w") as bundle:
        bundle.addfile(tarfile.TarInfo("../../etc/passwd"))
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch /tmp/owned) (w) file\n"
    for name, data in {
        "zip": archive.getvalue(), "tar": tar.getvalue(), "gz": gzip.compress(b"x" * 1000), "svg": svg, "eps": eps,
        "pdf": b"%PDF-1.7\n%%EOF", "html": b"<html><img src=x onerror=alert(1)>", "elf": b"\x7fELF" + bytes(60),
        "shell": b"#!/bin/sh\ntouch /tmp/owned\n", "text": b"just words", "nul": bytes(5000), "empty": b"",
        "one": b"\x89", "magic": b"\x89PNG\r\n\x1a\n", "soi": b"\xff\xd8", "riff": b"RIFF\xff\xff\xff\xffWEBP",
        "mvg": b"push graphic-context\nimage over 0,0 0,0 'https://example.invalid/x'\n",
        "fli": b"\x00\x00\x00\x00\x11\xaf" + bytes(200), "ico": b"\x00\x00\x01\x00\x01\x00" + bytes(40),
        "psd": b"8BPS\x00\x01" + bytes(40), "random": rng.randbytes(4000),
    }.items():  # fmt: skip
        yield f"{name}.png", data


def _bombs() -> Iterator[tuple[str, bytes]]:
    flat = zlib.compress(bytes(10_000_000), 9)
    yield "bomb-huge.png", png(60_000, 60_000, flat)
    yield "bomb-max.png", png(2**31 - 1, 2**31 - 1, flat)
    yield "bomb-wide.png", png(2**31 - 1, 1, flat)
    yield (
        "bomb-text.png",
        png(1, 1, zlib.compress(bytes(4)), chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**28)))),
    )
    yield (
        "bomb-icc.png",
        png(1, 1, zlib.compress(bytes(4)), chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2**28)))),
    )
    long = chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(2**28)))
    yield "bomb-itxt.png", png(1, 1, zlib.compress(bytes(4)), long)
    gif = bytearray(encoded(Image.new("P", (1, 1)), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield "bomb.gif", bytes(gif)
    bmp = bytearray(encoded(Image.new("RGB", (1, 1)), "BMP"))
    bmp[18:26] = struct.pack("<ii", 100_000, 100_000)
    yield "bomb.bmp", bytes(bmp)
    yield "bomb.ppm", b"P6 100000 100000 255\n" + bytes(100)
    tiff = encoded(Image.new("RGB", (64, 64)), "TIFF", compression="tiff_deflate")
    yield "bomb.tif", tiff.replace(struct.pack("<HHI", 256, 4, 1), struct.pack("<HHI", 256, 4, 1), 1)[:200]
    loop = bytearray(encoded(Image.new("RGB", (8, 8)), "TIFF"))
    yield "loop.tif", bytes(loop[:-4]) + struct.pack("<I", 8)


def _odd_sizes() -> Iterator[tuple[str, bytes]]:
    for width, height in ((0, 0), (0, 5), (5, 0)):
        yield f"size-{width}x{height}.png", png(width, height, zlib.compress(b""))
    for size in ((1, 1), (1, 65_535), (65_535, 1), (2, 3), (3, 2000), (7, 7)):
        yield f"size-{size[0]}x{size[1]}.png", encoded(Image.new("RGB", size, (9, 99, 199)), "PNG")
    yield "edge.jpg", encoded(Image.new("L", (65_500, 2), 90), "JPEG")


def _odd_pixels(picture: Image.Image) -> Iterator[tuple[str, bytes]]:
    grey = picture.convert("L")
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        image = (
            Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
        )
        yield f"mode-{mode.replace(';', '-')}.png", encoded(image, "PNG")
    for mode in ("CMYK", "YCbCr", "LAB", "1", "L", "RGBA", "I;16", "F"):
        values = np.asarray(grey, np.float32)
        if mode == "F":
            image = Image.fromarray(values / 255)
        elif mode == "I;16":
            image = Image.fromarray(values.astype(np.uint16) * 257)
        else:
            image = picture.convert(mode)
        yield f"mode-{mode.replace(';', '-')}.tif", encoded(image, "TIFF")
    for name, value in (("nan", np.nan), ("inf", np.inf), ("minus", -1.0), ("big", 1e30)):
        yield f"float-{name}.tif", encoded(Image.fromarray(np.full((8, 8), value, np.float32)), "TIFF")
    yield "cmyk.jpg", encoded(picture.convert("CMYK"), "JPEG")
    yield "grey.jpg", encoded(grey, "JPEG")
    yield "progressive.jpg", encoded(picture, "JPEG", progressive=True)
    frames = [picture.rotate(angle) for angle in range(0, 40, 10)]
    for ending, format_ in (("gif", "GIF"), ("webp", "WEBP"), ("png", "PNG"), ("tif", "TIFF"), ("avif", "AVIF")):
        yield f"animated.{ending}", encoded(frames[0], format_, save_all=True, append_images=frames[1:])


def _metadata(picture: Image.Image) -> Iterator[tuple[str, bytes]]:
    yield "icc-broken.png", encoded(picture, "PNG", icc_profile=b"this is no profile" * 10)
    yield "icc-broken.jpg", encoded(picture, "JPEG", icc_profile=bytes(200))
    yield "icc-cmyk.jpg", encoded(picture.convert("CMYK"), "JPEG", icc_profile=b"broken" * 30)
    yield "exif-broken.jpg", encoded(picture, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(50))
    yield "exif-broken.png", encoded(picture, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a" * 3_000_000)
    yield "text-long.png", encoded(picture, "PNG", pnginfo=text)
    text = PngImagePlugin.PngInfo()
    for number in range(2000):
        text.add_text(f"key{number}", "x" * 100)
    yield "text-many.png", encoded(picture, "PNG", pnginfo=text)
    text = PngImagePlugin.PngInfo()
    text.add_text("hotfolder", '{"prompt": "\x1b[31mred\x07", "seed": "not a number"}')
    yield "text-escapes.png", encoded(picture, "PNG", pnginfo=text)
    orientation = Image.Exif()
    orientation[0x0112] = 99
    yield "orientation-99.jpg", encoded(picture, "JPEG", exif=orientation)
    noise = chunk(b"IDAT", b"x")  # a second stream of pixels in the middle
    yield "doubled.png", png(2, 2, zlib.compress(bytes(14)), noise)
    yield "huge-metadata.png", png(1, 1, zlib.compress(bytes(4)), chunk(b"tEXt", b"k\0" + bytes(66 << 20)))
