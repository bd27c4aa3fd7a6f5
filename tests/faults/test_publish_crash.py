"""A power cut at every single step of publishing: nothing lost, nothing twice."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hotfolder.daemon import outbox
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import Layout
from hotfolder.ledger.actions import Actions
from hotfolder.ledger.drops import Drops
from hotfolder.ledger.jobs import Jobs
from hotfolder.ledger.journal import Journal
from hotfolder.types import Kind
from tests.support.roots import check_consistent, daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor, always

pytestmark = pytest.mark.slow


class PowerCut(BaseException):
    """Nothing in the product may catch this, as nothing catches a power cut."""


class Fuse:
    """Blows at the n-th step; counts them all when n is None."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.steps: list[str] = []

    def __call__(self, name: str) -> None:
        self.steps.append(name)
        if self.at is not None and len(self.steps) > self.at:
            raise PowerCut(name)


@contextmanager
def fused(monkeypatch: pytest.MonkeyPatch, fuse: Fuse) -> Iterator[None]:
    """Puts the fuse before and after every rename, fsync, write and commit of publishing.

    Results are not held to be published with others: the steps of every run are the same, however long they take.
    """

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            fuse(f"before {name}")
            result = function(*args, **kwargs)
            fuse(f"after {name}")
            return result

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "TOGETHER_SECONDS", 0.0)
        for name in ("rename", "fsync", "write"):
            patch.setattr(Beneath, name, wrap(name, getattr(Beneath, name)))
        parts = (
            (Journal, ("record", "apply")),
            (Jobs, ("claim",)),
            (Drops, ("add",)),
            (Actions, ("begin", "undone")),
        )
        for part, name in ((part, name) for part, names in parts for name in names):
            patch.setattr(part, name, wrap(name, getattr(part, name)))
        yield


def work(layout: Layout, executor: ScriptedExecutor) -> None:
    """One run; without the threads of a watch, which would take most of its time."""
    daemon(layout, executor, WATCH__MODE="polling").run(once=True)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be had: it is the order of the steps that counts, not that a disk is slow."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def prepare(layout: Layout) -> dict[str, bytes]:
    """Drops one of everything; gives the bytes that must survive."""
    score, upscale, generate = (layout.inbox(kind) for kind in (Kind.SCORE, Kind.UPSCALE, Kind.GENERATE))
    kept = {
        "good": picture(score / "good.png", 1).read_bytes(),
        "bad": picture(score / "bad.png", 2).read_bytes(),
        "large": picture(upscale / "large.png", 3).read_bytes(),
    }
    (generate / "p.txt").write_text("a --seed 1\n")
    (generate / "typo.txt").write_text("a --stesp 4\n")
    return {**kept, "prompt": b"a --seed 1\n", "typo": b"a --stesp 4\n"}


def script(_: Kind, item: Any) -> float:
    return 3.0 if "bad" in Path(str(item.source)).name else 7.5


def survivors(layout: Layout) -> list[bytes]:
    return [
        path.read_bytes()
        for path in layout.root.rglob("*")
        if path.is_file() and ".hotfolder" not in path.parts and path.suffix in (".png", ".txt")
    ]


def steps_of_a_whole_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from tests.support.roots import new_root

    layout, fuse = new_root(place / "dry"), Fuse(None)
    prepare(layout)
    with fused(monkeypatch, fuse):
        work(layout, ScriptedExecutor(script))
    return fuse.steps


def test_a_power_cut_at_any_step(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.roots import new_root

    steps = steps_of_a_whole_run(place, monkeypatch)
    assert len(steps) > 100
    assert {name.split()[1] for name in steps} >= {"rename", "fsync", "write", "record", "apply"}
    expected: list[str] | None = None
    for at in range(len(steps)):
        layout = new_root(place / str(at))
        dropped = prepare(layout)
        with fused(monkeypatch, Fuse(at)), pytest.raises(PowerCut):
            work(layout, ScriptedExecutor(script))
        found = survivors(layout)
        for name, data in dropped.items():
            assert found.count(data) == 1, f"{name} after a cut at step {at}, {steps[at]}"
        work(layout, ScriptedExecutor(script))
        found = survivors(layout)
        for name, data in dropped.items():
            assert found.count(data) == 1, f"{name} after the restart, cut at step {at}, {steps[at]}"
        check_consistent(layout)
        outcome = files_in(layout, "inbox", "keep", "reject", "upscaled", "failed", "archive")
        expected = expected or outcome
        assert outcome == expected, f"cut at step {at}, {steps[at]}"
        assert rows(layout, "SELECT count(*) FROM queue WHERE state = 'failed'") == [(1,)]


def test_the_fuse_does_not_change_the_outcome(layout: Layout) -> None:
    prepare(layout)
    daemon(layout, ScriptedExecutor(always(7.5))).run(once=True)
    assert len(files_in(layout, "keep", "upscaled")) == 7
