"""`hotfolder generate`: real processes, outside of any root, with the built-in model."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hotfolder.cli import generate as command
from hotfolder.core.prompts import options_of
from hotfolder.core.prompts.metadata import from_metadata
from hotfolder.demo.pictures import draw_landscape
from hotfolder.errors import DiskFull, ExitCode, GenerationFailed, HotfolderError, NotAnImage, UsageError
from hotfolder.imaging.metadata import read_generation
from hotfolder.oneshot import placing
from hotfolder.types import Item, Kind
from tests.support.in_process import hotfolder
from tests.support.scripted import Script, ScriptedExecutor, always
from tools.builtin.captions import Spec
from tools.builtin.renders import draw_spec

pytestmark = pytest.mark.slow

PROMPT = "a red circle, on blue"
PROMPT_FILE = """\
# two of them
a green star --seed 3

a {red|green} star --seed 5 --width 64 --height 64 --wildcards all
"""


def environment(folder: Path) -> dict[str, str]:
    """No root in sight, and no models but the built-in ones."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("HOTFOLDER_", "HF_"))},
        "HOME": str(folder.parent), "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }  # fmt: skip


def generate(folder: Path, *arguments: object, apart: bool = False) -> subprocess.CompletedProcess[str]:
    """Run in this folder: in a process of its own, or in this one, which has loaded its libraries already."""
    line = ["hotfolder", "generate", *map(str, arguments)]
    done = _in_a_process(folder, line) if apart else _in_this_process(folder, line)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def _in_a_process(folder: Path, line: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *line], cwd=folder, env=environment(folder), capture_output=True, text=True,
        timeout=400, check=False,
    )  # fmt: skip


def _in_this_process(folder: Path, line: list[str]) -> subprocess.CompletedProcess[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in set(os.environ) - set(environment(folder)):
            patch.delenv(name)
        patch.setenv("HOME", str(folder.parent))
        return hotfolder(*line[1:])


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".hotfolder-*"))


def grey_levels_between(one: Path, other: Path) -> int:
    with Image.open(one) as a, Image.open(other) as b:
        assert a.size == b.size
        return int(np.abs(np.asarray(a.convert("RGB")).astype(int) - np.asarray(b.convert("RGB"))).max())


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "work"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder in which two images were drawn, and what was told of them."""
    folder = tmp_path_factory.mktemp("home") / "work"
    folder.mkdir()
    return folder, document(generate(folder, PROMPT, "--seed", 7, "--count", 2, "--json", apart=True))


# --- drawing -------------------------------------------------------------------------------------


def test_images_lie_here_with_seeds_in_a_row_and_the_document_is_true(drawn: tuple[Path, dict[str, Any]]) -> None:
    folder, told = drawn
    assert (told["schema_version"], told["count"], told["errors"]) == (1, 2, 0)
    assert [row["image"] for row in told["images"]] == [f"a-red-circle-on-blue-s{seed}.png" for seed in (7, 8)]
    assert set(names(folder)) >= {row["image"] for row in told["images"]}
    assert leftovers(folder) == []
    for seed, row in zip((7, 8), told["images"], strict=True):
        path = folder / row["image"]
        assert (row["seed"], row["prompt"], row["model"], row["score"], row["upscaled"]) == (
            seed, PROMPT, "shapes", None, None,
        )  # fmt: skip
        assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        with Image.open(path) as image:
            assert image.size == (row["width"], row["height"]) == (128, 128)
        found = read_generation(path)
        assert json.loads(found["hotfolder"]) == row["settings"]
        spec = from_metadata(path.name, found)
        assert (spec.prompt, spec.seed, spec.model) == (PROMPT, seed, "shapes")
    assert told["images"][0]["sha256"] != told["images"][1]["sha256"]


def test_the_same_again_is_the_same_file_and_another_one_is_never_overwritten(
    drawn: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, told = drawn
    first, second = (row["image"] for row in told["images"])
    again = tmp_path / "home" / "work"
    again.mkdir(parents=True)
    (again / first).write_bytes((folder / first).read_bytes())
    (again / second).write_bytes(b"mine")
    before = (again / first).stat()
    later = document(generate(again, PROMPT, "--seed", 7, "--count", 2, "--json"))
    assert [row["image"] for row in later["images"]] == [first, second.replace(".png", "-1.png")]
    assert [row["sha256"] for row in later["images"]] == [row["sha256"] for row in told["images"]]
    assert names(again) == sorted([first, second, second.replace(".png", "-1.png")])
    after = (again / first).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (again / second).read_bytes() == b"mine"
    assert leftovers(again) == []


def test_an_image_is_made_again_and_a_prompt_file_is_read(
    drawn: tuple[Path, dict[str, Any]], nowhere: Path
) -> None:
    folder, told = drawn
    original = folder / told["images"][1]["image"]
    (nowhere / "stars.txt").write_text(PROMPT_FILE)
    later = document(generate(nowhere, original, "stars.txt", "--out", "new/deep", "--json"))
    assert [(row["image"], row["prompt"], row["seed"], row["width"]) for row in later["images"]] == [
        ("new/deep/a-red-circle-on-blue-s8-s8.png", PROMPT, 8, 128),
        ("new/deep/stars-L2-s3.png", "a green star", 3, 128),
        ("new/deep/stars-L4-s5.png", "a red star", 5, 64),
        ("new/deep/stars-L4-s5-1.png", "a green star", 5, 64),
    ]
    assert sorted(names(nowhere)) == sorted(["stars.txt", *(row["image"] for row in later["images"])])
    for row in later["images"]:
        assert row["sha256"] == hashlib.sha256((nowhere / row["image"]).read_bytes()).hexdigest()
    assert grey_levels_between(original, nowhere / later["images"][0]["image"]) <= 1
    other = folder / told["images"][0]["image"]
    assert grey_levels_between(other, nowhere / later["images"][0]["image"]) > 50  # so that this can fail
    assert leftovers(nowhere) == []


def test_the_best_of_several_are_kept_and_enlarged(nowhere: Path) -> None:
    told = document(
        generate(
            nowhere, PROMPT, "--seed", 20, "--best-of", 4, "--keep", 2, "--upscale", 2, "--format", "jpeg", "--json",
            "--width", 64, "--height", 64,
        )
    )  # fmt: skip
    rows = told["images"]
    assert (told["count"], told["errors"], len(rows)) == (2, 0, 4)
    assert [row["seed"] for row in rows] == [20, 21, 22, 23]
    kept = [row for row in rows if row["image"]]
    dropped = [row for row in rows if not row["image"]]
    assert len(kept) == len(dropped) == 2
    assert min(row["score"] for row in kept) >= max(row["score"] for row in dropped)
    assert all(1 <= row["score"] <= 10 for row in rows)
    assert all(row["upscaled"] is None for row in dropped)
    assert names(nowhere) == sorted(
        name for row in kept for name in (row["image"], row["upscaled"]["image"])
    )  # fmt: skip
    for row in kept:
        assert row["image"] == f"a-red-circle-on-blue-s{row['seed']}.jpg"
        for each, side in ((row, 64), (row["upscaled"], 128)):
            path = nowhere / each["image"]
            assert each["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            with Image.open(path) as image:
                assert image.size == (each["width"], each["height"]) == (side, side)
            assert json.loads(read_generation(path)["hotfolder"])["seed"] == row["seed"]
        with Image.open(nowhere / row["image"]) as image:
            assert image.format == "JPEG"
    assert leftovers(nowhere) == []


def test_an_init_image_is_what_it_begins_from(nowhere: Path) -> None:
    begun = draw_spec(Spec("red", "circle", "blue", "small"), random.Random(1)).crop((16, 24, 112, 88))
    begun.save(nowhere / "begin.png")
    told = document(
        generate(
            nowhere, "a red circle on blue", "--init-image", "begin.png", "--strength", 0.2, "--seed", 1,
            "--format", "webp", "--json",
        )
    )  # fmt: skip
    (row,) = told["images"]
    assert row["image"] == "a-red-circle-on-blue-s1.webp"
    assert (row["width"], row["height"]) == (96, 64)
    assert row["settings"]["init_image"] == str(nowhere / "begin.png")
    assert row["settings"]["strength"] == 0.2
    with Image.open(nowhere / row["image"]) as image:
        assert image.format == "WEBP"
        difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(begun))
    assert difference.mean() < 20  # of 255: it can be seen where it came from
    assert names(nowhere) == ["a-red-circle-on-blue-s1.webp", "begin.png"]


def test_what_looks_like_a_path_and_is_none_is_a_prompt(nowhere: Path) -> None:
    prompts = ["cats/no such", "no such.png", "../a/b: c?*\n猫"]
    done = generate(nowhere, *prompts, "--seed", 4, "--steps", 2, "--width", 64, "--height", 64)
    assert done.returncode == 0, done.stderr
    expected = ["cats-no-such-s4.png", "no-such-png-s4.png", "a-b-c-猫-s4.png"]
    assert names(nowhere) == sorted(expected)
    assert done.stdout.splitlines() == [*(f"{name}  seed 4  64 × 64" for name in expected), "3 images"]
    for name, prompt in zip(expected, prompts, strict=True):
        assert json.loads(read_generation(nowhere / name)["hotfolder"])["prompt"] == prompt


# --- refused before anything is drawn ------------------------------------------------------------


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few files; nothing may be added to it."""
    folder = tmp_path_factory.mktemp("home") / "work"
    folder.mkdir()
    (folder / "bad.txt").write_text("a cat\n\na dog --stesp 4\n")
    (folder / "empty.txt").write_text("# nothing\n")
    (folder / "binary.txt").write_bytes(b"a \x81 cat")
    (folder / "bad.toml").write_text("prompt = 'a'\nsteps = 0\n")
    draw_landscape(1, (20, 20)).save(folder / "photo.png")
    (folder / "no.png").write_text("no picture")
    return folder


@pytest.mark.parametrize(
    ("arguments", "says", "fix", "code"),
    [
        (["a cat", "--steps", "0"], "--steps is 0", "from 1 to 1000", 2),
        (["a cat", "--sampler", "Eulr"], "--sampler is 'Eulr'", "did you mean 'Euler'?", 2),
        (["a cat", "--width", "63"], "--width is 63", "a multiple of 8", 2),
        (["a cat", "--model", "shapse"], "no model is called 'shapse'", "did you mean 'shapes'?", 2),
        (["a cat", "--model", "sdxl"], "'sdxl' is not on this machine", "hotfolder models pull sdxl", 4),
        (["a cat", "--lora", "no.safetensors:1"], "no LoRA is called", "absolute path", 2),
        (["a cat", "--keep", "2"], "keep without best_of", "--best-of", 2),
        (["a cat", "--best-of", "2", "--keep", "3"], "3 of 2 cannot be kept", "lower --keep", 2),
        (["a cat", "--strength", "0.5"], "strength without init_image", "--init-image", 2),
        (["a cat", "--seed", "1", "--seeds", "2"], "seeds beside seed", "leave the other out", 2),
        (["a cat", "--init-image", "gone.png"], "there is no init-image", "check the name", 2),
        (["a cat", "--format", "bmp"], "no format is called 'bmp'", "png, webp or jpeg", 2),
        (["a cat", "--out", "photo.png"], "photo.png cannot be made", "name a folder", 2),
        (["a cat", "--out", "/proc/no/such"], "/proc/no/such cannot be made", "name a folder", 2),
        (["a cat", "--out", "/proc"], "nothing can be written to /proc", "--out", 2),
        ([" "], "no words", "", 2),
        (["a cat", "bad.txt"], "bad.txt:3:7: unknown flag '--stesp'", "did you mean '--steps'?", 2),
        (["bad.toml"], "bad.toml", "from 1 to 1000", 2),
        (["empty.txt"], "there is no prompt in it", "one prompt a line", 2),
        (["binary.txt"], "binary.txt cannot be read", "UTF-8", 2),
        (["photo.png", "--seed", "1"], "photo.png says itself how it was made", "leave the options out", 2),
        (["photo.png"], "photo.png does not say how it was generated", "inbox/score", 2),
        (["no.png"], "no.png cannot be read as an image", "", 1),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_drawn(
    refusing: Path, arguments: list[str], says: str, fix: str, code: int
) -> None:
    before = {path: path.stat().st_mtime_ns for path in refusing.rglob("*")}
    done = generate(refusing, *arguments)
    assert says in done.stderr
    assert fix in done.stderr.partition("fix: ")[2]
    assert "fix: " in done.stderr
    assert done.stdout == ""
    assert done.returncode == code
    assert {path: path.stat().st_mtime_ns for path in refusing.rglob("*")} == before


def test_an_error_is_the_one_document_with_json(refusing: Path) -> None:
    done = generate(refusing, "a cat", "--steps", 0, "--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert "--steps is 0" in told["error"]["message"]
    assert told["error"]["fix"]


# --- interrupted ---------------------------------------------------------------------------------


def test_after_ctrl_c_what_is_finished_is_there_and_told(nowhere: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hotfolder", "generate", PROMPT, "--seed", "1", "--count", "2000", "--out", "out",
         "--json"],
        cwd=nowhere, env=environment(nowhere), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and not list(nowhere.glob("out/*.png")) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does it: all of its processes
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    told = json.loads(out)
    assert all(row["image"] for row in told["images"])  # nothing is told that is not there
    made = [Path(row["image"]).name for row in told["images"]]
    assert 0 < len(made) < 2000
    assert told["count"] == len(made)
    assert names(nowhere / "out") == sorted(made)
    assert leftovers(nowhere) == []
    for row in told["images"]:
        assert row["sha256"] == hashlib.sha256((nowhere / row["image"]).read_bytes()).hexdigest()


def scripted(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    script: Script,
    prompt: Mapping[str, Any],
    *,
    as_json: bool = True,
    prompts: Sequence[str] = ("a cat",),
) -> ExitCode:
    """The command in this process, without a model: quick, and it can be stopped at any line."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("HOTFOLDER_ROOT", raising=False)
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setattr(command, "make_executor", lambda *_: ScriptedExecutor(script))
    return command.run_generate(None, list(prompts), command.Options(options_of(prompt)), as_json=as_json)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("moment", ["rename_noreplace", "fsync_folder"])
def test_ctrl_c_while_an_image_is_put_in_its_place(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], moment: str, as_json: bool
) -> None:
    """What is there is told, and what is told is there, wherever it is stopped."""
    calls = 0
    where = placing if moment == "rename_noreplace" else command
    real = getattr(where, moment)

    def interrupted(*arguments: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(where, moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        scripted(monkeypatch, nowhere, always(7.0), {"seed": 1, "count": 5}, as_json=as_json)
    assert leftovers(nowhere) == []
    there = names(nowhere)
    out = capsys.readouterr().out
    if as_json:
        told = json.loads(out)
        assert [row["image"] for row in told["images"]] == there
        assert told["count"] == len(there)
    else:
        assert out.splitlines() == [
            *(f"{name}  seed {seed}  8 × 8" for seed, name in enumerate(there, 1)), f"{len(there)} images",
        ]  # fmt: skip


# --- what goes wrong -----------------------------------------------------------------------------


def test_one_that_cannot_be_drawn_hurts_only_itself(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(_: Kind, item: Item) -> float | GenerationFailed:
        return GenerationFailed("it is all black", "another seed") if item.params["seed"] == 2 else 7.0

    assert scripted(monkeypatch, nowhere, script, {"seed": 1, "count": 3}) is ExitCode.PARTLY_FAILED
    told = json.loads(capsys.readouterr().out)
    assert (told["count"], told["errors"]) == (2, 1)
    assert told["images"][1] == {
        "prompt": "a cat", "seed": 2, "model": "shapes", "error": told["images"][1]["error"],
    }  # fmt: skip
    assert told["images"][1]["error"]["message"] == "it is all black"
    assert names(nowhere) == ["a-cat-s1.png", "a-cat-s3.png"]
    assert scripted(monkeypatch, nowhere, script, {"seed": 1, "count": 3}, as_json=False) is ExitCode.PARTLY_FAILED
    out = capsys.readouterr().out
    assert "seed 2  –  " in out
    assert out.endswith("2 images, 1 failed\n")
    assert names(nowhere) == ["a-cat-s1.png", "a-cat-s3.png"]


def test_of_several_the_best_are_kept_though_some_cannot_be_drawn_or_judged(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(kind: Kind, item: Item) -> float | HotfolderError:
        if kind is Kind.GENERATE:
            return GenerationFailed("black", "another seed") if item.params["seed"] == 2 else 0.0
        number = item.job_id
        return NotAnImage("odd", "mend it") if number == 2 else {0: 4.0, 3: 8.0, 4: 6.0}[number]

    options = {"seed": 1, "best_of": 5, "keep": 2}
    assert scripted(monkeypatch, nowhere, script, options) is ExitCode.PARTLY_FAILED
    told = json.loads(capsys.readouterr().out)
    assert (told["count"], told["errors"]) == (2, 2)
    assert names(nowhere) == ["a-cat-s4.png", "a-cat-s5.png"]
    assert [row.get("image") for row in told["images"]] == [None, None, None, "a-cat-s4.png", "a-cat-s5.png"]
    assert leftovers(nowhere) == []


def test_a_full_disk_leaves_nothing_half_written(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = 0

    def script(_: Kind, item: Item) -> float | HotfolderError:
        nonlocal drawn
        drawn += 1
        return DiskFull("no space left", "free some") if drawn == 3 else 7.0

    with pytest.raises(HotfolderError, match="no space left"):
        scripted(monkeypatch, nowhere, script, {"seed": 1, "count": 5}, as_json=False)
    assert "a-cat-s2.png  seed 2" in capsys.readouterr().out
    assert names(nowhere) == ["a-cat-s1.png", "a-cat-s2.png"]
    assert leftovers(nowhere) == []
    drawn = 0
    with pytest.raises(HotfolderError, match="no space left"):
        scripted(monkeypatch, nowhere, script, {"seed": 1, "count": 5})
    assert capsys.readouterr().out == ""  # the error is the one document


def test_a_worker_that_dies_of_one_image_is_told_of_it(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(_: Kind, item: Item) -> float | str:
        return "killed by signal 11" if item.params["seed"] == 2 else 7.0

    assert scripted(monkeypatch, nowhere, script, {"seed": 1, "count": 3}) is ExitCode.PARTLY_FAILED
    told = json.loads(capsys.readouterr().out)
    assert [row.get("image") for row in told["images"]] == ["a-cat-s1.png", None, "a-cat-s3.png"]
    assert told["images"][1]["error"]["kind"] == "worker_lost"


@pytest.mark.parametrize("name", ["typo.txt", "prompts/typo.txt", "my prompts/a b.toml", "keep/cat.png"])
def test_a_file_that_is_not_there_is_no_prompt(nowhere: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is not there"):
        scripted(monkeypatch, nowhere, lambda *_: 7.0, {}, prompts=[name])
    assert names(nowhere) == []


def test_words_that_end_like_a_file_are_a_prompt(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, nowhere, lambda *_: 7.0, {"seed": 1}, prompts=["a sign that says readme.txt"])
    assert len(names(nowhere)) == 1


# --- files of other programs -----------------------------------------------------------------------


def test_a_picture_of_another_program_is_drawn_as_near_as_it_can_be_and_says_so(nowhere: Path) -> None:
    told = {
        "sui_image_params": {
            "prompt": PROMPT, "model": "SDXL/somebodys_best_v9", "seed": 7, "steps": 4, "cfgscale": 3, "width": 128,
            "height": 128, "sampler": "euler", "scheduler": "beta", "refinerupscale": 2, "loras": ["gone"],
        }
    }  # fmt: skip
    info = PngInfo()
    info.add_text("parameters", json.dumps(told))
    Image.new("RGB", (8, 8)).save(nowhere / "theirs.png", pnginfo=info)
    refused = generate(nowhere, "theirs.png")
    assert refused.returncode == 2
    assert "'refinerupscale'" in refused.stderr
    assert "sampler is 'euler beta'" in refused.stderr
    assert "--adapt" in refused.stderr
    (row,) = document(generate(nowhere, "theirs.png", "--adapt", "--json"))["images"]
    assert (row["seed"], row["model"], row["settings"]["sampler"], row["settings"]["steps"]) == (
        7,
        "shapes",
        "Euler",
        4,
    )
    notes = "; ".join(row["settings"]["notes"])
    for what in ("refinerupscale", "euler beta", "somebodys_best_v9", "gone"):
        assert what in notes
