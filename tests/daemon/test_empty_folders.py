"""Sub-folders of inboxes whose files have left."""

from __future__ import annotations

from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.support.roots import daemon, picture
from tests.support.scripted import ScriptedExecutor, always


def tree(layout: Layout) -> list[str]:
    """What is left in the inboxes."""
    return sorted(
        path.relative_to(layout.root / "inbox").as_posix() for path in (layout.root / "inbox").glob("*/**/*")
    )


def dropped(layout: Layout) -> None:
    score, prompts = layout.inbox(Kind.SCORE), layout.inbox(Kind.GENERATE)
    picture(score / "2026/01/02/a.png", 1)
    (score / "2026/01/02/a.txt").write_text("a caption")
    picture(score / "2026/02/b.png", 2)
    (score / "2026/02/Thumbs.db").write_bytes(b"x")
    picture(score / "own/c.png", 3)
    (score / "own/hotfolder.toml").write_text("[gate]\nkeep = 5.0\nregenerate_below = 3.0\n")
    (score / "waiting").mkdir()
    (prompts / "ideas").mkdir()
    (prompts / "ideas/p.txt").write_text("a cat --seed 7")


def run(layout: Layout, **overrides: str) -> None:
    daemon(layout, ScriptedExecutor(always(8.0)), GATE__UPSCALE="9", **overrides).run(once=True)


def test_emptied_ones_go_where_that_is_wanted(layout: Layout) -> None:
    dropped(layout)
    run(layout, SETTLE__REMOVE_EMPTY_FOLDERS="true")
    assert tree(layout) == [
        "score/2026", "score/2026/02", "score/2026/02/Thumbs.db", "score/own", "score/own/hotfolder.toml",
        "score/waiting",
    ]  # fmt: skip
    assert (layout.root / "keep/2026/01/02/a.txt").is_file()


def test_they_stay_by_default(layout: Layout) -> None:
    dropped(layout)
    run(layout)
    assert {"score/2026/01/02", "score/own", "generate/ideas"} <= set(tree(layout))
