"""`hotfolder upscale`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from hotfolder.demo.pictures import draw_landscape
from tests.cli.test_commands import hotfolder as in_its_own_process
from tests.support.in_process import hotfolder

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no root in sight."""
    folder = tmp_path / "home"
    (folder / "in").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("HOTFOLDER_ROOT", raising=False)
    monkeypatch.chdir(folder)
    for number in range(3):
        draw_landscape(number, (40, 30)).save(folder / "in" / f"{number}.png")
    return folder


def upscale(*arguments: object) -> tuple[int, dict[str, object]]:
    done = hotfolder("upscale", *arguments, "--json")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_beside_the_originals_and_never_twice(nowhere: Path) -> None:
    code, told = upscale("in")
    assert code == 0
    assert (told["count"], told["skipped"], told["errors"]) == (3, 0, 0)
    assert names(nowhere / "in") == ["0.png", "0_4x.png", "1.png", "1_4x.png", "2.png", "2_4x.png"]
    assert Image.open("in/0_4x.png").size == (160, 120)
    before = {path: path.stat().st_mtime_ns for path in (nowhere / "in").iterdir()}
    code, told = upscale("in")
    assert (code, told["count"], told["skipped"]) == (0, 0, 3)  # nor are its own results enlarged again
    assert {path: path.stat().st_mtime_ns for path in (nowhere / "in").iterdir()} == before
    draw_landscape(9, (40, 30)).save("in/1.png")  # another content under the same name
    code, told = upscale("in")
    assert (told["count"], told["skipped"]) == (1, 2)
    assert "1_4x-1.png" in names(nowhere / "in")


def test_other_settings_are_another_result(nowhere: Path) -> None:
    assert upscale("in/0.png", "--out", "out")[1]["count"] == 1
    assert upscale("in/0.png", "--out", "out", "--scale", 1.5)[1]["count"] == 1
    assert upscale("in/0.png", "--out", "out", "--format", "webp")[1]["count"] == 1
    assert upscale("in/0.png", "--out", "out", "--long-edge", 100)[1]["count"] == 1
    assert upscale("in/0.png", "--out", "out", "--megapixels", 0.1, "--format", "tiff")[1]["count"] == 1
    assert names(nowhere / "out") == ["0_1.5x.png", "0_2.5x.png", "0_4x.png", "0_4x.webp", "0_9.13x.tif"]
    sizes = {path.name: Image.open(path).size for path in (nowhere / "out").iterdir()}
    assert sizes == {
        "0_1.5x.png": (60, 45), "0_2.5x.png": (100, 75), "0_4x.png": (160, 120), "0_4x.webp": (160, 120),
        "0_9.13x.tif": (365, 274),
    }  # fmt: skip


def test_a_print_is_as_large_as_the_paper_and_says_so(nowhere: Path) -> None:
    assert upscale("in/0.png", "--out", "out", "--print", "1.4x1cm", "--dpi", 300)[1]["count"] == 1
    with Image.open("out/0_3.93x.png") as image:
        assert image.size == (157, 118)  # 4:3 fits on the sheet, which is turned as the picture is
        assert [round(dots) for dots in image.info["dpi"]] == [300, 300]


def test_what_would_become_too_large_says_how_to_have_it(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTFOLDER_UPSCALE__MAX_OUTPUT_MEGAPIXELS", "0.01")
    code, told = upscale("in/0.png")
    (row,) = told["images"]
    assert code == 3
    assert row["error"]["kind"] == "enlarged_too_large"
    assert "160 × 120 pixels" in row["error"]["message"]
    assert "--megapixels 0.01" in row["error"]["fix"]
    assert upscale("in/0.png", "--megapixels", 0.02)[1]["count"] == 1  # who names a size wants it
    monkeypatch.setenv("HOTFOLDER_UPSCALE__MAX_OUTPUT_MEGAPIXELS", "0")
    assert upscale("in/0.png")[1]["count"] == 1


def test_a_bad_file_hurts_only_itself(nowhere: Path) -> None:
    (nowhere / "in/1.png").write_bytes(b"no picture")
    code, told = upscale("in/0.png", "in/1.png", "nothing.png", "in/2.png", "--out", "out")
    assert code == 3
    rows = told["images"]
    assert isinstance(rows, list)
    assert [row.get("error", {}).get("kind") for row in rows] == [None, "not_an_image", "vanished", None]
    assert names(nowhere / "out") == ["0_4x.png", "2_4x.png"]
    text = hotfolder("upscale", "in/1.png", "in/2.png", "--out", "out").stdout
    assert "in/1.png  –  not_an_image: " in text
    assert "in/2.png  done before: out/2_4x.png" in text
    assert text.endswith("0 enlarged, 1 done before, 1 failed\n")


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["in", "--scale", "2", "--long-edge", "100"], "do not go together", 2),
        (["in", "--scale", "2", "--print", "A4"], "do not go together", 2),
        (["in", "--print", "A11"], "A0 to A10, Letter", 2),
        (["in", "--dpi", "300"], "--dpi is of a print", 2),
        (["in", "--scale", "0"], "more than nothing", 2),
        (["in", "--format", "bmp"], "--format bmp", 2),
        (["in", "--scale", "nan"], "more than nothing", 2),
        (["in", "--out", "in/0.png"], "in/0.png cannot be made", 2),
        (["in", "--tile", "7"], "should be 0 or at least 16", 2),
        (["in", "--model", "x4-compcat"], "did you mean 'x4-compact'?", 2),
        (["in", "--model", "realesrgan-x4plus"], "is not on this machine", 4),
        (["in", "--denoise", "0.5"], "has no twin", 2),
        (["in", "--denoise", "2"], "--denoise 2", 2),
        (["nowhere/*.png"], "nothing matches", 2),
    ],
)
def test_what_cannot_be_done_is_said_with_a_remedy(
    nowhere: Path, arguments: list[str], says: str, code: int
) -> None:
    done = hotfolder("upscale", *arguments)
    assert says in done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert names(nowhere / "in") == ["0.png", "1.png", "2.png"]


def test_a_name_that_is_no_text_and_a_link_in_circles(nowhere: Path) -> None:
    (nowhere / "in/0.png").rename(nowhere / "in/caf\udce9.png")
    (nowhere / "in/loop.png").symlink_to("loop.png")
    code, told = upscale("in")
    assert (code, told["count"]) == (0, 3)
    assert "caf\udce9_4x.png" in names(nowhere / "in")


def test_a_damaged_model_is_refused(nowhere: Path) -> None:
    (nowhere / "model.pth").write_bytes(b"no weights")
    done = hotfolder("upscale", "in", "--model", "model.pth")
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    told = hotfolder("upscale", "in", "--model", "model.pth", "--json")
    assert "cannot be read" in json.loads(told.stdout)["error"]["message"]
    assert names(nowhere / "in") == ["0.png", "1.png", "2.png"]


def test_interrupted_it_leaves_nothing_half_written(nowhere: Path) -> None:
    draw_landscape(1, (2000, 1500)).save(nowhere / "in/large.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "hotfolder", "upscale", "in", "--out", "out", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and not list(nowhere.glob("out/*_4x.png")):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    made = json.loads(out)["images"]
    assert names(nowhere / "out") == sorted(Path(row["output"]).name for row in made)
    assert 0 < len(made) < 4


def test_the_bench_measures_both_ways_and_their_memory(nowhere: Path) -> None:
    done = in_its_own_process("bench", "upscale", "--images", "2", "--size", "64", "--naive", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    rates = told["input_megapixels_per_second"]
    assert set(rates) == {"network", "end_to_end", "plain_loop"}
    assert told["times_plain"] == pytest.approx(rates["end_to_end"] / rates["plain_loop"], rel=0.05)
    assert told["psnr_against_plain_db"] >= 50
    assert set(told["peak_memory"]) == {"ours_mb", "plain_loop_mb"}
    assert told["exact"] is True


def test_what_could_not_be_kept_is_a_note_in_the_row(nowhere: Path) -> None:
    pages = [draw_landscape(number, (20, 15)) for number in range(2)]
    pages[0].save("in/pages.tif", save_all=True, append_images=pages[1:])
    (row,) = upscale("in/pages.tif")[1]["images"]  # type: ignore[misc]
    assert row["notes"] == ["it has several pages: only the first is taken"]
    done = hotfolder("upscale", "in/pages.tif", "--out", "out")
    assert "note: it has several pages" in done.stdout
    told = json.loads(hotfolder("score", "in/pages.tif", "in/0.png", "--json").stdout)
    assert [row.get("notes") for row in told["scores"]] == [row["notes"], None]


def test_nothing_is_written_into_an_inbox(nowhere: Path) -> None:
    assert hotfolder("init", nowhere / "root", "--preset", "tiny").returncode == 0
    dropped = nowhere / "root/inbox/score/a.png"
    (nowhere / "in/0.png").rename(dropped)
    code, told = upscale(dropped, "--root", nowhere / "root")
    assert code == 3
    assert "--out" in told["images"][0]["error"]["fix"]  # type: ignore[index]
    assert names(dropped.parent) == ["a.png"]
