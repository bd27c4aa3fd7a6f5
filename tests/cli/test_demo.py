"""The demonstration: the whole line, real models, real processes, no network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hotfolder.cli.demo import _tried_again
from hotfolder.folders.layout import Layout
from tests.cli.test_commands import hotfolder
from tests.support.roots import check_consistent, files_in, rows

pytestmark = pytest.mark.slow


def without_network() -> list[str]:
    """The start of a command that has no network, where the kernel lets us; else nothing."""
    wall = ["unshare", "--user", "--map-root-user", "--net"]
    works = shutil.which("unshare") and subprocess.run([*wall, "true"], capture_output=True, check=False)
    return wall if works and works.returncode == 0 else []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, dict[str, Any]]:
    root = tmp_path_factory.mktemp("demo") / "a root"
    done = subprocess.run(
        [*without_network(), sys.executable, "-m", "hotfolder", "demo", str(root), "--json"],
        capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Layout(root), json.loads(done.stdout)


def test_every_folder_has_something_and_every_file_its_row(demo: tuple[Layout, dict[str, Any]]) -> None:
    layout, told = demo
    for name in ("keep", "reject", "upscaled"):
        assert files_in(layout, name)
        assert told["counts"][name] == len(files_in(layout, name))
    assert told["counts"]["failed"] == 0
    assert files_in(layout, "inbox", "failed") == ["inbox/generate/hasty/hotfolder.toml"]  # settings stay
    check_consistent(layout)


def test_the_spoiled_pictures_are_rejected_and_the_clean_ones_kept(demo: tuple[Layout, dict[str, Any]]) -> None:
    layout, _ = demo
    assert [name for name in files_in(layout, "reject") if "/spoiled/" in name] == [
        f"reject/spoiled/{fault}.png" for fault in ("blocking", "blur", "noise", "overexposure", "underexposure")
    ]
    assert [name for name in files_in(layout, "keep") if "landscape" in name] == [
        f"keep/landscape-{number}.png" for number in (1, 2, 3)
    ]


def test_there_is_one_of_each_kept_rejected_enlarged_with_a_gain_and_tried_again_with_success(
    demo: tuple[Layout, dict[str, Any]],
) -> None:
    _, told = demo
    images = told["images"]
    assert {image["verdict"] for image in images if image["role"] == "generated"} == {"keep", "reject"}
    assert max(image["gain"] for image in images if image["gain"] is not None) > 0.02
    hasty = sorted((i for i in images if i["prompt"] == "a small cross" and i["role"] == "generated"),
                   key=lambda image: image["try"])  # fmt: skip
    assert [(image["try"], image["verdict"]) for image in hasty] == [(1, "reject"), (2, "keep")]
    # Not by a hair: other CPUs draw a little otherwise.
    assert hasty[0]["score"] < 4.5 and hasty[1]["score"] > 7
    (sentence,) = _tried_again([{**image, "source_file": "hasty/cross.txt"} for image in hasty])
    assert f"'a small cross' (cross.txt) was tried again: {hasty[0]['score']:.2f} is below" in sentence


def test_the_contact_sheet_and_the_gains(demo: tuple[Layout, dict[str, Any]]) -> None:
    layout, told = demo
    with Image.open(told["contact_sheet"]) as sheet:
        assert sheet.width > 1000
        assert len(sheet.convert("RGB").getcolors(10**7) or []) > 1000
    enlarged = [image for image in told["images"] if image["role"] == "upscaled"]
    assert enlarged
    assert [image["image"] for image in enlarged if image["gain"] is None] == []
    assert (layout.root / "hotfolder.db").exists()


def test_generated_images_say_how_they_were_made(demo: tuple[Layout, dict[str, Any]]) -> None:
    layout, _ = demo
    ((path, prompt),) = rows(layout, "SELECT path, prompt FROM results WHERE seed = 21 AND role = 'generated'")
    with Image.open(layout.root / path) as image:
        text = image.text  # type: ignore[attr-defined]
    assert text["parameters"].startswith(
        f"{prompt}\nSteps: 8, Sampler: DDIM, CFG scale: 3, Seed: 21, Size: 128x128"
    )
    assert json.loads(text["hotfolder"])["prompt"] == prompt


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    done = hotfolder("demo", tmp_path)
    assert done.returncode == 2
    assert "not an empty folder" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "precious"
