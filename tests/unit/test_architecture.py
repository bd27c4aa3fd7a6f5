"""The arrows between the packages, and that heavy libraries stay where they belong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import hotfolder

PACKAGE = Path(hotfolder.__file__).parent
OPEN_TO_ALL = {"types", "errors", "printable", "regular"}
#: What each part may import from the others.
ALLOWED = {
    "types": set(),
    "printable": set(),
    "regular": set(),
    "errors": {"types"},
    "root": {"errors"},
    "core": set(),
    "imaging": {"__init__"},
    "models": set(),
    "engines": {"__init__", "core", "imaging", "models"},
    "executors": {"engines", "ledger", "logs"},
    "bench": {"core", "engines", "executors", "models", "oneshot"},
    "oneshot": {"executors"},
    "ledger": set(),
    "folders": {"core", "ledger"},
    "sections": {"core"},
    "settings": {"core", "models", "sections"},
    "config": {"root", "sections", "settings"},
    "presets": {"core", "settings"},
    "rules": {"config", "folders", "line", "models", "root", "settings"},
    "systemd": set(),
    "logs": {"systemd"},
    "herald": {"sections"},
    "service": set(),
    "line": {"core", "folders"},
    "live": set(),
    "control": {"folders"},
    "prompt_check": {"folders", "models", "settings"},
    "prompt_files": {"core", "imaging"},
    "intake": {"core", "folders", "ledger", "line", "prompt_check", "prompt_files", "root", "rules"},
    "results": {"core", "folders", "intake", "ledger", "line", "rules"},
    "ratings": {"folders", "imaging", "ledger"},
    "rebuild": {"core", "folders", "imaging", "ledger"},
    "wishes": {"control", "folders", "intake", "ledger", "results"},
    "shift": {"core", "executors", "folders", "intake", "ledger", "results", "rules", "settings"},
    "daemon": {
        "herald",
        "logs",
        "ratings",
        "results",
        "rules",
        "shift",
        "systemd",
        "rebuild",
        "wishes",
        "control",
        "core",
        "root",
        "settings",
        "executors",
        "folders",
    }
    | {"intake", "ledger", "line", "live"},
    "demo": {"folders"},
    "cli": {"__init__", "config", "control", "core", "daemon", "demo", "executors", "folders", "ledger"}
    | {
        "live",
        "logs",
        "models",
        "bench",
        "imaging",
        "oneshot",
        "prompt_check",
        "prompt_files",
        "presets",
        "root",
        "rules",
        "service",
        "settings",
        "systemd",
    },
    "__init__": set(),
    "__main__": {"cli"},
}
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "open_clip", "spandrel", "accelerate"}


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        yield part, path, ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_part_is_known() -> None:
    assert {part for part, _, _ in modules()} == set(ALLOWED)


def test_arrows_point_one_way() -> None:
    parts = set(ALLOWED) - {"__init__", "__main__"}
    wrong = []
    for part, path, tree in modules():
        for name in imported(tree):
            if name == "hotfolder" or not name.startswith("hotfolder."):
                continue
            target = name.split(".")[1]
            target = target if target in parts else "__init__"
            if target not in ALLOWED[part] | {part, *OPEN_TO_ALL}:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_the_core_knows_only_the_standard_library() -> None:
    import sys

    for part, path, tree in modules():
        if part in ("core", *OPEN_TO_ALL):
            outside = {n.split(".")[0] for n in imported(tree)} - set(sys.stdlib_module_names) - {"hotfolder"}
            assert not outside, path


def test_models_are_imported_only_by_the_engines_and_what_measures_them() -> None:
    for part, path, tree in modules():
        if part not in ("engines", "bench"):
            assert not {n.split(".")[0] for n in imported(tree)} & HEAVY, path


def test_sql_lives_in_the_ledger_alone() -> None:
    for part, path, tree in modules():
        if part != "ledger":
            assert "sqlite3" not in {n.split(".")[0] for n in imported(tree)}, path
