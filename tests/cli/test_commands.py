"""The commands as a person types them: real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.support import forks, in_process
from tests.support.roots import daemon, picture
from tests.support.scripted import ScriptedExecutor, always


def hotfolder(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hotfolder", *map(str, arguments)],
        capture_output=True, text=True, timeout=240, check=False, env={**os.environ, **environ},
    )  # fmt: skip


#: Of Python's own: to import it takes a tenth of a second on the machine that the promise was made for.
IMPORTS = (
    "import asyncio, decimal, email.message, http.client, json, logging, sqlite3, subprocess, unittest.mock, "
    "xml.etree.ElementTree"
)


def best_of(runs: int, *words: object) -> float:
    """Seconds of the fastest of several runs of Python: what the machine does when nothing disturbs it."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([sys.executable, *map(str, words)], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


@pytest.fixture
def worked(layout: Layout) -> Layout:
    """A root on which something has been done already."""
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    (layout.inbox(Kind.GENERATE) / "typo.txt").write_text("a --stesp 4")
    daemon(layout, ScriptedExecutor(always(7.5))).run(once=True)
    return layout


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["status"], ["status", "--json"], ["why", "keep/a.png"], ["why", "inbox/score/b.png"]],
)
def test_questions_import_no_model_library(worked: Layout, arguments: list[str]) -> None:
    program = (
        "import sys; from hotfolder.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'torch', 'diffusers', 'open_clip', 'spandrel', 'transformers', 'ray'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    picture(worked.inbox(Kind.SCORE) / "b.png", 2)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "HOTFOLDER_ROOT": str(worked.root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_interrupt_while_a_command_is_loaded_is_no_traceback() -> None:
    program = (
        "import sys; from hotfolder.cli import main\n"
        "class Impatient:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'hotfolder.cli.app': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program, "status"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.alone
def test_help_and_status_answer_at_once(worked: Layout) -> None:
    # The promise is 0.4 s on a machine that does nothing else; the fastest of five comes near to that. A slower
    # machine takes longer for all that is imported.
    slowness = max(1.0, best_of(5, "-c", IMPORTS) / 0.1)
    assert best_of(5, "-m", "hotfolder", "--help") < 0.4 * slowness
    assert best_of(5, "-m", "hotfolder", "status", "--root", worked.root) < 0.4 * slowness


def test_init_makes_a_root_and_never_overwrites_one(tmp_path: Path) -> None:
    root = tmp_path / "my root"
    assert hotfolder("init", root, "--preset", "tiny").returncode == 0
    for folder in ("inbox/generate", "inbox/score", "inbox/upscale", "keep", "reject", "upscaled", "failed"):
        assert (root / folder).is_dir()
    (root / "hotfolder.toml").write_text("[gate]\nkeep = 6\n")
    again = hotfolder("init", root)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert (root / "hotfolder.toml").read_text() == "[gate]\nkeep = 6\n"


def test_an_unknown_preset_is_named_with_the_known_ones(tmp_path: Path) -> None:
    done = hotfolder("init", tmp_path / "r", "--preset", "tyni")
    assert done.returncode == 2
    assert "tyni" in done.stderr
    assert "sdxl-turbo" in done.stderr


def test_status_for_scripts(worked: Layout) -> None:
    done = hotfolder("status", "--json", "--root", worked.root)
    found = json.loads(done.stdout)
    assert found["schema_version"] == 1
    assert found["daemon"]["running"] is False
    assert found["images"] == {"keep": 1, "reject": 0, "upscaled": 1}
    assert found["queue"]["generate"]["failed"] == 1
    assert found["recent_failures"][0]["error"]["kind"] == "prompt_syntax"
    assert found["recent_failures"][0]["error"]["fix"] == "did you mean '--steps'?"


def test_status_before_the_first_run(layout: Layout) -> None:
    done = hotfolder("status", HOTFOLDER_ROOT=str(layout.root))
    assert done.returncode == 0
    assert "not running" in done.stdout


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_root_may_be_named_anywhere(worked: Layout, place: str) -> None:
    root = ["--root", str(worked.root)]
    done = hotfolder(*root, "status") if place == "before" else hotfolder("status", *root)
    assert str(worked.root) in done.stdout


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("inbox/score/a.png", "it is keep/a.png now"),
        ("keep/a.png", "7.50 by scripted, keep"),
        ("inbox/generate/typo.txt", "unknown flag '--stesp'"),
        ("inbox/score/new.png", "no daemon runs"),
        ("inbox/score/new.png.part", "watch.ignore has '*.part'"),
        ("inbox/score/nothing.png", "no such file"),
        ("hotfolder.toml", "lies in no inbox"),
        ("inbox/score/link.png", "it is a link, and links are never followed"),
        ("inbox/score/lost.png", "it is a link, and links are never followed"),
        ("inbox/score/folder/a.png", "its folder inbox/score/folder: it is a link"),
        ("inbox/score/pipe.png", "it is no file but a pipe"),
    ],
)
def test_why(worked: Layout, file: str, says: str) -> None:
    for name in ("new.png", "new.png.part"):
        picture(worked.inbox(Kind.SCORE) / name, 2)
    (worked.inbox(Kind.SCORE) / "link.png").symlink_to(worked.root / "keep/a.png")
    (worked.inbox(Kind.SCORE) / "lost.png").symlink_to("nowhere")
    (worked.inbox(Kind.SCORE) / "folder").symlink_to(worked.root / "keep")
    os.mkfifo(worked.inbox(Kind.SCORE) / "pipe.png")
    done = forks.hotfolder("why", file, "--root", worked.root)
    assert done.returncode == 0
    assert says in done.stdout
    document = json.loads(forks.hotfolder("why", file, "--json", "--root", worked.root).stdout)
    assert says in document["reason"]


def test_why_says_that_a_program_still_writes(worked: Layout) -> None:
    from hotfolder.folders.lock import RootLock

    lock = RootLock(worked.lock)
    lock.acquire()
    try:
        with (worked.inbox(Kind.SCORE) / "slow.png").open("wb") as file:
            file.write(b"x")
            file.flush()
            done = hotfolder("why", worked.inbox(Kind.SCORE) / "slow.png", "--root", worked.root)
    finally:
        lock.release()
    assert "still has it open for writing" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["status", "--json", "--root", "/nonexistent"], 2, "usage"),
        (["why", "/etc/passwd", "--json"], 2, "usage"),
    ],
)
def test_errors_are_json_for_scripts(layout: Layout, arguments: list[str], code: int, kind: str) -> None:
    done = hotfolder(*arguments, HOTFOLDER_ROOT=str(layout.root))
    assert done.returncode == code
    assert json.loads(done.stdout)["error"]["kind"] == kind
    assert "fix:" in done.stderr


def test_a_missing_model_is_said_before_anything_is_begun(layout: Layout) -> None:
    path = picture(layout.inbox(Kind.SCORE) / "a.png")
    done = hotfolder(
        "run", "--once", "--root", layout.root, HOTFOLDER_SCORE__SCORER="laion-v2", HOME=str(layout.root)
    )
    assert done.returncode == 4
    assert "sac+logos+ava1-l14-linearMSE.pth" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.exists()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("HOTFOLDER_SCORE__SCORER", "technicall", "did you mean 'technical'?"),
        ("HOTFOLDER_UPSCALE__MODEL", "shapes", "does not upscale"),
        ("HOTFOLDER_GATE__KEEP", "70", "gate.keep is 70"),
    ],
)
def test_wrong_settings_end_with_2(layout: Layout, variable: str, value: str, says: str) -> None:
    done = hotfolder("run", "--once", "--root", layout.root, **{variable: value})
    assert done.returncode == 2
    assert says in done.stderr


def test_an_unknown_command_ends_with_2() -> None:
    assert hotfolder("frobnicate").returncode == 2
    assert hotfolder("--version").stdout.startswith("hotfolder ")


def test_no_path_is_refused_by_the_parser_of_the_command_line() -> None:
    """It knows neither JSON nor a remedy, nor the exit codes of a check: what may not be read, each command says."""
    from typer.main import get_command

    from hotfolder.cli.app import app

    waiting, strict = [("hotfolder", get_command(app))], []
    while waiting:
        name, command = waiting.pop()
        for parameter in command.params:
            told = parameter.type_descriptor  # type: ignore[attr-defined]
            if "Path" in str(told.annotation) and told.parameter_info.readable:
                strict.append(f"{name} {parameter.name}")
        waiting += [(f"{name} {each}", sub) for each, sub in getattr(command, "commands", {}).items()]
    assert strict == []


@pytest.mark.parametrize(
    ("words", "message", "fix"),
    [
        (("reroute", "--keep", "60"), "'--keep'", "see: hotfolder reroute --help"),
        (("workers", "resume"), "'device'", "see: hotfolder workers resume --help"),
        (("nope",), "'nope'", "see: hotfolder --help"),
    ],
)
def test_a_command_line_that_is_not_understood_is_told_as_json_too(
    words: tuple[str, ...], message: str, fix: str
) -> None:
    told = in_process.hotfolder(*words, "--json")
    error = json.loads(told.stdout)["error"]
    assert (told.returncode, error["kind"], error["fix"]) == (2, "usage", fix)
    assert message in error["message"]
    assert told.stderr == f"error: {error['message']}\n  fix: {fix}\n"
    plain = in_process.hotfolder(*words)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr.startswith("Usage: hotfolder")
