"""What a worker says while it waits for its own threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest

from hotfolder.engines import model_runner
from hotfolder.types import Item, Outcome, Progress


@pytest.mark.parametrize("doing", ["decoding", "encoding"])
def test_signs_of_life_end_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch, doing: str) -> None:
    """A decoder that never ends must not look alive for ever: the daemon goes by the silence."""
    monkeypatch.setattr(model_runner, "_SIGN_OF_LIFE", 0.02)
    monkeypatch.setattr(model_runner, "_LONGEST", {"decoding": 0.3, "encoding": 0.3})
    told: list[Outcome | Progress] = []
    future: Future[str] = Future()
    found: list[str] = []
    item = Item(1, 1, None, "")
    thread = threading.Thread(
        target=lambda: found.append(model_runner._wait_for(future, item, doing, told.append))
    )
    thread.start()
    time.sleep(0.8)
    before = len(told)
    assert 2 <= before <= 20
    time.sleep(0.3)
    assert len(told) == before
    future.set_result("at last")
    thread.join(5)
    assert found == ["at last"]
