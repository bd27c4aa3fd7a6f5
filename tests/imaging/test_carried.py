"""What a file says beside its pixels survives enlarging, in every format that has a place for it."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageSequence
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from hotfolder.demo.pictures import draw_landscape
from hotfolder.engines.model_runner import ModelRunner
from hotfolder.errors import BadInput, ImageTooLarge
from hotfolder.imaging.carried import Carried, resized
from hotfolder.imaging.colour import to_srgb
from hotfolder.imaging.decode import decode
from hotfolder.imaging.encode import ENDINGS, check_format, stage
from hotfolder.imaging.iptc import as_segment, fields_of
from hotfolder.imaging.png import before_the_pixels, png_chunk
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, RunnerSettings, Staged

PARAMETERS = "a red circle\nSteps: 8, Sampler: DDIM, CFG scale: 3, Seed: 7, Size: 64x48, Model: shapes"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'tiff:ImageWidth="64" tiff:Orientation="6" dc:source="me"><tiff:ImageLength>48</tiff:ImageLength>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def enlarge(path: Path, folder: Path, **settings: Any) -> Path | Outcome:
    """Through a station, as the daemon does it."""
    told: list[Outcome] = []
    runner = ModelRunner(RunnerSettings(device="cpu", **settings))
    item = Item(1, 1, str(path), str(folder / "staging"))
    runner.work(
        Batch(1, Kind.UPSCALE, "x4-compact", (item,)),
        lambda e: told.append(e) if not isinstance(e, Progress) else None, lambda: False,
    )  # fmt: skip
    runner.close()
    (outcome,) = told
    return Path(outcome.staged.path) if outcome.staged else outcome


def doubled(path: Path, format_: str) -> Staged:
    """The same way without a network: each pixel four times."""
    found = decode(path, 10**9, deep=True)
    pixels = found.pixels.repeat(2, axis=0).repeat(2, axis=1)
    carried = resized(found.carried, *pixels.shape[1::-1], software="hotfolder test")
    return stage(pixels, path.parent / "staging", f"{path.stem}-{path.suffix[1:]}", format_, carried=carried)


def with_chunks(path: Path, image: Image.Image, **chunks: bytes) -> Path:
    """A PNG with these chunks behind its header."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = buffer.getvalue()
    extra = b"".join(png_chunk(kind.encode(), content) for kind, content in chunks.items())
    path.write_bytes(data[:33] + extra + data[33:])
    return path


def photograph(path: Path) -> Path:
    """A picture on its side, 48 × 64 in the file and 64 × 48 upright, with everything a camera writes."""
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    exif[Base.Make] = "Camera"
    exif[Base.ImageWidth], exif[Base.ImageLength] = 48, 64
    photo = exif.get_ifd(IFD.Exif)
    photo[Base.ExifImageWidth], photo[Base.ExifImageHeight] = 48, 64
    photo[Base.LensModel] = "50 mm"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    sideways = draw_landscape(1, (64, 48)).transpose(Image.Transpose.ROTATE_90)
    sideways.save(path, exif=exif, xmp=XMP, icc_profile=profile, quality=95)
    return path


@pytest.mark.parametrize("format_", sorted(ENDINGS))
def test_a_photograph_keeps_what_it_says_and_is_turned_once(tmp_path: Path, format_: str) -> None:
    source = photograph(tmp_path / "photo.jpg")
    made = enlarge(source, tmp_path, format=format_)
    assert isinstance(made, Path)
    assert made.suffix == ENDINGS[format_]
    with Image.open(made) as image:
        image.load()
        assert image.size == (256, 192)
        assert ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        exif = image.getexif()
        assert exif[Base.Make] == "Camera"
        assert exif.get(Base.Orientation, 1) == 1
        assert exif[Base.Software].startswith("hotfolder ")
        photo = exif.get_ifd(IFD.Exif)
        assert photo[Base.LensModel] == "50 mm"
        assert (photo[Base.ExifImageWidth], photo[Base.ExifImageHeight]) == (256, 192)
        xmp = image.info.get("xmp") or exif.get(700)
        assert xmp is not None
        for part in (
            b'tiff:ImageWidth="256"',
            b"<tiff:ImageLength>192<",
            b'tiff:Orientation="1"',
            b'dc:source="me"',
        ):
            assert part in xmp
        upright = np.asarray(draw_landscape(1, (64, 48)).resize((256, 192))).astype(int)
        assert np.abs(np.asarray(image.convert("RGB")) - upright).mean() < 8


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
def test_generation_metadata_is_carried(tmp_path: Path, format_: str) -> None:
    chunks = PngInfo()
    chunks.add_text("parameters", PARAMETERS)
    chunks.add_text("hotfolder", json.dumps({"seed": 7}))
    draw_landscape(1, (64, 48)).save(tmp_path / "a.png", pnginfo=chunks)
    made = enlarge(tmp_path / "a.png", tmp_path, format=format_)
    assert isinstance(made, Path)
    found = decode(made, 10**9).carried
    assert found.text["parameters"] == PARAMETERS
    if format_ == "png":
        assert json.loads(found.text["hotfolder"]) == {"seed": 7}
    else:
        # And from there on into the next format.
        again = enlarge(made, tmp_path / "again", format="png")
        assert isinstance(again, Path)
        with Image.open(again) as image:
            assert image.text["parameters"] == PARAMETERS  # type: ignore[attr-defined]


@pytest.mark.parametrize("format_", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_are_written_and_read_whole(tmp_path: Path, format_: str, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (31, 40, channels)).astype(np.uint16)
    source = resized(decode(photograph(tmp_path / "photo.jpg"), 10**9).carried, 40, 31, software="test")
    made = stage(pixels, tmp_path / "s", "deep", format_, carried=source)
    found = decode(Path(made.path), 10**9, deep=True)
    assert (made.width, made.height) == (40, 31)
    expected = pixels[..., [0, 0, 0, 1]] if (format_, channels) == ("tiff", 2) else pixels
    assert (found.pixels == expected).all()
    assert found.carried.icc == source.icc
    assert found.carried.xmp == source.xmp
    shallow = decode(Path(made.path), 10**9)
    as_rgba = np.asarray(shallow.image.convert("RGBA")).astype(int)
    assert np.abs(as_rgba[..., 0] - pixels[..., 0] / 257).max() < 1


def test_reading_who_made_a_file_costs_it_no_bits(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 8, 3)).astype(np.uint16)
    made = stage(pixels, tmp_path, "deep", "png")
    assert (decode(Path(made.path), 10**9, deep=True, named=True).pixels == pixels).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_16_bit_tiff_is_turned_once(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 8, 3)).astype(np.uint16)
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=tags, metadata=None)
    found = decode(tmp_path / "a.tif", 10**9, deep=True)
    assert found.deep is not None
    assert np.abs(found.deep // 257 - np.asarray(found.image).astype(int)).max() <= 1
    assert found.deep.shape[:2] == ((9, 8) if orientation < 5 else (8, 9))


def test_premultiplied_alpha_is_not_taken_for_straight(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 20_000, np.uint16)  # white, at the alpha of 20,000
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    assert (decode(tmp_path / "a.tif", 10**9, deep=True).pixels[..., :3] >= 254).all()


def test_metadata_that_jpeg_cannot_hold_is_left_out(tmp_path: Path) -> None:
    chunks = PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", "<x>" + "long history " * 10_000 + "</x>")
    draw_landscape(1, (20, 20)).save(tmp_path / "a.png", pnginfo=chunks)
    made = doubled(tmp_path / "a.png", "jpeg")
    assert decode(Path(made.path), 10**9).carried.xmp is None
    assert any("XMP do not fit into a JPEG" in note for note in made.notes)


def test_16_bits_turned_by_exif_are_turned_like_8_bits(tmp_path: Path) -> None:
    eight = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[Base.Orientation] = orientation
        carried = decode(photograph(tmp_path / "photo.jpg"), 10**9).carried
        carried = type(carried)(exif=exif.tobytes().removeprefix(b"Exif\0\0"))
        made = stage(eight.astype(np.uint16) * 257, tmp_path / str(orientation), "deep", "png", carried=carried)
        found = decode(Path(made.path), 10**9, deep=True)
        assert found.deep is not None
        assert (found.deep // 257 == np.asarray(found.image)).all(), orientation


def test_jpeg_has_no_alpha_and_lays_the_picture_over_the_background(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    made = enlarge(tmp_path / "clear.png", tmp_path, format="jpeg", background="#ff0000")
    assert isinstance(made, Path)
    with Image.open(made) as image:
        red, green, blue = image.getpixel((40, 40))  # type: ignore[misc]
        assert red > 250 and green < 5 and blue < 5


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG"])
def test_animations_are_refused_unless_the_first_frame_will_do(tmp_path: Path, format_: str) -> None:
    frames = [draw_landscape(n, (40, 30)) for n in range(3)]
    path = tmp_path / f"moving.{format_.lower()}"
    frames[0].save(path, format_, save_all=True, append_images=frames[1:], duration=100)
    with Image.open(path) as image:
        assert sum(1 for _ in ImageSequence.Iterator(image)) == 3
    refused = enlarge(path, tmp_path)
    assert isinstance(refused, Outcome) and refused.error is not None
    assert refused.error.kind == "unsupported_image"
    assert "is animated" in refused.error.message
    made = enlarge(path, tmp_path, animated="first-frame")
    assert isinstance(made, Path)
    assert Image.open(made).size == (160, 120)


def test_what_the_format_cannot_hold_is_refused_before_the_work(tmp_path: Path) -> None:
    Image.new("RGB", (5000, 1)).save(tmp_path / "long.png")
    with_chunks(tmp_path / "hdr.png", Image.new("RGB", (64, 64)), cICP=PQ)
    told: list[Outcome | Progress] = []
    runner = ModelRunner(RunnerSettings(device="cpu", format="webp"))
    items = [
        Item(number, 1, str(tmp_path / name), str(tmp_path / "staging"))
        for number, name in enumerate(("long.png", "hdr.png"))
    ]
    runner.work(Batch(1, Kind.UPSCALE, "x4-compact", tuple(items)), told.append, lambda: False)
    runner.close()
    long, hdr = (event.error for event in told if isinstance(event, Outcome))
    assert long is not None and "20000 × 4 pixels are too many for webp" in long.message
    assert hdr is not None and "HDR (PQ)" in hdr.message
    tiles = [event for event in told if isinstance(event, Progress) and event.stage == "upscaling" and event.step]
    assert not tiles


@pytest.mark.parametrize(
    ("format_", "most"),
    [("jpeg", (65_500, 4)), ("webp", (16_383, 4)), ("avif", (32_768, 4)), ("png", (1_000_000, 1))],
)
def test_the_largest_that_a_format_holds_is_written_and_read_again(
    tmp_path: Path, format_: str, most: tuple[int, int]
) -> None:
    made = stage(Image.new("RGB", most), tmp_path, "a", format_)
    assert decode(Path(made.path), 10**9).image.size == most
    with pytest.raises(BadInput, match=f"too many for {format_}"):
        stage(Image.new("RGB", (most[0] + 1, most[1])), tmp_path, "b", format_)


def test_avif_ends_at_so_many_pixels(tmp_path: Path) -> None:
    check_format("avif", 2**14, 2**14)
    with pytest.raises(BadInput, match="ends at 268,435,456 pixels"):
        check_format("avif", 2**14, 2**14 + 1)


def test_a_profile_that_fits_into_no_jpeg_is_refused() -> None:
    with pytest.raises(BadInput, match="does not fit into a JPEG"):
        check_format("jpeg", 10, 10, Carried(icc=bytes(17 * 2**20)))


def test_damaged_metadata_costs_the_metadata_not_the_picture(tmp_path: Path) -> None:
    path = photograph(tmp_path / "photo.jpg")
    data = path.read_bytes()
    at = data.index(b"Exif\0\0") + 6
    path.write_bytes(data[: at + 8] + b"\xff" * 40 + data[at + 48 :])
    assert isinstance(enlarge(path, tmp_path), Path)


def test_a_full_disk_while_encoding_is_the_environments_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    draw_landscape(1, (20, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(os, "fsync", full)
    outcome = enlarge(tmp_path / "a.png", tmp_path)
    assert isinstance(outcome, Outcome) and outcome.error is not None
    assert (outcome.error.kind, outcome.error.failure) == ("disk_full", "environment")
    assert outcome.staged is None


def test_our_own_large_results_are_read_when_named_and_foreign_ones_are_not(tmp_path: Path) -> None:
    draw_landscape(1, (40, 30)).save(tmp_path / "a.png")
    made = enlarge(tmp_path / "a.png", tmp_path)
    assert isinstance(made, Path)
    assert decode(made, 10_000, named=True).image.size == (160, 120)
    with pytest.raises(ImageTooLarge):
        decode(made, 10_000)
    with pytest.raises(ImageTooLarge):
        decode(made, 100, named=True)  # not without any bound
    Image.open(made).save(tmp_path / "foreign.png")
    with pytest.raises(ImageTooLarge):
        decode(tmp_path / "foreign.png", 10_000, named=True)


# --- resolution, captions, and colours told by numbers --------------------------------------------

GAMMA = struct.pack(">I", 100_000)
CHROMATICITIES = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)  # Adobe RGB
PQ = bytes((9, 16, 0, 1))
IPTC = b"".join(
    b"\x1c\2" + struct.pack(">BH", number, len(text.encode())) + text.encode()
    for number, text in ((5, "Vom Berg"), (120, "Zwei Hügel & Sonne"), (25, "hill"), (25, "sun"), (80, "Jürgen"))
)


def dpi_of(path: Path) -> tuple[float, float] | None:
    return decode(path, 10**9).carried.dpi


@pytest.mark.parametrize("format_", sorted(ENDINGS))
@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.tif", "a.bmp"])
def test_the_resolution_stays_so_that_it_prints_larger(tmp_path: Path, source: str, format_: str) -> None:
    draw_landscape(1, (20, 10)).save(tmp_path / source, dpi=(300, 150))
    made = dpi_of(Path(doubled(tmp_path / source, format_).path))
    assert made is not None
    assert made == pytest.approx((300, 150), abs=0.1)


def test_a_resolution_turns_with_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    draw_landscape(1, (20, 10)).save(tmp_path / "a.jpg", dpi=(200, 100), exif=exif)
    made = Path(doubled(tmp_path / "a.jpg", "jpeg").path)
    assert dpi_of(made) == (100, 200)
    with Image.open(made) as image:
        assert (image.getexif()[Base.XResolution], image.getexif()[Base.YResolution]) == (100, 200)


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    path = with_chunks(tmp_path / "a.png", draw_landscape(1, (20, 10)), pHYs=struct.pack(">IIB", 4, 3, 0))
    with Image.open(doubled(path, "png").path) as image:
        assert image.info["aspect"] == (4, 3)


@pytest.mark.parametrize("told", [(0, 0), (float("nan"), 1)])
def test_no_resolution_is_none(tmp_path: Path, told: tuple[float, float]) -> None:
    tags = [(282, "2I", 1, (int(told[0] == told[0] and told[0]), 1), True), (283, "2I", 1, (1, 0), True)]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4, 3), np.uint8), metadata=None, extratags=tags)
    assert dpi_of(Path(doubled(tmp_path / "a.tif", "png").path)) is None


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_what_says_how_colours_are_meant_goes_from_png_to_png(tmp_path: Path, depth: type[np.generic]) -> None:
    chunks = {
        "gAMA": GAMMA, "cHRM": CHROMATICITIES, "cICP": PQ, "sBIT": b"\5\6\5", "mDCV": bytes(24), "cLLI": bytes(8),
    }  # fmt: skip
    if depth is np.uint8:
        path = with_chunks(tmp_path / "a.png", draw_landscape(1, (20, 10)), **chunks)
    else:
        deep = stage(np.full((9, 8, 3), 20_000, np.uint16), tmp_path, "deep", "png")
        data = Path(deep.path).read_bytes()
        extra = b"".join(png_chunk(kind.encode(), content) for kind, content in chunks.items())
        path = tmp_path / "a.png"
        path.write_bytes(data[:33] + extra + data[33:])
    made = Path(doubled(path, "png").path).read_bytes()
    kept = before_the_pixels(made, frozenset(kind.encode() for kind in chunks))
    assert kept == {kind.encode(): content for kind, content in chunks.items()}


@pytest.mark.parametrize("format_", ["jpeg", "webp", "tiff", "avif"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_other_formats_get_a_profile_that_says_the_same(tmp_path: Path, mode: str, format_: str) -> None:
    path = with_chunks(
        tmp_path / "a.png", Image.new(mode, (20, 10), 128 if mode == "L" else (128,) * 3), gAMA=GAMMA
    )
    with Image.open(doubled(path, format_).path) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        shown = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert shown is not None
    # Half the light is 188 of 255 in sRGB.
    assert all(abs(value - 188) <= 2 for value in shown.getpixel((5, 5)))  # type: ignore[union-attr]


def test_what_means_srgb_gets_no_profile(tmp_path: Path) -> None:
    usual = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    path = with_chunks(tmp_path / "a.png", draw_landscape(1, (20, 10)), gAMA=struct.pack(">I", 45455), cHRM=usual)
    assert decode(path, 10**9).carried.profile is None
    with_chunks(path, draw_landscape(1, (20, 10)), gAMA=struct.pack(">I", 0), cHRM=bytes(32))
    assert decode(path, 10**9).carried.profile is None


def test_a_network_sees_linear_light_as_srgb(tmp_path: Path) -> None:
    with_chunks(tmp_path / "a.png", Image.new("RGB", (16, 16), (128,) * 3), gAMA=GAMMA)
    profile = decode(tmp_path / "a.png", 10**9).carried.profile
    seen = to_srgb(np.full((1, 1, 3), 128 / 255, np.float32), profile)
    assert seen is not None
    assert seen == pytest.approx(188 / 255, abs=0.01)


@pytest.mark.parametrize("format_", ["jpeg", "tiff", "png"])
@pytest.mark.parametrize("source", ["jpeg", "tiff", "png"])
def test_captions_of_the_press_are_carried(tmp_path: Path, source: str, format_: str) -> None:
    path = captioned_picture(tmp_path, source)
    found = decode(Path(doubled(path, format_).path), 10**9).carried
    assert found.iptc == IPTC
    assert fields_of(found.iptc)[120] == ["Zwei Hügel & Sonne"]


def captioned_picture(folder: Path, format_: str) -> Path:
    draw_landscape(1, (20, 10)).save(folder / "a.jpg")
    data = (folder / "a.jpg").read_bytes()
    segment = as_segment(IPTC)
    (folder / "a.jpg").write_bytes(
        data[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    )
    if format_ == "jpeg":
        return folder / "a.jpg"
    return Path(doubled(folder / "a.jpg", format_).path)


def test_captions_in_a_tiff_as_numbers_of_either_order(tmp_path: Path) -> None:
    block = IPTC + bytes(-len(IPTC) % 4)
    for order in "<>":
        numbers = struct.unpack(f"{order}{len(block) // 4}I", block)
        tags = [(33723, "I", len(numbers), numbers, True)]
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4, 3), np.uint8), metadata=None, extratags=tags)
        assert decode(tmp_path / "a.tif", 10**9).carried.iptc == block


@pytest.mark.parametrize("format_", ["webp", "avif"])
def test_where_there_is_no_place_for_them_they_become_xmp(tmp_path: Path, format_: str) -> None:
    found = decode(Path(doubled(captioned_picture(tmp_path, "jpeg"), format_).path), 10**9).carried
    assert found.xmp is not None
    text = found.xmp.decode()
    for part in ("<dc:description>", "Zwei Hügel &amp; Sonne", "<rdf:li>hill</rdf:li>", "Vom Berg", "Jürgen"):
        assert part in text
    ElementTree.fromstring(text.partition("?>")[2].rpartition("<?")[0])


@pytest.mark.parametrize("format_", sorted(ENDINGS))
def test_texts_of_exif_keep_their_bytes(tmp_path: Path, format_: str) -> None:
    exif = Image.Exif()
    exif[Base.Artist] = "Jürgen".encode()
    exif[Base.ImageDescription] = "Hügel".encode()
    exif.get_ifd(IFD.Exif)[Base.LensModel] = "Größe".encode()
    draw_landscape(1, (20, 10)).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(doubled(tmp_path / "a.jpg", format_).path) as image:
        found = image.getexif()
        lens = found.get_ifd(IFD.Exif)[Base.LensModel]
        for text, told in (
            ("Jürgen", found[Base.Artist]),
            ("Hügel", found[Base.ImageDescription]),
            ("Größe", lens),
        ):
            assert told.encode("latin-1").decode() == text


def test_how_a_tiff_is_built_is_no_metadata(tmp_path: Path) -> None:
    tags = [(270, "s", 0, "two hills", True), (700, "B", 4, b"<x/>", True)]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 40, 3), np.uint8), metadata=None, extratags=tags)
    with Image.open(doubled(tmp_path / "a.tif", "png").path) as image:
        exif = image.getexif()
        assert exif[Base.ImageDescription] == "two hills"
        assert not set(exif) & {256, 257, 258, 259, 262, 273, 278, 279, 700}
        assert image.info["xmp"] == b"<x/>"


def test_comments_are_carried(tmp_path: Path) -> None:
    draw_landscape(1, (20, 10)).save(tmp_path / "a.jpg", comment="by hand")
    for format_ in ("png", "jpeg"):
        assert decode(Path(doubled(tmp_path / "a.jpg", format_).path), 10**9).carried.text["Comment"] == "by hand"


def test_a_profile_for_grey_does_not_go_with_colours(tmp_path: Path) -> None:
    grey = imagecodecs.cms_profile("gray", whitepoint=(0.3457, 0.3585, 1.0), gamma=1.8)
    Image.new("L", (8, 8), 99).save(tmp_path / "a.png", icc_profile=grey)
    made = doubled(tmp_path / "a.png", "webp")
    with Image.open(made.path) as image:
        assert "icc_profile" not in image.info
    assert any("grey profile" in note for note in made.notes)


def test_one_value_of_another_type_costs_itself_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[Base.Artist] = "me"
    exif[Base.XResolution] = 300.0
    data = bytearray(exif.tobytes())
    at = data.index(struct.pack(">HH", Base.XResolution, 5))
    struct.pack_into(">H", data, at + 2, 2)  # a text in the place of a fraction
    draw_landscape(1, (20, 10)).save(tmp_path / "a.jpg", exif=bytes(data))
    made = doubled(tmp_path / "a.jpg", "png")
    with Image.open(made.path) as image:
        assert image.getexif()[Base.Artist] == "me"
    assert made.notes == ("of its EXIF XResolution cannot be read and is left out",)


@pytest.mark.parametrize(
    ("numbers", "chunk"), [((1, 13), None), ((2, 2), None), ((12, 13), b"\x0c\x0d\0\1"), ((9, 16), PQ)]
)
def test_what_an_avif_says_of_its_colours_goes_into_a_png(
    tmp_path: Path, numbers: tuple[int, int], chunk: bytes | None
) -> None:
    draw_landscape(1, (32, 32)).save(tmp_path / "a.avif")
    data = bytearray((tmp_path / "a.avif").read_bytes())
    struct.pack_into(">HH", data, data.index(b"colrnclx") + 8, *numbers)
    (tmp_path / "a.avif").write_bytes(data)
    made = Path(doubled(tmp_path / "a.avif", "png").path).read_bytes()
    assert before_the_pixels(made, frozenset((b"cICP",))).get(b"cICP") == chunk
    if numbers == (12, 13):
        with Image.open(doubled(tmp_path / "a.avif", "jpeg").path) as image:
            assert "icc_profile" in image.info
