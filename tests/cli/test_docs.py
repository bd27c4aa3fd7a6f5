"""What the documents say is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from hotfolder.core import prompts
from hotfolder.core.prompts import parse
from hotfolder.folders.layout import Layout
from tests.support.roots import daemon, rows
from tests.support.scripted import ScriptedExecutor, always

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
PROMPTS = (REPOSITORY / "docs/prompts.md").read_text()


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
    (text,) = blocks(PROMPTS, "")
    (toml,) = blocks(PROMPTS, "toml")
    assert len(parse("p.txt", text, lambda: 0)) == 5
    assert len(parse("p.toml", toml, lambda: 0)) == 3


def test_every_flag_is_documented() -> None:
    for flag in (*prompts._VALUES, *prompts._ALIASES, "prompt"):
        assert f"`--{flag}" in PROMPTS, flag


def test_every_model_is_documented() -> None:
    registry = tomllib.loads((REPOSITORY / "hotfolder/models/registry.toml").read_text())
    models = (REPOSITORY / "docs/models.md").read_text()
    for entry in registry["model"]:
        assert f"`{entry['name']}`" in models, entry["name"]


def test_links_lead_somewhere() -> None:
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
