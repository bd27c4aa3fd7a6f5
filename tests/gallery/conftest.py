"""A root with six results, and a gallery of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.support.gallery import Client, serving
from tests.support.roots import daemon, new_root, picture
from tests.support.scripted import ScriptedExecutor

SCORES = {"a": 4.0, "b": 6.0, "c": 6.6, "d": 6.9, "e": 5.5, "f": 6.4999999}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """c and d are kept; a, b, e and f rejected. Ids are 1 to 6 in some order."""
    layout = new_root(tmp_path_factory.mktemp("gallery"))
    for number, name in enumerate(SCORES):
        picture(layout.inbox(Kind.SCORE) / f"sub/{name}.png", number, (400 + number, 300))
    work(layout)
    return layout


def work(layout: Layout) -> None:
    """What waits is done, as by a daemon."""
    executor = ScriptedExecutor(lambda _, item: SCORES.get(str(item.source)[-5], 6.6))
    daemon(layout, executor, WATCH__MODE="polling").run(once=True)


@pytest.fixture(scope="module")
def shown(judged: Layout) -> Iterator[Client]:
    with serving(judged) as client:
        yield client
