"""The arrows between the packages, and that heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import hotfolder

PACKAGE = Path(hotfolder.__file__).parent
OPEN_TO_ALL = {"types", "transitions", "errors", "printable", "masking", "home"}
#: What each part may import from the others: those that stand above it here, and of those just these.
ALLOWED: dict[str, set[str]] = {
    "types": set(),
    "transitions": set(),
    "masking": set(),
    "printable": set(),
    "errors": set(),
    "home": set(),
    "__init__": set(),
    "core": set(),
    "files": set(),
    "imaging": {"__init__", "core", "files"},
    "models": {"core"},
    "similarity": set(),
    "engines": {"__init__", "core", "files", "imaging", "models", "similarity"},
    "system": set(),
    "ledger": {"core"},
    "folders": {"core", "files"},
    "taste": {"core", "files", "folders", "ledger", "models"},
    "executors": {"__init__", "engines", "files", "imaging", "ledger", "models", "system"},
    "config": {"core", "files", "folders", "models", "taste"},
    "prompt_files": {"config", "core", "files", "folders", "imaging", "models"},
    "routing": {"core", "folders"},
    "publishing": {"core", "files", "folders", "ledger"},
    "status": {"__init__", "files", "folders"},
    "daemon": {
        "config",
        "core",
        "executors",
        "files",
        "folders",
        "imaging",
        "ledger",
        "models",
        "prompt_files",
        "publishing",
    }
    | {"routing", "status", "system", "taste"},
    "oneshot": {"core", "executors", "files", "imaging"},
    "bench": {
        "__init__",
        "config",
        "core",
        "daemon",
        "engines",
        "executors",
        "files",
        "folders",
        "ledger",
        "models",
        "oneshot",
    }
    | {"status", "system"},
    "demo": {"folders"},
    "documents": {"__init__", "core", "files", "folders", "ledger", "status"},
    "gallery": {"__init__", "config", "core", "documents", "files", "folders", "imaging", "ledger"}
    | {"models", "prompt_files", "status", "taste"},
    "cli": {"__init__", "bench", "config", "core", "daemon", "demo", "documents", "executors", "files"}
    | {
        "folders",
        "gallery",
        "imaging",
        "ledger",
        "models",
        "oneshot",
        "prompt_files",
        "similarity",
        "status",
        "system",
        "taste",
    },
    "__main__": {"cli"},
}
#: What the pure parts may use of the standard library: nothing that reads a file, a clock or a socket.
PURE = {
    "__future__",
    "ast",
    "base64",
    "bisect",
    "collections",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "fnmatch",
}
PURE |= {
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "pathlib",
    "random",
    "re",
    "shlex",
    "tomli",  # not of the standard library: parses text, and no more
    "types",
    "typing",
}
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "open_clip", "spandrel", "accelerate"}


@functools.cache
def modules() -> list[tuple[str, Path, ast.Module]]:
    return [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path, ast.parse(path.read_text()))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


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


def test_every_arrow_points_to_what_stands_above() -> None:
    order = list(ALLOWED)
    assert not [
        (part, other)
        for part, others in ALLOWED.items()
        for other in others
        if order.index(other) >= order.index(part)
    ]


def test_the_core_does_no_input_or_output() -> None:
    for part, path, tree in modules():
        if part in ("core", "types", "transitions", "errors", "routing"):
            assert {name.split(".")[0] for name in imported(tree)} - PURE <= {"hotfolder"}, path
            paths = {name for name in imported(tree) if name.startswith("pathlib.")}
            assert paths <= {"pathlib.PurePath", "pathlib.PurePosixPath"}, path
            opened = [
                node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in ("open", "print")
            ]
            assert not opened, path


def test_models_are_imported_only_by_the_engines_and_what_measures_them() -> None:
    for part, path, tree in modules():
        if part not in ("engines", "bench"):
            assert not {n.split(".")[0] for n in imported(tree)} & HEAVY, path


def test_sql_lives_in_the_ledger_alone() -> None:
    for part, path, tree in modules():
        if part != "ledger":
            assert "sqlite3" not in {n.split(".")[0] for n in imported(tree)}, path
