"""Results that a person moves, renames, takes away or brings back, while a daemon runs or while none does."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotfolder.cli.show import run_show
from hotfolder.cli.top import show_top
from hotfolder.cli.verdicts import run_undo
from hotfolder.cli.why import explain
from hotfolder.daemon import results as results_module
from hotfolder.daemon.results import Results
from hotfolder.errors import DeviceTrouble, HotfolderError
from hotfolder.files import identity
from hotfolder.files.beneath import Beneath
from hotfolder.folders import scan as scan_module
from hotfolder.folders.layout import Layout
from hotfolder.ledger.whereabouts import Whereabouts
from hotfolder.status import mailbox
from hotfolder.types import Item, Kind, Sighting
from tests.support.roots import check_consistent, daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor, always


def judged(layout: Layout, *names: str, score: float = 6.6) -> Layout:
    """A root in which these files, each another picture, were kept."""
    for number, name in enumerate(names):
        picture(layout.inbox(Kind.SCORE) / name, number, (16 + number, 12))
    look(layout, ScriptedExecutor(always(score)))
    assert files_in(layout, "keep") == sorted(f"keep/{name}" for name in names)
    return layout


def look(layout: Layout, executor: ScriptedExecutor | None = None) -> None:
    """One run, which finds what was done meanwhile; without the threads of a watch, which would take its time."""
    daemon(layout, executor or ScriptedExecutor(always(9.9)), WATCH__MODE="polling").run(once=True)


def move(layout: Layout, before: str, now: str) -> None:
    (layout.root / now).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(layout.root / before, layout.root / now)


def results(layout: Layout) -> list[tuple[str, ...]]:
    return rows(layout, "SELECT path, verdict FROM results ORDER BY width")


def history(layout: Layout) -> list[tuple[str, ...]]:
    return rows(
        layout,
        "SELECT v.verdict, by, how, v.score, gate_keep FROM verdicts AS v JOIN results USING (image_id) "
        "ORDER BY width, v.created_at",
    )


GATE = ("keep", "gate", None, 6.6, 6.5)


def test_a_move_to_another_folder_is_a_verdict(layout: Layout) -> None:
    judged(layout, "a.png", "sub/b.png", "c.png")
    move(layout, "keep/a.png", "reject/a.png")
    move(layout, "keep/sub/b.png", "keep/best/of all/b2.png")
    look(layout)
    assert results(layout) == [
        ("reject/a.png", "reject"),
        ("keep/best/of all/b2.png", "keep"),
        ("keep/c.png", "keep"),
    ]
    assert history(layout) == [GATE, ("reject", "person", "moved", 6.6, 6.5), GATE, GATE]
    move(layout, "reject/a.png", "keep/a.png")
    look(layout)
    assert history(layout)[:3] == [
        GATE,
        ("reject", "person", "moved", 6.6, 6.5),
        ("keep", "person", "moved", 6.6, 6.5),
    ]
    check_consistent(layout)


def test_what_is_deleted_is_gone_and_what_is_brought_back_is_there_again(layout: Layout, tmp_path: Path) -> None:
    judged(layout, "a.png", "b.png")
    move(layout, "keep/a.png", str(tmp_path / "elsewhere.png"))
    (layout.root / "keep/b.png").rename(layout.root / "keep/.trash-b")
    data = (layout.root / "keep/.trash-b").read_bytes()
    (layout.root / "keep/.trash-b").unlink()
    look(layout)
    assert results(layout) == [(None, "keep"), (None, "keep")]
    assert "is gone" in explain(layout, layout.root / "keep/b.png")["reason"]
    move(layout, str(tmp_path / "elsewhere.png"), "reject/back.png")
    (layout.root / "keep/b.png").write_bytes(data)  # another file, of the same content
    look(layout)
    assert results(layout) == [("reject/back.png", "reject"), ("keep/b.png", "keep")]
    assert len(history(layout)) == 3
    check_consistent(layout)


def test_a_copy_is_a_copy_and_an_edited_file_a_new_version(layout: Layout) -> None:
    judged(layout, "a.png", "b.png")
    shutil.copy2(layout.root / "keep/a.png", layout.root / "reject/a.png")
    picture(layout.root / "keep/b.png", 99)
    picture(layout.root / "keep/theirs.png", 98)
    (layout.root / "keep/link.png").symlink_to(layout.root / "keep/a.png")
    look(layout)
    assert results(layout) == [("keep/a.png", "keep"), (None, "keep")]
    assert len(history(layout)) == 2
    told = {
        name: explain(layout, layout.root / name) for name in ("reject/a.png", "keep/b.png", "keep/theirs.png")
    }
    assert "a copy: the result itself is keep/a.png" in told["reject/a.png"]["reason"]
    assert "new version" in told["keep/b.png"]["reason"]
    assert "left alone" in told["keep/theirs.png"]["reason"]
    assert all("inbox/score" in each["fix"] for name, each in told.items() if name != "reject/a.png")
    assert "link" in explain(layout, layout.root / "keep/link.png")["reason"]
    assert files_in(layout, "keep", "reject") == [
        "keep/a.png", "keep/b.png", "keep/link.png", "keep/theirs.png", "reject/a.png",
    ]  # fmt: skip


def test_of_two_copies_the_one_that_is_called_alike_is_the_result(layout: Layout) -> None:
    judged(layout, "a.png")
    for name in ("keep/0.png", "reject/a.png"):
        shutil.copyfile(layout.root / "keep/a.png", layout.root / name)
    (layout.root / "keep/a.png").unlink()
    look(layout)
    assert results(layout) == [("reject/a.png", "reject")]
    (layout.root / "reject/a.png").unlink()
    look(layout)
    assert results(layout) == [("keep/0.png", "keep")]


def test_names_that_were_exchanged_and_one_that_was_overwritten(layout: Layout) -> None:
    judged(layout, "a.png", "b.png", "c.png", "d.png")
    move(layout, "keep/a.png", "keep/x.png")
    move(layout, "keep/b.png", "keep/a.png")
    move(layout, "keep/x.png", "keep/b.png")
    move(layout, "keep/c.png", "keep/d.png")
    look(layout)
    assert [path for path, _ in results(layout)] == ["keep/b.png", "keep/a.png", "keep/d.png", None]


def test_nothing_is_read_that_lies_where_it_should(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(layout, *(f"{number}.png" for number in range(5)))
    picture(layout.root / "keep/theirs.png", 98)
    read: list[str] = []
    real = Results._digest

    def noted(self: Results, beneath: Beneath, there: Sighting) -> str | None:
        read.append(there.path)
        return real(self, beneath, there)

    monkeypatch.setattr(Results, "_digest", noted)
    move(layout, "keep/0.png", "reject/zero.png")  # known by its inode
    look(layout)
    assert read == []
    os.utime(layout.root / "keep/1.png")  # as it is said to be another one, it is looked at
    look(layout)
    assert read == ["keep/1.png"]
    assert len([path for path, _ in results(layout) if path]) == 5


def test_where_inodes_do_not_hold_it_is_the_content(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "has_lasting_inodes", lambda device: False)
    judged(layout, "a.png", "b.png")
    move(layout, "keep/a.png", "reject/other.png")
    look(layout)
    assert results(layout) == [("reject/other.png", "reject"), ("keep/b.png", "keep")]
    assert rows(layout, "SELECT DISTINCT inode FROM images") == [(0,)]


def test_what_is_moved_while_the_folders_are_listed_is_not_taken_for_gone(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(layout, "a.png", "z/b.png")
    real, moved = results_module.scan, []

    def moving(root: Path, folder: str, *rest: object) -> Iterator[Sighting]:
        if folder == "reject" and not moved:  # keep/ was listed: a file comes into it from where it was not yet
            moved.append(True)
            move(layout, "reject/b.png", "keep/late.png")
        yield from real(root, folder, *rest)

    move(layout, "keep/z/b.png", "reject/b.png")
    look(layout)
    monkeypatch.setattr(results_module, "scan", moving)
    gone: list[list[int]] = []
    monkeypatch.setattr(Whereabouts, "lost", lambda _self, ids, _now: gone.append(list(ids)))
    look(layout)
    assert gone == []
    assert results(layout) == [("keep/a.png", "keep"), ("keep/late.png", "keep")]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("keep/a.png", "keep/other.png"), ("keep/a.png", "keep/best/a.png"), ("keep/a.png", "reject/a.png"),
        ("keep/a.png", "archive/a.png"),
    ],
)  # fmt: skip
def test_every_question_knows_the_new_place(
    layout: Layout, capsys: pytest.CaptureFixture[str], before: str, now: str
) -> None:
    judged(layout, "a.png", "b.png")
    move(layout, before, now)
    look(layout)
    show_top(layout.root, 10, "score", None, None, as_json=True)
    assert {row["path"] for row in json.loads(capsys.readouterr().out)["top"]} == {now, "keep/b.png"}
    run_show(layout.root, layout.root / now, as_json=True)
    assert json.loads(capsys.readouterr().out)["path"] == now
    assert now in explain(layout, layout.inbox(Kind.SCORE) / "a.png")["reason"]
    mailbox.ask(layout, {"do": "reroute", "keep": 9.0})
    look(layout)  # what is kept is sorted anew, where it is; what a person said stays
    sorted_anew = {"keep/other.png": "reject/other.png", "keep/best/a.png": "reject/best/a.png"}
    assert results(layout)[0] == (
        sorted_anew.get(now, now), "reject" if now != "archive/a.png" else "keep",
    )  # fmt: skip
    run_undo(layout.root, 1, dry_run=False, as_json=True)
    assert results(layout)[0][0] == now


def test_sidecars_go_along(layout: Layout) -> None:
    judged(layout, "a.png", "b.png", "c.png")
    of_a = ("a.png.xmp", "a.png.pp3", "a.PNG.dop", "a.png.out.pp3")
    of_b = (
        "b.xmp",
        "b.on1",
        "b.vrd",
        "b.txt",
        "b.mov",
        "b.CR2",
        "b_01.png.xmp",
        "b.png.supplemental-metadata.json",
    )
    for name in (*of_a, *of_b, "c.xmp", "c.pp3", "b2.xmp", "notes.txt", "bb.on1"):
        (layout.root / "keep" / name).write_text(f"<{name}/>")
    picture(layout.root / "keep/c.jpg", 98)  # the same c.xmp may be of this one
    move(layout, "keep/a.png", "reject/sub/a2.png")
    move(layout, "keep/b.png", "keep/best/b.png")
    move(layout, "keep/c.png", "reject/c.png")
    move(layout, "keep/b.vrd", "keep/best/b.vrd")  # some programs take theirs along themselves
    look(layout)
    look(layout)
    assert files_in(layout, "keep", "reject") == sorted([
        *(f"keep/best/{name}" for name in ("b.png", *of_b)),
        *(f"reject/sub/{name}" for name in ("a2.png", "a2.png.xmp", "a2.png.pp3", "a2.png.dop", "a2.png.out.pp3")),
        "reject/c.png", "keep/c.jpg", "keep/c.xmp", "keep/c.pp3", "keep/b2.xmp", "keep/notes.txt", "keep/bb.on1",
    ])  # fmt: skip
    assert (layout.root / "keep/best/b.CR2").read_text() == "<b.CR2/>"
    for name in of_b:
        assert (layout.root / "keep/best" / name).read_text() == f"<{name}/>"


def test_what_was_rejected_is_not_enlarged_any_more(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")
    picture(layout.inbox(Kind.SCORE) / "b.png", 1)

    def script(kind: Kind, item: Item) -> float | HotfolderError:
        return 7.5 if kind is Kind.SCORE else DeviceTrouble("the device is gone")

    look(layout, ScriptedExecutor(script))
    assert rows(layout, "SELECT count(*) FROM queue WHERE kind = 'upscale' AND state = 'queued'") == [(2,)]
    move(layout, "keep/a.png", "reject/a.png")
    move(layout, "keep/b.png", "keep/best/b.png")
    look(layout, ScriptedExecutor(always(8.0)))
    assert files_in(layout, "upscaled") == ["upscaled/b_4x.png"]
    check_consistent(layout)


def test_what_is_moved_while_it_is_in_work_is_worked_where_it_is(layout: Layout) -> None:
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        picture(layout.inbox(Kind.SCORE) / name, number)

    def script(kind: Kind, item: Item) -> float:
        if kind is Kind.UPSCALE:  # the last moment: the worker has not opened it yet
            path = Path(str(item.source))
            if path.name == "a.png" and path.parent == layout.root / "keep":
                move(layout, "keep/a.png", "keep/best/a.png")
            elif path.name == "b.png":
                path.unlink()
        return 7.5

    look(layout, ScriptedExecutor(script))
    assert files_in(layout, "keep", "upscaled", "failed") == [
        "keep/best/a.png", "keep/c.png", "upscaled/a_4x.png", "upscaled/c_4x.png",
    ]  # fmt: skip
    assert rows(layout, "SELECT state, count(*) FROM queue WHERE kind = 'upscale' GROUP BY state") == [
        ("cancelled", 1), ("done", 2),
    ]  # fmt: skip


def test_a_person_is_not_overruled_by_the_score_of_an_enlarged_image(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")

    def script(kind: Kind, item: Item) -> float:
        if "_4x" not in str(item.source):
            return 7.5
        if "upscaled" in str(item.source):
            move(layout, "upscaled/a_4x.png", "keep/a_4x.png")
        return 3.0  # worse: it would be called so, and rejected

    daemon(layout, ScriptedExecutor(script), WATCH__MODE="polling", UPSCALE__MIN_GAIN="0").run(once=True)
    assert rows(layout, "SELECT path, verdict, score FROM results WHERE role = 'upscaled'") == [
        ("keep/a_4x.png", "keep", 3.0)
    ]


def test_verdicts_survive_a_damaged_database(layout: Layout) -> None:
    judged(layout, "a.png", "b.png")
    move(layout, "keep/a.png", "reject/a.png")
    look(layout)
    connection = sqlite3.connect(layout.database)
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'").fetchone()
    connection.close()
    with layout.database.open("r+b") as file:
        file.seek((root - 1) * page_size)
        file.write(bytes([7]) * page_size)
    look(layout)
    assert list(layout.root.glob("hotfolder.damaged-*.db"))
    assert rows(layout, "SELECT path, verdict, by, how FROM verdicts ORDER BY path") == [
        ("keep/b.png", "keep", "gate", None), ("reject/a.png", "reject", "person", "moved"),
    ]  # fmt: skip


def test_a_failed_file_that_was_moved_can_be_retried(layout: Layout) -> None:
    (layout.inbox(Kind.SCORE) / "bad.png").write_bytes(b"no picture")
    look(layout)
    move(layout, "failed/bad.png", "failed/later/renamed.png")
    look(layout)
    assert files_in(layout, "failed") == ["failed/later/renamed.png", "failed/later/renamed.png.error.json"]
    mailbox.ask(layout, {"do": "retry", "jobs": [1]})
    look(layout)
    assert files_in(layout, "failed", "inbox") == ["failed/bad.png", "failed/bad.png.error.json"]


def test_the_database_of_the_version_before_learns_which_file_is_which(layout: Layout) -> None:
    judged(layout, "a.png", "b.png")
    connection = sqlite3.connect(layout.database)
    with connection:
        connection.execute("UPDATE images SET inode = NULL, size = NULL, mtime_ns = NULL")
    connection.close()
    move(layout, "keep/b.png", "reject/b.png")  # before it knows
    look(layout)
    assert results(layout) == [("keep/a.png", "keep"), ("reject/b.png", "reject")]
    assert rows(layout, "SELECT count(*) FROM images WHERE inode > 0 AND size > 0") == [(2,)]


def test_a_folder_that_cannot_be_read_loses_nothing(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(layout, "a.png", "sub/b.png")
    real = scan_module.open_folder

    def refuses(root: Path, folder: str) -> int:
        if folder == "keep/sub":
            raise OSError(errno.EIO, os.strerror(errno.EIO), folder)
        return real(root, folder)

    with monkeypatch.context() as patch:
        patch.setattr(scan_module, "open_folder", refuses)
        look(layout)
    assert results(layout) == [("keep/a.png", "keep"), ("keep/sub/b.png", "keep")]


def test_a_folder_that_became_a_link_is_not_followed(layout: Layout, tmp_path: Path) -> None:
    judged(layout, "sub/a.png")
    elsewhere = (layout.root / "keep/sub").rename(tmp_path / "elsewhere")
    (layout.root / "keep/sub").symlink_to(elsewhere)
    look(layout)
    assert results(layout) == [(None, "keep")]
    assert (elsewhere / "a.png").exists()
    (layout.root / "keep/sub").unlink()
    elsewhere.rename(layout.root / "keep/sub")
    look(layout)
    assert results(layout) == [("keep/sub/a.png", "keep")]
