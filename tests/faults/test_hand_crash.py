"""A power cut at every single step of keep, undo and restore: nothing lost, and each is carried out once."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.status import mailbox
from hotfolder.types import Kind
from tests.faults.test_publish_crash import Fuse, PowerCut, fused, place
from tests.support.roots import check_consistent, daemon, files_in, new_root, picture, rows
from tests.support.scripted import ScriptedExecutor, always

pytestmark = pytest.mark.slow
__all__ = ["place"]  # the fixture
_FOLDERS = ("inbox", "keep", "reject", "upscaled", "failed", "archive")


def prepare(layout: Layout) -> None:
    """Two that were rejected, one of them with a sidecar, one that was kept and enlarged, and one that failed."""
    for number, name in enumerate(("bad.png", "worse.png", "good.png")):
        picture(layout.inbox(Kind.SCORE) / "trip" / name, number)
    (layout.inbox(Kind.SCORE) / "trip/bad.xmp").write_text("<mine/>")
    (layout.inbox(Kind.SCORE) / "broken.png").write_bytes(b"no picture")
    scores = {"good.png": 7.5}
    executor = ScriptedExecutor(lambda _, item: scores.get(Path(str(item.source)).name, 3.0))
    daemon(layout, executor, WATCH__MODE="polling").run(once=True)


#: Commands, one after the other; each is cut at every step, after those before it were carried out whole.
COMMANDS: list[dict[str, Any]] = [
    {"do": "verdict", "verdict": "keep", "images": [1, 2]},
    {"do": "undo", "last": 1},
    {"do": "restore", "drops": [1, 2, 3, 4]},
    {"do": "undo", "last": 1},
]


def obey(layout: Layout) -> None:
    daemon(layout, ScriptedExecutor(always(6.6))).obey()


def contents(layout: Layout) -> list[str]:
    return sorted(
        hashlib.sha256((layout.root / path).read_bytes()).hexdigest()
        for path in files_in(layout, *_FOLDERS, ".hotfolder/unscored")
        if not path.endswith(".error.json")
    )


def state(layout: Layout) -> tuple[Any, ...]:
    return (
        files_in(layout, *_FOLDERS),
        rows(layout, "SELECT path, verdict, verdict_by FROM images ORDER BY id"),
        rows(layout, "SELECT kind, undone_at IS NOT NULL FROM actions ORDER BY id"),
        rows(layout, "SELECT image_id, verdict, given_by, undone_at IS NOT NULL FROM verdict_history ORDER BY id"),
        rows(layout, "SELECT drop_id, path FROM action_steps ORDER BY id"),
        rows(layout, "SELECT path, state, placed_path, restored_at IS NOT NULL FROM drops ORDER BY id"),
        rows(layout, "SELECT count(*) FROM journal"),
    )


def copied(source: Layout, target: Path) -> Layout:
    """A root as it is, with the very files: hard links, so that they keep their inode numbers."""
    shutil.copytree(source.root, target, copy_function=_link, symlinks=True)
    return Layout(target)


def _link(source: str, target: str) -> None:
    path = Path(source)
    if path.name.startswith("hotfolder.db") or ".hotfolder" in path.parts:
        shutil.copy2(source, target)
    else:
        Path(target).hardlink_to(source)


@pytest.fixture
def root(place: Path) -> Iterator[Layout]:
    layout = new_root(place / "first")
    prepare(layout)
    yield layout


def test_a_power_cut_at_any_step(root: Layout, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(root)
    for number, command in enumerate(COMMANDS):
        mailbox.ask(root, command)
        dry = copied(root, place / f"{number}-dry")
        fuse = Fuse(None)
        with fused(monkeypatch, fuse):
            obey(dry)
        expected = state(dry)
        assert len(fuse.steps) > 8, command
        for at in range(len(fuse.steps)):
            layout = copied(root, place / f"{number}-{at}")
            with fused(monkeypatch, Fuse(at)), pytest.raises(PowerCut):
                obey(layout)
            cut = f"{command}, cut at step {at}, {fuse.steps[at]}"
            assert contents(layout) == before, cut
            obey(layout)
            assert contents(layout) == before, cut
            assert state(layout) == expected, cut
            assert list(layout.control.glob("*.json")) == [], cut
            shutil.rmtree(layout.root)
        obey(root)
        assert state(root) == expected
    executor = ScriptedExecutor(always(6.6))
    daemon(root, executor, WATCH__MODE="polling").run(once=True)
    assert executor.batches == []
    (root.root / "failed/broken.png").unlink()
    (root.root / "failed/broken.png.error.json").unlink()
    (root.root / "reject/trip/bad.xmp").unlink()
    check_consistent(root)
