"""The maps of the code, CONTRIBUTING.md and docs/architecture.md, name what is there."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text()
ARCHITECTURE = (REPOSITORY / "docs/architecture.md").read_text()


def names_in(path: Path) -> set[str]:
    """Functions and classes, and methods as Class.method."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
            found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


def test_the_walk_of_a_dropped_image_passes_what_is_there() -> None:
    steps = re.findall(r"^\| \d+ \| (.*?) \|", CONTRIBUTING, re.MULTILINE)
    assert len(steps) >= 8
    for step in steps:
        known: set[str] = set()
        for word in re.findall(r"`([^`]+)`", step):
            if "/" in word:
                known = names_in(REPOSITORY / word)
            else:
                assert word in known, f"{step}: {word}"


def test_every_path_of_contributing_leads_somewhere() -> None:
    paths = set(re.findall(r"`((?:hotfolder|tests|tools|docs|config)/[\w./*-]*)`", CONTRIBUTING))
    assert len(paths) >= 40
    assert [path for path in paths if not list(REPOSITORY.glob(path.rstrip("/")))] == []


def test_every_module_that_is_named_is_there() -> None:
    """By its path in the package, or the end of it: `line.py`, `core/gate.py`, `part_*.py`."""
    there = [f"/{path.relative_to(REPOSITORY)}" for path in (REPOSITORY / "hotfolder").rglob("*.py")]
    for text in (CONTRIBUTING, ARCHITECTURE):
        named = {
            name for name in re.findall(r"`([\w/*]+\.py)`", text) if not name.startswith(("tests/", "tools/"))
        }
        assert len(named) >= 20
        assert [name for name in named if not any(fnmatch(path, f"*/{name}") for path in there)] == []
