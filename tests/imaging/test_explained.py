"""What a generated image says of itself is read back, by us and by other programs; rating it changes nothing else."""

from __future__ import annotations

import io
import json
import re
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import Base
from PIL.PngImagePlugin import PngInfo

from hotfolder.core.prompts.metadata import from_metadata
from hotfolder.core.prompts.tags import embeddings_in
from hotfolder.demo.pictures import draw_landscape
from hotfolder.errors import NotAnImage, PromptSyntax
from hotfolder.imaging import xmp
from hotfolder.imaging.encode import ENDINGS, stage
from hotfolder.imaging.metadata import a1111_parameters, explained, read_generation
from hotfolder.imaging.packets import with_packet
from hotfolder.types import PromptSpec
from tests.imaging.test_carried import enlarge, photograph
from tests.support.stars import RATING, ratings_in, stars_in

FORMATS = ["png", "webp", "jpeg"]
#: A prompt with everything that a format between here and there could stumble over.
HARD = 'a "red" cat, c:d\nsecond line, 猫 😀 größer <b>&" \x01\x0b\x7f ]]> --> \\n end'
SETTINGS: dict[str, Any] = {
    "prompt": HARD, "negative_prompt": 'bad, worse: "x"\nand <more>', "seed": 4294967295, "model": "shapes",
    "model_sha256": "ab" * 32, "width": 64, "height": 48, "steps": 8, "guidance": 3.5, "sampler": "DPM++ 2M Karras",
    "lora": {"/models/pixel-art.safetensors": 0.8, "other": -1.5}, "init_image": "/p/a, b: c.png", "strength": 0.6,
}  # fmt: skip
ASKED = PromptSpec(
    HARD, 'bad, worse: "x"\nand <more>', 4294967295, None, "shapes", 64, 48, 8, 3.5, sampler="DPM++ 2M Karras",
    lora=(("/models/pixel-art.safetensors", 0.8), ("other", -1.5)), init_image="/p/a, b: c.png", strength=0.6,
    exact=True,
)  # fmt: skip
PLAIN: dict[str, Any] = {
    "prompt": "a red circle", "negative_prompt": "", "seed": 7, "model": "shapes", "model_sha256": "cd" * 32,
    "width": 64, "height": 48, "steps": 8, "guidance": 3.0, "sampler": "DDIM",
}  # fmt: skip
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
}


def made(folder: Path, format_: str, told: Mapping[str, Any] = SETTINGS) -> Path:
    """An image file that says this of itself, written as the station writes it."""
    return Path(stage(PIXELS, folder, "made", format_, carried=explained(told)).path)


def pixels_of(data: bytes) -> tuple[str, tuple[int, int], bytes] | None:
    """What a viewer shows; None for what it cannot."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return image.mode, image.size, image.tobytes()
    except Exception:  # noqa: BLE001 - Pillow raises what it likes
        return None


def parts(data: bytes) -> list[bytes]:
    """Chunks or segments, without the packet; what follows the last one is one more. Its own parser, on purpose."""
    found: list[bytes] = []
    if data.startswith(b"\x89PNG"):
        at, found = 8, [data[:8]]
        while at < len(data):
            end = at + 12 + int.from_bytes(data[at : at + 4], "big")
            found.append(data[at:end])
            at = end
            if found[-1][4:8] == b"IEND":
                found.append(data[at:])
                break
        return [part for part in found if part[8:25] != b"XML:com.adobe.xmp"]
    if data.startswith(b"RIFF"):
        at = 12
        assert int.from_bytes(data[4:8], "little") == len(data) - 8
        while at < len(data):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            found.append(data[at : at + 8 + size + size % 2])
            at += 8 + size + size % 2
        head = found[0]
        assert head[:4] == b"VP8X"
        found[0] = head[:8] + bytes([head[8] & ~4]) + head[9:]  # the flag that there is a packet
        return [part for part in found if not part.startswith(b"XMP ")]
    at, found = 2, [data[:2]]
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append(data[at:end])
        at = end
    found.append(data[at:])
    return [part for part in found if part[4:33] != b"http://ns.adobe.com/xap/1.0/\0"]


def packet_of(data: bytes) -> bytes | None:
    """The packet as Pillow finds it."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        found = image.info.get("xmp")
    return found.encode() if isinstance(found, str) else found


def rated(data: bytes, stars: int) -> bytes:
    return with_packet(data, lambda packet: xmp.rated(packet, stars))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


# --- read back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("kind", ["hard", "plain"])
def test_what_is_said_is_read_back(tmp_path: Path, format_: str, kind: str) -> None:
    plain = PromptSpec("a red circle", "", 7, None, "shapes", 64, 48, 8, 3.0, sampler="DDIM", exact=True)
    told, asked = (SETTINGS, ASKED) if kind == "hard" else (PLAIN, plain)
    found = read_generation(made(tmp_path, format_, told))
    assert found["parameters"] == a1111_parameters(told)
    assert json.loads(found["hotfolder"]) == told
    assert from_metadata("made", found) == replace(asked, model_sha256=told["model_sha256"])
    # And by those who know only of the web UI's text.
    assert from_metadata("made", {"parameters": found["parameters"]}) == replace(
        asked, model_sha256=told["model_sha256"][:10], is_plain_cfg=True
    )


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_prompt_is_read_back(tmp_path: Path, format_: str, prompt: str) -> None:
    told = {**PLAIN, "prompt": prompt}
    path = made(tmp_path, format_, told)
    assert json.loads(read_generation(path)["hotfolder"]) == told
    path.write_bytes(rated(path.read_bytes(), 4))
    assert json.loads(read_generation(path)["hotfolder"]) == told


@pytest.mark.parametrize("format_", FORMATS)
def test_a_rated_image_says_the_same_of_itself(tmp_path: Path, format_: str) -> None:
    path = made(tmp_path, format_)
    before = read_generation(path)
    for stars in (4, -1, 0):
        path.write_bytes(rated(path.read_bytes(), stars))
        assert read_generation(path) == before
        packet = packet_of(path.read_bytes())
        assert packet is not None
        assert ratings_in(packet) == [str(stars)]
        assert stars_in(packet) == stars
        assert xmp.generation_of(packet) == before["hotfolder"]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "prompt", ["stars: xmp:Rating='3' here", "xmp:Rating = '", 'xmp:Rating="3"', "<xmp:Rating>3<"]
)
def test_a_prompt_that_speaks_of_ratings_is_not_taken_for_one(tmp_path: Path, format_: str, prompt: str) -> None:
    told = {**PLAIN, "prompt": prompt}
    path = made(tmp_path, format_, told)
    path.write_bytes(rated(path.read_bytes(), 4))
    packet = packet_of(path.read_bytes())
    assert packet is not None
    assert ratings_in(packet) == ["4"]
    assert json.loads(read_generation(path)["hotfolder"]) == told
    assert json.loads(xmp.generation_of(packet) or "") == told


def test_a_sampler_without_a_name_is_left_to_the_model() -> None:
    for sampler in ("FlowMatchEulerDiscrete", "", None, 7):
        text = json.dumps({**PLAIN, "sampler": sampler})
        assert from_metadata("a.png", {"hotfolder": text}).sampler is None


def test_an_image_that_says_nothing_and_what_is_none(tmp_path: Path) -> None:
    draw_landscape(1, (20, 20)).save(tmp_path / "a.png")
    assert read_generation(tmp_path / "a.png") == {}
    with pytest.raises(PromptSyntax, match="does not say how"):
        from_metadata("a.png", {})
    (tmp_path / "b.png").write_text("a cat")
    with pytest.raises(NotAnImage):
        read_generation(tmp_path / "b.png")
    assert read_generation(photograph(tmp_path / "c.jpg")) == {}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "[" * 100_000, '{"prompt": 7}', '{"prompt": " ", "seed": 1}']
)
def test_settings_that_are_damaged_are_refused(text: str) -> None:
    with pytest.raises(PromptSyntax):
        from_metadata("a.png", {"hotfolder": text})


@pytest.mark.parametrize("format_", FORMATS)
def test_a_very_long_prompt_does_not_cost_the_picture(tmp_path: Path, format_: str) -> None:
    told = {**PLAIN, "prompt": "long, " * 15_000}
    path = made(tmp_path, format_, told)
    assert pixels_of(path.read_bytes()) is not None
    if format_ != "jpeg":  # whose segments end at 64 KiB
        assert json.loads(read_generation(path)["hotfolder"]) == told


# --- other programs ------------------------------------------------------------------------------


def exiftool(path: Path) -> dict[str, Any]:
    """What exiftool says of a file, numbers as numbers, each name with its group."""
    if shutil.which("exiftool") is None:
        pytest.skip("there is no exiftool here (Debian: libimage-exiftool-perl)")
    done = subprocess.run(
        ["exiftool", "-j", "-G1", "-n", "-all", "-warning", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (found,) = json.loads(done.stdout)
    return dict(found)


@pytest.mark.parametrize("format_", FORMATS)
def test_exiftool_reads_all_of_it(tmp_path: Path, format_: str) -> None:
    path = made(tmp_path, format_)
    where = "PNG:Parameters" if format_ == "png" else "ExifIFD:UserComment"
    found = exiftool(path)
    # It leaves out one control character, which JSON would take.
    assert found[where].replace("\x7f", "") == a1111_parameters(SETTINGS).replace("\x7f", "")
    assert found["XMP-iptcExt:DigitalSourceType"] == xmp.GENERATED
    assert "XMP-xmp:Rating" not in found
    assert found["XMP-xmp:CreatorTool"].startswith("hotfolder ")
    for stars in (4, -1):
        path.write_bytes(rated(path.read_bytes(), stars))
        again = exiftool(path)
        assert again["XMP-xmp:Rating"] == stars
        assert (again[where], again["XMP-iptcExt:DigitalSourceType"]) == (found[where], xmp.GENERATED)
        assert "ExifTool:Warning" not in again


@pytest.mark.parametrize("format_", ["webp", "jpeg"])
def test_the_comment_has_the_type_that_exif_wants(tmp_path: Path, format_: str) -> None:
    """UNDEFINED (7): exiv2, and with it digiKam and darktable, takes a comment of bytes for a list of numbers."""
    with Image.open(made(tmp_path, format_)) as image:
        data = (
            image.getexif().tobytes().removeprefix(b"Exif\0\0") if "exif" not in image.info else image.info["exif"]
        )
    data = data.removeprefix(b"Exif\0\0")
    order = "<" if data.startswith(b"II") else ">"
    found = re.search(re.escape(struct.pack(order + "H", Base.UserComment)) + b"(..)", data, re.DOTALL)
    assert found is not None
    assert struct.unpack(order + "H", found[1]) == (7,)


def test_exiftool_reads_a_sidecar_and_a_file_of_its_own_that_was_rated(tmp_path: Path) -> None:
    sidecar = tmp_path / "a.png.xmp"
    sidecar.write_bytes(xmp.rated(None, 3))
    assert exiftool(sidecar)["XMP-xmp:Rating"] == 3
    path = photograph(tmp_path / "a.jpg")
    subprocess.run(
        ["exiftool", "-q", "-overwrite_original", "-XMP-dc:Subject=cat", "-XMP-xmp:CreatorTool=me",
         "-XMP-xmp:Label=Red", str(path)],
        check=True,
    )  # fmt: skip
    path.write_bytes(rated(path.read_bytes(), 2))
    found = exiftool(path)
    assert found["XMP-xmp:Rating"] == 2
    assert (found["XMP-dc:Subject"], found["XMP-xmp:CreatorTool"]) == ("cat", "me")
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-XMP-xmp:Rating=5", str(path)], check=True)
    path.write_bytes(rated(path.read_bytes(), 1))
    assert exiftool(path)["XMP-xmp:Rating"] == 1


# --- packets of others ---------------------------------------------------------------------------


def foreign(begin: str, inner: str = "") -> bytes:
    return (
        "<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='Other 1'>\n"
        "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\n"
        f"<rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/' {begin}>{inner}"
        "<dc:subject><rdf:Bag><rdf:li>Kätze &amp; Hund</rdf:li></rdf:Bag></dc:subject></rdf:Description>\n"
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


XMP = "xmlns:xmp='http://ns.adobe.com/xap/1.0/'"
#: One rdf:Description for each namespace, as exiftool and Adobe's older programs write them.
SEVERAL = foreign("", "").replace(
    b"</rdf:RDF>",
    f"<rdf:Description rdf:about='' {XMP}><xmp:Label>Red</xmp:Label></rdf:Description>\n</rdf:RDF>".encode(),
)
FOREIGN = {
    "an attribute": foreign(f'{XMP} xmp:Label="Red" xmp:Rating="2"'),
    "in single quotes": foreign(f"{XMP} xmp:Rating='2' xmp:Label='Red'"),
    "with spaces": foreign(f"{XMP} xmp:Rating = '2'"),
    "an element": foreign(XMP, "<xmp:Rating>2</xmp:Rating><xmp:Label>Red</xmp:Label>"),
    "an empty element": foreign(XMP, "<xmp:Rating></xmp:Rating>"),
    "a closed element": foreign(XMP, "<xmp:Rating/>"),
    "none": foreign(f'{XMP} xmp:Label="Red"'),
    "no such namespace": foreign("dc:source='me'"),
    "the namespace further up": foreign("dc:source='me'").replace(b"<rdf:RDF ", f"<rdf:RDF {XMP} ".encode()),
    "the namespace in another description": SEVERAL,
    "rated in another description": SEVERAL.replace(b"<xmp:Label>", b"<xmp:Rating>1</xmp:Rating><xmp:Label>"),
    "another prefix": foreign(f"{XMP.replace('xmp=', 'xap=')} xap:Rating='2'"),
    "told of in a text": foreign(XMP, "<dc:source>it has xmp:Rating=\"2\"</dc:source>"),
    "more of that name": foreign(f"{XMP} xmp:RatingPercent='40' xmp:Rating='2'"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_a_packet_of_another_program_is_kept_but_for_the_rating(name: str) -> None:
    before = FOREIGN[name]
    after = xmp.rated(before, 4)
    assert ratings_in(after) == ["4"]
    assert stars_in(after) == 4
    assert not xmp.is_ours(after)

    def rest(packet: bytes) -> Counter[str]:
        """Every element and attribute but ratings."""
        tree = ElementTree.fromstring(packet)
        found = [f"{e.tag}={(e.text or '').strip()}" for e in tree.iter() if e.tag != RATING]
        return Counter(found + [f"{k}={v}" for e in tree.iter() for k, v in e.attrib.items() if k != RATING])

    assert rest(after) == rest(before)
    assert xmp.rated(after, 4) == after
    assert ratings_in(xmp.rated(after, -1)) == ["-1"]


def test_a_packet_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match="no description"):
        xmp.rated(b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", 4)
    assert stars_in(foreign(XMP)) is None
    assert stars_in(FOREIGN["an element"]) == stars_in(FOREIGN["in single quotes"]) == 2
    assert xmp.is_ours(xmp.rated(None, 4))


# --- the rest of the file ------------------------------------------------------------------------


def a_photograph(data: io.BytesIO, **options: Any) -> bytes:
    draw_landscape(1, (40, 30)).save(data, **options)
    return data.getvalue()


def with_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Make] = "Camera"
    return exif


def some_text() -> PngInfo:
    chunks = PngInfo()
    chunks.add_text("Title", "a")
    chunks.add_itxt("Titel", "größer")
    chunks.add_text("packed", "long " * 50, zip=True)
    return chunks


def with_alpha() -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]])).save(data, "WEBP", lossless=True, exact=True)
    return data.getvalue()


def after_the_end() -> bytes:
    return a_photograph(io.BytesIO(), format="PNG") + b"IDAT and what a program appended\x00\xff"


FILES: dict[str, Callable[[], bytes]] = {
    "png": lambda: a_photograph(
        io.BytesIO(), format="PNG", pnginfo=some_text(), icc_profile=b"profile", dpi=(72, 72)
    ),
    "png with bytes after its end": after_the_end,
    "png with a packet": lambda: a_photograph(io.BytesIO(), format="PNG", pnginfo=with_packet_in_text()),
    "jpeg": lambda: a_photograph(io.BytesIO(), format="JPEG", comment=b"hello"),
    "jpeg with exif": lambda: a_photograph(
        io.BytesIO(), format="JPEG", exif=with_exif(), icc_profile=b"p" * 70_000
    ),
    "jpeg with a packet": lambda: a_photograph(
        io.BytesIO(), format="JPEG", exif=with_exif(), xmp=FOREIGN["an element"], progressive=True
    ),
    "webp lossless": lambda: a_photograph(io.BytesIO(), format="WEBP", lossless=True, exif=with_exif()),
    "webp lossy": lambda: a_photograph(io.BytesIO(), format="WEBP", icc_profile=b"odd", exif=with_exif()),
    "webp with a packet": lambda: a_photograph(io.BytesIO(), format="WEBP", xmp=FOREIGN["an attribute"]),
}


def with_packet_in_text() -> PngInfo:
    chunks = some_text()
    chunks.add_itxt("XML:com.adobe.xmp", FOREIGN["an attribute"].decode(), zip=True)
    return chunks


@pytest.mark.parametrize("name", FILES)
def test_rating_changes_the_packet_and_nothing_else(name: str) -> None:
    before = FILES[name]()
    had = packet_of(before)
    told: list[bytes | None] = []

    def change(packet: bytes | None) -> bytes:
        told.append(packet)
        return xmp.rated(packet, 3)

    after = with_packet(before, change)
    assert told == [had]
    assert pixels_of(after) == pixels_of(before) is not None
    assert parts(after) == parts(before)
    assert packet_of(after) == xmp.rated(had, 3)
    assert rated(after, 3) == after  # twice is once
    other = rated(after, 5)
    assert len(other) == len(after)
    assert other.count(b"W5M0MpCehiHzreSzNTczkc9d") + other.count(b"adobe:ns:meta/") == (2 if had is None else 1)
    with Image.open(io.BytesIO(after)) as now, Image.open(io.BytesIO(before)) as then:
        assert now.getexif() == then.getexif()
        assert now.info.get("icc_profile") == then.info.get("icc_profile")


def test_webp_with_alpha_that_is_extended_already() -> None:
    # libwebp writes the simple kind, also of a picture with alpha: announced by hand, as others do it.
    simple = with_alpha()
    assert simple[12:16] == b"VP8L"
    head = struct.pack("<4sIB3x", b"VP8X", 10, 0x10) + bytes([15, 0, 0, 11, 0, 0])
    body = b"WEBP" + head + simple[12:]
    before = b"RIFF" + struct.pack("<I", len(body)) + body
    after = rated(before, 3)
    shown = pixels_of(after)
    assert shown == pixels_of(before) == pixels_of(simple)
    assert shown is not None and shown[0] == "RGBA"
    assert parts(after) == parts(before)
    assert after[20] == 0x14  # alpha as before, and a packet
    assert ratings_in(packet_of(after) or b"") == ["3"]


def test_a_packed_packet_of_a_png_is_read_and_one_that_is_damaged_is_refused() -> None:
    png = a_photograph(io.BytesIO(), format="PNG")
    packed = b"XML:com.adobe.xmp\0\1\0en\0titel\0" + zlib.compress(FOREIGN["an element"])
    at = png.index(b"IDAT") - 4
    before = png[:at] + chunk(b"iTXt", packed) + png[at:]
    after = rated(before, 4)
    assert packet_of(after) == xmp.rated(FOREIGN["an element"], 4)
    assert parts(after) == parts(before) == parts(png)
    damaged = png[:at] + chunk(b"iTXt", packed[:-9]) + png[at:]
    with pytest.raises(ValueError, match="damaged"):
        rated(damaged, 4)


def test_a_packet_behind_the_pixels_of_a_png_is_replaced_there() -> None:
    png = a_photograph(io.BytesIO(), format="PNG")
    old = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + FOREIGN["an element"])
    before = png[:-12] + old + png[-12:]
    after = rated(before, 4)
    assert after.count(b"XML:com.adobe.xmp") == 1
    assert after.index(b"XML:com.adobe.xmp") > after.index(b"IDAT")
    assert after.endswith(png[-12:])
    assert pixels_of(after) == pixels_of(png)


def test_a_jpeg_has_the_packet_after_its_exif_and_before_its_profile() -> None:
    data = rated(FILES["jpeg with exif"](), 3)
    assert data.index(b"Exif\0\0") < data.index(b"http://ns.adobe.com/xap/1.0/\0") < data.index(b"ICC_PROFILE")
    with pytest.raises(ValueError, match="too large"):
        with_packet(data, lambda _: b"x" * 65_510)
    assert pixels_of(with_packet(data, lambda _: b"x" * 65_504)) == pixels_of(data)


def hostile() -> dict[str, bytes]:
    png, jpeg = FILES["png"](), FILES["jpeg with exif"]()
    webp = FILES["webp lossless"]()
    gif = io.BytesIO()
    Image.new("P", (4, 4)).save(gif, "GIF")
    sos = jpeg.index(b"\xff\xda")
    return {
        "nothing": b"",
        "text": b"a cat",
        "gif": gif.getvalue(),
        "png cut": png[: len(png) // 2],
        "png without pixels": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + chunk(b"IEND", b""),
        "png signature alone": png[:8],
        "png with a huge chunk": png[:8] + b"\xff\xff\xff\xff" + png[12:],
        "png with a chunk past its end": png[:33] + struct.pack(">I", len(png)) + png[37:],
        "jpeg start alone": b"\xff\xd8\xff",
        "jpeg marker alone": b"\xff\xd8\xff\xe0",
        "jpeg cut in a length": b"\xff\xd8\xff\xe0\x00",
        "jpeg with a segment past its end": b"\xff\xd8\xff\xe1\xff\xff" + jpeg[6:30],
        "jpeg cut in its exif": jpeg[:40],
        "jpeg cut after its head": jpeg[: sos - 1],
        "jpeg cut after a marker's begin": jpeg[: jpeg.index(b"\xff\xdb") + 1],
        "jpeg with a segment of no length": b"\xff\xd8\xff\xe1\x00\x00" + jpeg[6:],
        "webp name alone": webp[:16],
        "webp cut in its head": webp[:19],
        "webp with an empty head": webp[:12] + b"VP8X" + bytes(4),
        "webp cut": webp[: len(webp) // 2],
        "webp with a huge chunk": webp[:34] + b"\xff\xff\xff\xff" + webp[38:],
    }


@pytest.mark.parametrize("name", sorted(hostile()))
def test_what_has_no_place_for_a_packet_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        rated(hostile()[name], 3)


@pytest.mark.parametrize("make", [lambda: a_photograph(io.BytesIO(), format="WEBP"), with_alpha])
def test_a_simple_webp_becomes_an_extended_one(make: Callable[[], bytes]) -> None:
    data = make()
    assert data[12:16] != b"VP8X"
    new = rated(data, 3)
    assert stars_in(packet_of(new) or b"") == 3
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(new)) as after:
        assert (before.mode, before.size, before.tobytes()) == (after.mode, after.size, after.tobytes())
    assert stars_in(packet_of(rated(new, 5)) or b"") == 5


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_cut_anywhere_is_refused_or_shows_what_it_showed(name: str) -> None:
    data = FILES[name]()
    ends = {*range(min(len(data), 600)), *range(600, len(data), 37), *range(len(data) - 40, len(data))}
    for end in sorted(ends):
        check_harmless(data[:end])


@pytest.mark.parametrize("name", sorted(FILES))
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_shows_what_it_showed(name: str, data: st.DataObject) -> None:
    damaged = bytearray(FILES[name]())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 200), st.integers(0, len(damaged))))
        match data.draw(st.sampled_from(["change", "insert", "remove", "cut", "repeat"])):
            case "change":
                damaged[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "insert":
                damaged[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case "remove":
                del damaged[at : at + data.draw(st.integers(1, 16))]
            case "repeat":
                damaged[at:at] = damaged[at : at + data.draw(st.integers(1, 64))]
            case _:
                del damaged[at:]
    check_harmless(bytes(damaged))


def check_harmless(data: bytes) -> None:
    """Only ValueError is raised; and what could be shown before shows the same afterwards."""
    try:
        after = with_packet(data, lambda _: b"<packet/>")
    except ValueError:
        return
    before = pixels_of(data)
    if before is not None:
        assert pixels_of(after) == before


# --- enlarged ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_only_enlarged_is_not_called_generated(tmp_path: Path, format_: str) -> None:
    for source in (photograph(tmp_path / "photo.jpg"), tmp_path / "plain.png"):
        if not source.exists():
            draw_landscape(1, (40, 30)).save(source)
        result = enlarge(source, tmp_path / source.stem, format=format_)
        assert isinstance(result, Path)
        data = result.read_bytes()
        assert b"DigitalSourceType" not in data
        assert b"trainedAlgorithmicMedia" not in data
        assert read_generation(result) == {}


@pytest.mark.parametrize("into", FORMATS)
@pytest.mark.parametrize("format_", FORMATS)
def test_what_was_generated_and_is_enlarged_says_so(tmp_path: Path, format_: str, into: str) -> None:
    result = enlarge(made(tmp_path / "made", format_), tmp_path, format=into)
    assert isinstance(result, Path)
    assert result.suffix == ENDINGS[into]
    packet = packet_of(result.read_bytes())
    assert packet is not None
    assert xmp.GENERATED.encode() in packet
    found = read_generation(result)
    assert found["parameters"] == a1111_parameters(SETTINGS)
    assert json.loads(found["hotfolder"]) == SETTINGS
    assert from_metadata("made", found) == replace(ASKED, model_sha256=SETTINGS["model_sha256"])


# --- the web UI's text ---------------------------------------------------------------------------


def test_the_text_has_the_web_uis_layout() -> None:
    text = a1111_parameters(SETTINGS)
    prompt, _, rest = text.partition("\nNegative prompt: ")
    assert prompt == f"{HARD} <lora:/models/pixel-art.safetensors:0.8> <lora:other:-1.5>"
    *negative, last = rest.split("\n")
    assert "\n".join(negative) == SETTINGS["negative_prompt"]
    # The web UI's own pattern: it takes the last line for settings only if there are three.
    pattern = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    pairs = dict(pattern.findall(last))
    assert len(pairs) >= 3
    assert pairs["Init image"] == json.dumps("/p/a, b: c.png")
    assert (pairs["Seed"], pairs["Size"], pairs["CFG scale"]) == ("4294967295", "64x48", "3.5")
    assert (pairs["Sampler"], pairs["Model hash"]) == ("DPM++ 2M Karras", "ababababab")
    short = a1111_parameters({**PLAIN, "model_sha256": ""}).split("\n")
    assert len(short) == 2
    assert "Model hash" not in short[1]
    assert len(pattern.findall(short[1])) >= 3


@pytest.mark.parametrize(
    "model", ["a, b", "a: b", "a\nb", 'a "b", c', "a\\b, c", "größer: 猫", "C:\\x, y.safetensors"]
)
def test_values_with_separators_are_quoted(model: str) -> None:
    text = a1111_parameters({**PLAIN, "model": model})
    assert f"Model: {json.dumps(model, ensure_ascii=False)}, " in text
    assert len(text.split("\n")) == 2
    assert from_metadata("a", {"parameters": text}).model == model


WEB_UI = (
    'masterpiece, "best", (a cat:1.2)\nby the sea <lora:pixel:0.8>\nNegative prompt: ugly, bad\nvery bad\n'
    "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 2406373834, Size: 512x768, "
    'Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Clip skip: 1, Lora hashes: "pixel: 1234abcd", '
    "Version: v1.9.4"
)


def test_a_text_of_the_web_ui_is_a_prompt() -> None:
    assert from_metadata("a.png", {"parameters": WEB_UI}) == PromptSpec(
        'masterpiece, "best", (a cat:1.2)\nby the sea', "ugly, bad\nvery bad", 2406373834, None,
        "v1-5-pruned-emaonly", 512, 768, 20, 7.0, sampler="DPM++ 2M Karras", lora=(("pixel", 0.8),),
        exact=True, is_plain_cfg=True, model_sha256="6ce0161689",
    )  # fmt: skip


def web_ui(old: str, new: str) -> str:
    assert old in WEB_UI
    return WEB_UI.replace(old, new)


@pytest.mark.parametrize(
    "said",
    [
        'TI hashes: "very-bad: 66a7279a88dd"',
        'Hashes: {"model": "6ce0161689", "embed:very-bad": "12"}',
        'Civitai resources: [{"type":"embed","modelName":"Very-Bad"}]',
    ],
)
def test_a_textual_inversion_of_the_web_ui_is_the_word_that_its_hashes_name(said: str) -> None:
    text = web_ui("Clip skip: 1", said).replace("very bad", "(very-bad:1.2), very-bad-2")
    spec = from_metadata("a.png", {"parameters": text})
    (name,) = embeddings_in(spec.negative_prompt)
    assert name.lower() == "very-bad"
    assert spec.negative_prompt == f"ugly, bad\n(<embedding:{name}>:1.2), very-bad-2"


@pytest.mark.parametrize(
    ("text", "sampler"),
    [
        (web_ui("Sampler: DPM++ 2M, Schedule type: Karras", "Sampler: DPM++ 2M Karras"), "DPM++ 2M Karras"),
        (web_ui("Schedule type: Karras", "Schedule type: Automatic"), "DPM++ 2M"),
        (web_ui("Sampler: DPM++ 2M, Schedule type: Karras", "Sampler: euler A"), "Euler a"),
        (web_ui("Sampler: DPM++ 2M, Schedule type: Karras, ", ""), None),
        (web_ui("Schedule type: Karras, ", ""), "DPM++ 2M"),
        (WEB_UI + "\n", "DPM++ 2M Karras"),
        (web_ui("\nSteps", "\r\nSteps"), "DPM++ 2M Karras"),
        (WEB_UI + "\nTemplate: {a|b} cat\n by the sea\nNegative Template: ugly, bad", "DPM++ 2M Karras"),
        (
            web_ui("Clip skip: 1", 'Civitai resources: [{"type":"checkpoint","v":1}], Created Date: 1'),
            "DPM++ 2M Karras",
        ),
    ],
)
def test_samplers_as_other_programs_name_them(text: str, sampler: str | None) -> None:
    spec = from_metadata("a.png", {"parameters": text})
    assert spec.sampler == sampler
    assert (spec.seed, spec.steps, spec.negative_prompt) == (2406373834, 20, "ugly, bad\nvery bad")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (web_ui("Clip skip: 1", "Hires upscale: 2, Hires steps: 10"), "made with Hires upscale"),
        (web_ui("Clip skip: 1", "Clip skip: 2"), "made with Clip skip"),
        (web_ui("Clip skip: 1", 'ControlNet 0: "Module: canny, Weight: 1"'), "made with ControlNet 0"),
        (web_ui("Clip skip: 1", "Variation seed: 3"), "made with Variation seed"),
        (web_ui("Clip skip: 1", "Denoising strength: 0.7"), "made with another image to begin from"),
        (web_ui("Seed: 2406373834", "Seed: 9223372036854775808"), "seed is '9223372036854775808'"),
        (
            web_ui("Clip skip: 1", "ADetailer model: face.pt, ADetailer confidence: 0.3"),
            "made with ADetailer model",
        ),
        (web_ui("Clip skip: 1", "Hypernet: anime, Hypernet strength: 0.8"), "made with Hypernet"),
        (
            web_ui("Clip skip: 1", 'Tiled Diffusion: {"Method": "a", "b": {"c": 4}, "d": 1}'),
            "made with Tiled Diff",
        ),
        (web_ui("Clip skip: 1", 'FreeU Stages: "[{}]"'), "made with FreeU Stages"),
        (web_ui("Clip skip: 1", "Postprocess upscale by: 4"), "made with Postprocess upscale by"),
        (web_ui("Clip skip: 1", "What Nobody Knows: 1"), "made with What Nobody Knows"),
        (web_ui("Clip skip: 1", "a key (with signs): 1"), "made with a key (with signs)"),
        (
            web_ui("Clip skip: 1", 'TI hashes: "easynegative: 66a7279a88dd"'),
            "the textual inversion 'easynegative', which its prompt does not name",
        ),
        (web_ui('"pixel: 1234abcd"', '"pixel: 1234abcd, b: 12"'), "the LoRA 'b', which its prompt does not name"),
        (
            web_ui("Clip skip: 1", 'Hashes: {"model": "6ce0161689", "embed:worse": "12"}'),
            "textual inversion 'worse'",
        ),
        (
            web_ui(
                "Clip skip: 1",
                'Civitai resources: [{"type":"checkpoint","v":1},{"type":"lora","modelName":"Add"}]',
            ),
            "the lora 'Add' of Civitai",
        ),
        (web_ui("Model hash: 6ce0161689", "Model hash: of mine"), "'Model hash' is no hash"),
        (WEB_UI + "\nwhatever: this is", "behind its settings stands 'whatever"),
        (web_ui("Seed: 2406373834", "Seed: -1"), "-1"),
        (web_ui("Seed: 2406373834", "Seed: many"), "seed is 'many'"),
        (web_ui("Seed: 2406373834, ", ""), "no seed"),
        (web_ui("Steps: 20, ", ""), "not in the web UI's layout"),
        (web_ui("Steps: 20", "Steps: 0"), "steps is '0'"),
        (web_ui("CFG scale: 7", "CFG scale: nan"), "guidance is 'nan'"),
        (web_ui("Size: 512x768", "Size: 513x768"), "width is '513'"),
        (web_ui("Sampler: DPM++ 2M", "Sampler: Restart"), "sampler is 'Restart Karras'"),
        (web_ui("<lora:pixel:0.8>", "<lora:pixel:strong>"), "not understood"),
        (web_ui("<lora:pixel:0.8>", "<lora:pixel:0.8> <lora:pixel:0.9>"), ""),
        ("Steps: 20, Seed: 7, Size: 8x8", "no prompt"),
        ("a cat\nSteps: 20, Seed: 7", "not in the web UI's layout"),
        ("a cat, a dog: both", "not in the web UI's layout"),
        ("", "not in the web UI's layout"),
        (" \n ", "not in the web UI's layout"),
    ],
)
def test_texts_that_cannot_be_done_again_are_refused_with_a_remedy(text: str, says: str) -> None:
    with pytest.raises(PromptSyntax) as caught:
        from_metadata("a.png", {"parameters": text})
    assert says in caught.value.message
    assert caught.value.message.startswith("a.png")
    assert caught.value.fix


@given(text=st.one_of(st.text(max_size=200), st.text(alphabet='Steps: 20,\n"\\SedizxMo<lra>-', max_size=200)))
@settings(max_examples=300, deadline=None)
def test_no_text_is_more_than_refused(text: str) -> None:
    for key in ("parameters", "hotfolder"):
        try:
            assert from_metadata("a.png", {key: text}).prompt
        except PromptSyntax as refused:
            assert refused.fix


# --- other programs --------------------------------------------------------------------------------

GRAPH: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 2**50, "steps": 6, "cfg": 4.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0,
            "model": ["9", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd\\shapes.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 48, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0], "clip": ["9", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "gray", "clip": ["9", 1]}},
    "8": {"class_type": "PrimitiveString", "inputs": {"value": "a red circle"}},
    "9": {
        "class_type": "LoraLoader",
        "inputs": {"lora_name": "a.safetensors", "strength_model": 0.5, "strength_clip": 0.5, "model": ["4", 0]},
    },
}  # fmt: skip
INVOKE: dict[str, Any] = {
    "generation_mode": "txt2img", "positive_prompt": "a red circle", "negative_prompt": "gray", "width": 64,
    "height": 48, "seed": 2**50, "cfg_scale": 4.0, "steps": 6, "scheduler": "dpmpp_2m_k", "controlnets": [],
    "model": {"name": "shapes", "base": "sd-1"}, "loras": [{"model": {"name": "a"}, "weight": 0.5}],
    "seamless_x": False,
}  # fmt: skip
SWARM: dict[str, Any] = {
    "prompt": "a red circle", "negativeprompt": "gray", "model": "sd/shapes", "seed": 2**50, "steps": 6,
    "cfgscale": 4.0,
    "width": 64, "height": 48, "sampler": "dpmpp_2m", "scheduler": "karras", "loras": ["a"], "loraweights": ["0.5"],
}  # fmt: skip
FOOOCUS: dict[str, Any] = {
    "base_model": "shapes", "guidance_scale": 4, "negative_prompt": "gray", "prompt": "a red circle",
    "resolution": "(64, 48)", "sampler": "dpmpp_2m", "scheduler": "karras", "seed": str(2**50), "steps": 6,
    "version": "Fooocus v2.5.5",
}  # fmt: skip
NOVEL: dict[str, Any] = {
    "prompt": "a red circle", "steps": 6, "height": 48, "width": 64, "scale": 4.0, "seed": 2**50,
    "sampler": "k_dpmpp_2m", "noise_schedule": "karras", "uc": "gray", "sm": False,
}  # fmt: skip


def written(program: str, told: Mapping[str, Any], **more: str) -> dict[str, str]:
    key = {"ComfyUI": "prompt", "InvokeAI": "invokeai_metadata", "NovelAI": "Comment"}.get(program, "parameters")
    text = json.dumps({"sui_image_params": told} if program == "SwarmUI" else told)
    return {key: text, **({"Software": "NovelAI"} if program == "NovelAI" else {}), **more}


PROGRAMS = {"ComfyUI": GRAPH, "InvokeAI": INVOKE, "SwarmUI": SWARM, "Fooocus": FOOOCUS, "NovelAI": NOVEL}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_image_of_another_program_is_a_prompt(tmp_path: Path, program: str) -> None:
    info = PngInfo()
    for key, text in written(program, PROGRAMS[program]).items():
        info.add_text(key, text)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    found = from_metadata("a.png", read_generation(tmp_path / "a.png"))
    lora = () if program in ("NovelAI", "Fooocus") else (("a", 0.5),)
    assert found == PromptSpec(
        "a red circle", "gray", 2**50, None, None if program == "NovelAI" else "shapes", 64, 48, 6, 4.0,
        sampler="DPM++ 2M Karras", lora=lora, exact=True, is_plain_cfg=True,
    )  # fmt: skip


def graph(node: str, **inputs: Any) -> dict[str, Any]:
    return {**GRAPH, node: {**GRAPH[node], "inputs": {**GRAPH[node]["inputs"], **inputs}}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            written("ComfyUI", {**GRAPH, "10": {"class_type": "FaceDetailer", "inputs": {}}}),
            "the node 'FaceDetailer'",
        ),
        (written("ComfyUI", {**GRAPH, "10": GRAPH["3"]}), "2 samplers"),
        (written("ComfyUI", graph("3", denoise=0.5)), "a 'denoise' below 1"),
        (written("ComfyUI", graph("5", batch_size=4)), "several pictures"),
        (written("ComfyUI", graph("9", strength_clip=1)), "two strengths"),
        (
            written("ComfyUI", graph("3", positive=["4", 0])),
            "'CheckpointLoaderSimple' in the place of 'CLIPTextEncode'",
        ),
        (written("ComfyUI", graph("3", positive=["99", 0])), "not as usual"),
        (written("ComfyUI", graph("8", value=["8", 0])), "not as usual"),
        ({"workflow": '{"nodes": []}'}, "0 samplers"),
        (written("InvokeAI", {**INVOKE, "controlnets": [{"a": 1}]}), "'controlnets'"),
        (written("InvokeAI", {**INVOKE, "generation_mode": "img2img"}), "the mode 'img2img'"),
        ({"Dream": "a cat -s 50"}, "those of an old version"),
        (written("SwarmUI", {**SWARM, "refinercontrol": 0.2}), "'refinercontrol'"),
        (written("SwarmUI", {**SWARM, "prompt": "a <segment:face>"}), "a <…> in its prompt"),
        (written("Fooocus", {**FOOOCUS, "sharpness": 2.0}), "'sharpness'"),
        (written("Fooocus", {**FOOOCUS, "full_prompt": ["a red circle", "cinematic"]}), "styles"),
        (written("NovelAI", NOVEL, Source="NovelAI Diffusion V4"), "a model of its own"),
        (written("NovelAI", {**NOVEL, "sm": True}), "'sm'"),
        (written("NovelAI", {**NOVEL, "prompt": "{red} circle"}), "made strong or weak"),
        ({"Software": "NovelAI", "Comment": "x"}, "no table in 'Comment'"),
    ],
)
def test_what_another_program_did_besides_is_named(text: dict[str, str], says: str) -> None:
    refused = _refused(text)
    assert re.match(rf"a\.png was made by ({'|'.join(PROGRAMS)})", refused.message)
    assert says in refused.message
    assert refused.fix


def _refused(text: dict[str, str]) -> PromptSyntax:
    with pytest.raises(PromptSyntax) as caught:
        from_metadata("a.png", text)
    return caught.value


@pytest.mark.parametrize("code", ["utf-16-be", "utf-16-le", "utf-16", "utf-8", "ascii", "jis", "nothing"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("first", [False, True], ids=["exif", "ifd0"])
def test_a_comment_of_exif_is_read_however_it_is_written(
    tmp_path: Path, code: str, order: str, first: bool
) -> None:
    text = ("赤い円\n" if code != "ascii" else "a red circle\n") + WEB_UI.rpartition("\n")[2].replace(
        "pixel: ", ""
    )
    text = re.sub(r'Lora hashes: "[^"]*", ', "", text)
    begin = {"ascii": b"ASCII\0\0\0", "jis": b"JIS\0\0\0\0\0", "nothing": bytes(8)}.get(code, b"UNICODE\0")
    body = begin + text.encode({"jis": "iso2022_jp", "nothing": "utf-8"}.get(code, code))
    entry = struct.pack(f"{order}HHII", 0x9286, 7, len(body), 26 if first else 44)
    if first:
        ifd = struct.pack(f"{order}H", 1) + entry + bytes(4)
    else:
        ifd = (
            struct.pack(f"{order}HHHII", 1, 0x8769, 4, 1, 26)
            + bytes(4)
            + struct.pack(f"{order}H", 1)
            + entry
            + bytes(4)
        )
    exif = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + ifd + body
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif)
    found = from_metadata("a.jpg", read_generation(tmp_path / "a.jpg"))
    assert found.prompt == text.partition("\n")[0]
    assert found.seed == 2406373834


def test_json_in_a_jpeg_is_read_as_that_of_its_program(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + json.dumps({"sui_image_params": SWARM}).encode("utf-16-be")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert from_metadata("a.jpg", read_generation(tmp_path / "a.jpg")).prompt == "a red circle"
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{json.dumps(GRAPH)}"
    Image.new("RGB", (8, 8)).save(tmp_path / "b.webp", exif=exif)
    assert from_metadata("b.webp", read_generation(tmp_path / "b.webp")).prompt == "a red circle"
