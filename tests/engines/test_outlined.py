"""Packages whose own module is run when they are asked for a name, and not before."""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hotfolder.engines import outlined

_PACKAGE = """
import builtins
builtins.drawn.append(__name__)
from .shapes import Square
from .lines import Line
SIDES = 4
"""
#: As transformers' packages are: another module is put into the place of theirs.
_REPLACED = """
import builtins, sys, types
builtins.drawn.append(__name__)
other = types.ModuleType(__name__)
other.SIDES, other.__path__ = 3, __path__
sys.modules[__name__] = other
"""


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Packages `drawing.plain` and `drawing.replaced`, outlined; which modules have run."""
    for name, text in {"__init__": "", "plain/__init__": _PACKAGE, "replaced/__init__": _REPLACED}.items():
        path = tmp_path / f"drawing/{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    modules = {"shapes": "class Square: pass", "lines": "from .shapes import Square\nclass Line: pass"}
    for name, text in modules.items():
        for package in ("plain", "replaced"):
            noted = f"import builtins\nbuiltins.drawn.append(__name__)\n{text}\n"
            (tmp_path / f"drawing/{package}/{name}.py").write_text(noted)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(builtins, "drawn", [], raising=False)
    monkeypatch.setattr(outlined, "_finder", finder := outlined._Finder())
    outlined.outline("drawing.plain", "drawing.replaced", "drawing.shapeless")
    yield builtins.drawn  # type: ignore[attr-defined]
    sys.meta_path.remove(finder)
    for name in [name for name in sys.modules if name.split(".")[0] == "drawing"]:
        del sys.modules[name]


def _import(name: str) -> Any:
    return importlib.import_module(name)


def test_a_module_in_it_is_imported_by_itself(drawn: list[str]) -> None:
    lines = _import("drawing.plain.lines")
    assert lines.Square is _import("drawing.plain.shapes").Square
    assert drawn == ["drawing.plain.lines", "drawing.plain.shapes"]
    assert _import("drawing").plain.lines is lines  # what lies in it is no name that is asked for
    assert drawn == ["drawing.plain.lines", "drawing.plain.shapes"]


def test_the_first_name_runs_its_own_module_once(drawn: list[str]) -> None:
    square = _import("drawing.plain.shapes").Square
    package = _import("drawing.plain")
    assert drawn == ["drawing.plain.shapes"]
    assert package.SIDES == 4
    assert package.Square is square
    assert drawn == ["drawing.plain.shapes", "drawing.plain", "drawing.plain.lines"]
    assert _import("drawing.plain") is package
    with pytest.raises(AttributeError, match=r"'drawing\.plain' has no attribute 'Circle'"):
        _ = package.Circle
    assert drawn.count("drawing.plain") == 1
    from drawing.plain import Line  # type: ignore[import-not-found]

    assert Line is package.Line


def test_a_package_that_puts_another_in_its_place_is_passed_on_to(drawn: list[str]) -> None:
    shapes = _import("drawing.replaced.shapes")
    package = _import("drawing.replaced")
    assert package.SIDES == 3
    real = _import("drawing.replaced")
    assert real is not package
    assert _import("drawing").replaced is real
    assert package.SIDES == real.SIDES == 3
    assert _import("drawing.replaced.shapes") is shapes
    assert drawn == ["drawing.replaced.shapes", "drawing.replaced"]


def test_an_error_in_its_own_module_is_told_each_time(drawn: list[str], tmp_path: Path) -> None:
    own = tmp_path / "drawing/plain/__init__.py"
    own.write_text("raise RuntimeError('no ink')")
    package = _import("drawing.plain")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no ink"):
            _ = package.SIDES


def test_what_is_not_there_is_missing_as_ever(drawn: list[str]) -> None:
    with pytest.raises(ModuleNotFoundError, match="shapeless"):
        _import("drawing.shapeless")
    with pytest.raises(ModuleNotFoundError, match="circles"):
        _import("drawing.plain.circles")
    assert drawn == []
