"""Packages that come when something of them is used."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hotfolder.engines import deferred

_PACKAGE = """
import builtins
builtins.loads_of_later += 1
from later import shapes
def area(side): return side * side
"""
_SHAPES = """
FACTOR = 2
class Square:
    sides = 4
    def __init__(self, side=1): self.side = side * FACTOR
"""


pytestmark = pytest.mark.usefixtures("later")


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package `later`, deferred."""
    package = tmp_path / "later"
    package.mkdir()
    (package / "__init__.py").write_text(_PACKAGE)
    (package / "shapes.py").write_text(_SHAPES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(builtins, "loads_of_later", 0, raising=False)
    monkeypatch.setattr(deferred, "_finder", finder := deferred._Finder())
    deferred.defer("later")
    yield
    sys.meta_path.remove(finder)
    for name in [name for name in sys.modules if name.split(".")[0] == "later"]:
        del sys.modules[name]


def _loaded() -> int:
    """How often the package itself was imported."""
    return int(builtins.loads_of_later)  # type: ignore[attr-defined]


def _import(name: str) -> Any:
    return importlib.import_module(name)


def test_names_are_had_without_the_package_and_nothing_is_an_instance() -> None:
    square = _import("later.shapes").Square
    area = _import("later").area
    assert not isinstance(3, square)
    assert not issubclass(int, square)
    assert square | None is Any  # an annotation
    assert None | square is Any
    assert isinstance(_import("later"), ModuleType)
    assert _loaded() == 0
    assert area(3) == 9
    assert _loaded() == 1


def test_the_first_use_brings_it_and_every_name_means_it_from_then_on() -> None:
    package, shapes = _import("later"), _import("later.shapes")
    square, factor = shapes.Square, package.shapes.FACTOR
    made = square(5)
    real = _import("later.shapes")
    assert real is not shapes
    assert type(made) is real.Square
    assert made.side == 10
    assert isinstance(made, square)
    assert issubclass(real.Square, square)
    assert not isinstance(3, square)
    assert square.sides == 4
    assert shapes.FACTOR == 2  # the stand-in passes on, too
    assert factor.real() == 2
    assert _loaded() == 1


def test_what_is_set_on_it_is_set_on_the_package() -> None:
    _import("later").shapes.FACTOR = 7
    assert _import("later.shapes").Square(1).side == 7


def test_a_class_of_it_can_be_a_base() -> None:
    square: Any = _import("later.shapes").Square

    class Mine(square):
        pass

    assert Mine(4).side == 8
    assert _loaded() == 1


def test_what_is_not_there_is_missing_as_ever() -> None:
    with pytest.raises(ModuleNotFoundError, match="circles"):
        _import("later.circles")
    deferred.defer("no_such_package")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        _import("no_such_package")
    assert importlib.util.find_spec("later") is not None
    assert _loaded() == 0
    with pytest.raises(AttributeError, match="volume"):
        _import("later").volume(3)


def test_what_is_loaded_already_stays() -> None:
    deferred._finder.packages.clear()
    real = _import("later")
    assert _loaded() == 1
    deferred.defer("later")
    assert _import("later") is real
    assert _import("later.shapes").Square(1).side == 2


def test_a_known_answer_does_not_bring_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `torch._dynamo.disable` does, which leaves a function out of what is compiled."""
    monkeypatch.setitem(deferred._WITHOUT, "later.area", deferred._unchanged)
    mark = _import("later").area
    assert mark(_loaded) is _loaded
    assert mark(recursive=False)(_loaded) is _loaded
    assert _loaded() == 0


def test_what_is_known_is_answered_and_all_else_is_for_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(deferred._WITHOUT, "later.area", deferred._itself)
    area = _import("later").area
    assert area(True) is True
    assert area(False, "why") is False
    assert _loaded() == 0
    assert area(3) == 9
    assert _loaded() == 1
    assert area(True) == 1  # from then on it is the package's


def test_sizes_that_are_known_are_compared_as_they_are() -> None:
    assert deferred._are_equal(3, 3) is True
    assert deferred._are_equal((2, 3), [2, 3]) is True
    assert deferred._are_equal((2, 3), (2, 3, 1)) is False
    assert deferred._are_equal(3, (3,)) is deferred._are_equal(3, "n") is NotImplemented
    assert deferred._is_symbol(3) is False
    assert deferred._all(True, False) is False
    assert deferred._any(False, True) is True
    assert deferred._is_symbol("n") is deferred._all(True, "n") is deferred._any(True, "n") is NotImplemented


def test_what_a_package_looks_at_closely_is_there_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sooner.py").write_text("import builtins\nbefore = builtins.loads_of_later\n")
    monkeypatch.setitem(deferred._BEFORE, "later", ("sooner",))
    monkeypatch.delitem(sys.modules, "sooner", raising=False)
    deferred.defer("sooner")
    assert _import("later").area(3) == 9
    assert _import("sooner").before == 0
    assert _loaded() == 1
    monkeypatch.delitem(sys.modules, "sooner")
