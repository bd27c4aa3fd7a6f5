"""Without a card: what is here can be imported, is marked, and is skipped with a reason."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests import conftest

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py") if path.stem != "test_marks")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_what_needs_a_card_says_so(name: str) -> None:
    module = importlib.import_module(f"tests.cuda.{name}")
    assert "cuda" in {mark.name for mark in module.pytestmark}


def test_without_a_card_they_are_skipped_with_a_reason(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest, "why_no_card", lambda: "there is no card here")
    item = pytest.Function.from_parent(request.node.parent, name="test_x", callobj=lambda: None)
    other = pytest.Function.from_parent(request.node.parent, name="test_y", callobj=lambda: None)
    for each in (item, other):
        each.own_markers.clear()
    item.add_marker(pytest.mark.cuda)
    conftest.pytest_collection_modifyitems([item, other])
    assert [mark.kwargs["reason"] for mark in item.iter_markers("skip")] == ["there is no card here"]
    assert list(other.iter_markers("skip")) == []
