"""What the documents say is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli

from hotfolder.cli.setup import make_root
from hotfolder.config import loading
from hotfolder.core import prompts
from hotfolder.core.prompts import parse
from hotfolder.executors.inline import InlineExecutor
from hotfolder.folders.layout import Layout
from hotfolder.models.registry import Catalogue
from tests.support.roots import daemon, picture, rows, settings
from tests.support.scripted import ScriptedExecutor, always
from tests.support.shell import Home, constant_tower, random_compact, random_head
from tools import make_reference

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
PROMPTS = (REPOSITORY / "docs/prompts.md").read_text()
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
#: What the README says for setting up: run by tests/cli/test_setup.py, and the demo by tests/cli/test_demo.py.
SET_UP = re.compile(r"uv run hotfolder demo|hotfolder models pull\n")
#: The models that pages name, small.
SMALL = """
[[model]]
name = "realesr-general-x4v3"
kind = "upscale"
twin = "general-twin"
files = [{ path = "mine/general.pth" }]
[[model]]
name = "general-twin"
kind = "upscale"
files = [{ path = "mine/wdn.pth" }]
[[model]]
name = "laion-v2"
kind = "score"
encoder = "clip-vit-l-14"
files = [{ path = "mine/head.pth" }]
"""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_every_command_is_in_the_readme() -> None:
    from typer.main import get_command

    from hotfolder.cli.app import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name in commands:
        assert re.search(rf"(hotfolder|`)[ ]?{name}\b", README), name


def test_the_query_of_the_readme_runs(layout: Layout) -> None:
    (layout.root / "inbox/generate/p.txt").write_text("a --seed 1")
    daemon(layout, ScriptedExecutor(always(7.5))).run(once=True)
    (query,) = blocks(README, "sql")
    assert rows(layout, query) == [("keep/p-s1.png", 7.5, "a", 1, 0.0)]


def test_the_prompt_of_the_readme_is_understood() -> None:
    (prompt,) = re.findall(r'echo "(.*?)"', README)
    assert len(parse("stars.txt", prompt, lambda: 0)) == 4


def test_the_examples_of_prompt_files_are_understood() -> None:
    text, front = blocks(PROMPTS, "")
    (toml,) = blocks(PROMPTS, "toml")
    assert len(parse("p.txt", text, lambda: 0)) == 5
    assert [(s.prompt, s.seed) for s in parse("p.txt", front, lambda: 0)] == [
        ("a large red circle on a white background", seed) for seed in (1, 2, 3, 4)
    ]
    assert len(parse("p.toml", toml, lambda: 0)) == 3


def test_every_flag_is_documented() -> None:
    for flag in (*prompts.VALUES, *prompts.ALIASES, "prompt"):
        assert f"`--{flag}" in PROMPTS, flag


def test_every_model_is_documented() -> None:
    registry = tomli.loads((REPOSITORY / "hotfolder/models/registry.toml").read_text())
    models = (REPOSITORY / "docs/models.md").read_text()
    for entry in registry["model"]:
        assert f"`{entry['name']}`" in models, entry["name"]


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_reference_is_that_of_the_code() -> None:
    for name, make in make_reference.PAGES.items():
        assert (REPOSITORY / "docs/reference" / name).read_text() == make(), (
            f"python -m tools.make_reference ({name})"
        )


def test_the_examples_of_settings_are_understood(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for page in PAGES:
        for text in blocks(page.read_text(), "toml"):
            if "prompts" not in text:
                (tmp_path / "hotfolder.toml").write_text(text)
                loading.load(tmp_path, {})


#: Pages whose commands are run as they stand, in an empty home with a root of the preset 'tiny'. Those of the README
#: that set it up have a test of their own.
RUN = [
    "README.md",
    "docs/tutorial.md",
    "docs/how-to.md",
    "docs/service.md",
    "docs/administration.md",
    "docs/scoring.md",
    "docs/upscaling.md",
]


@pytest.mark.parametrize("name", RUN)
def test_the_commands_of_a_page_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apart = {"APART": "apart"} if name == "README.md" else {}  # nearly each command is there, and so started once
    home = Home(tmp_path, HOTFOLDER_OUTPUT__MIN_FREE_MB="1", **apart)
    home.fill()
    script = "\n".join(
        block for block in blocks((REPOSITORY / name).read_text(), "sh") if not SET_UP.search(block)
    )
    assert script
    if name != "docs/tutorial.md":  # which makes its own root
        with monkeypatch.context() as patch:
            patch.setenv("HOME", str(home.path))
            make_worked_root(home, with_laion="laion-v2" in script)
    if name == "README.md":
        root = home.path / "hotfolder"
        lies = next(folder for folder in ("keep", "reject") if (root / folder / "stars-s7.png").exists())
        script = f"cd {root}\n{script.replace('keep/stars-s7.png', f'{lies}/stars-s7.png')}"
        (home.path / "holiday").rename(root / "holiday")
    done = home.run(script)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    if name == "docs/tutorial.md":  # what it says of the outcome
        layout = Layout(home.path / "hotfolder")
        made = rows(layout, "SELECT path FROM results WHERE role = 'generated' ORDER BY path")
        assert made == [("keep/shapes-L2-s9.png",), ("keep/shapes-L3-s8.png",), ("reject/shapes-L4-s7.png",)]
        assert rows(layout, "SELECT count(*) FROM results WHERE role = 'upscaled'")[0][0] >= 2
        assert "1 images would go to keep/" in done.stdout


def make_worked_root(home: Home, *, with_laion: bool) -> None:
    """A root of the preset 'tiny' with some results, and the models that pages name."""
    root, models = home.path / "hotfolder", home.path / ".local/share/hotfolder/models"
    make_root(root, "tiny")
    random_compact(models / "mine/general.pth")
    random_compact(models / "mine/wdn.pth", 1)
    random_compact(home.path / "ComfyUI/models/upscale_models/4x-UltraSharp.pth", 2)
    picture(home.path / "keep/a.png", 5)
    if with_laion:
        constant_tower(models / "clip-vit-l-14/clip-vit-l-14.safetensors")
        random_head(models / "mine/head.pth")
    with (root / "hotfolder.toml").open("a") as file:
        file.write(SMALL)
    picture(root / "inbox/score/IMG_0001.jpg", 9)
    (root / "inbox/generate/stars.txt").write_text("a large cyan star on a brown background --seed 7")
    layout = Layout(root)
    executor = InlineExecutor(settings(layout).runner(layout.database))  # which has its libraries already
    report = daemon(layout, executor, OUTPUT__MIN_FREE_MB="1").run(once=True)
    assert (report.failed, report.paused) == (0, None)


def test_the_commands_that_measure_are_commands() -> None:
    from typer.main import get_command

    from hotfolder.cli.app import app

    found = get_command(app).commands["bench"].commands  # type: ignore[attr-defined]
    lines = [line.split() for page in PAGES for line in "".join(blocks(page.read_text(), "sh")).splitlines()]
    measured = [words for words in lines if words[:2] == ["hotfolder", "bench"]]
    assert len(measured) >= 4
    for words in measured:
        found[words[2]].make_context(words[2], words[3:])


def test_the_commands_about_models_run(tmp_path: Path) -> None:
    """Those of docs/models.md need a hub: tests/cli/test_models.py has one. Here: that they are commands."""
    from typer.main import get_command

    from hotfolder.cli.app import app

    found = get_command(app).commands["models"].commands  # type: ignore[attr-defined]
    for line in "".join(blocks((REPOSITORY / "docs/models.md").read_text(), "sh")).splitlines():
        words = line.partition("#")[0].split()
        assert words[:2] == ["hotfolder", "models"]
        context = found[words[2]].make_context(words[2], words[3:], resilient_parsing=False)
        assert all(Catalogue().entry(each) for each in context.params.get("names") or ())


def test_commands_can_be_completed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    done = home.run("hotfolder --show-completion")
    assert done.returncode == 0, done.stderr
    words = "COMP_WORDS='hotfolder mod' COMP_CWORD=1 _HOTFOLDER_COMPLETE=complete_bash hotfolder"
    assert home.run(words).stdout.split() == ["models"]
