"""What lies in an inbox and is not taken: left where it is, with a reason."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from hotfolder.cli.doctor.folders import left_alone
from hotfolder.cli.status import left_alone_text
from hotfolder.cli.why import explain
from hotfolder.folders.layout import Layout
from hotfolder.status import live
from hotfolder.types import Kind
from tests.support.live import wait_for
from tests.support.roots import daemon, files_in, picture, settings
from tests.support.scripted import ScriptedExecutor, always


def run_once(layout: Layout, **overrides: str) -> list[live.Snapshot]:
    """What it showed of itself."""
    shown: list[live.Snapshot] = []
    made = daemon(layout, ScriptedExecutor(always(8.0)), **overrides)
    made._reporter._live._show = shown.append
    made.run(once=True)
    return shown


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_links_are_left_alone_and_counted_and_said_once(layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
    inbox = layout.inbox(Kind.SCORE)
    outside = picture(layout.root / "outside/a.png", 1)
    picture(inbox / "b.png", 2)
    (inbox / "a.png").symlink_to(outside)
    (inbox / "lost.png").symlink_to("nowhere")
    (inbox / "folder").symlink_to(outside.parent)
    os.mkfifo(inbox / "pipe.png")
    with caplog.at_level(logging.INFO):
        shown = run_once(layout)
    assert files_in(layout, "keep", "failed") == ["keep/b.png"]
    assert all((inbox / name).is_symlink() for name in ("a.png", "lost.png", "folder"))
    assert shown[-1].left_alone == {"links": 3, "no_files": 1}
    assert left_alone_text(shown[-1].left_alone).startswith("4 in the inboxes are not taken: 3 links, 1 pipe")
    said = [message for message in warnings(caplog) if "never followed" in message]
    assert said == [
        "3 files are left alone (inbox/score/a.png, inbox/score/folder, inbox/score/lost.png); "
        "of each: it is a link, and links are never followed"
    ]


def test_doctor_counts_links(layout: Layout) -> None:
    for name in ("a.png", "b.png"):
        (layout.inbox(Kind.SCORE) / name).symlink_to("nowhere")
    (found,) = left_alone(layout, settings(layout))
    assert (found.status, found.fix) == ("warn", "copy the file itself")
    assert found.message == "inbox/score/a.png, and 1 more: it is a link, and links are never followed"


def test_a_file_in_the_place_of_a_link_is_taken(layout: Layout, tmp_path: Path) -> None:
    link = layout.inbox(Kind.SCORE) / "a.png"
    link.symlink_to(picture(tmp_path / "a.png", 1))
    assert run_once(layout)[-1].left_alone == {"links": 1}
    link.unlink()
    picture(link, 1)
    assert run_once(layout)[-1].left_alone == {}
    assert files_in(layout, "keep") == ["keep/a.png"]


@pytest.mark.parametrize("kind", [Kind.SCORE, Kind.UPSCALE])
def test_what_is_no_picture_stays_with_a_reason(
    layout: Layout, caplog: pytest.LogCaptureFixture, kind: Kind
) -> None:
    inbox = layout.inbox(kind)
    files = {"notes.md": b"buy milk", "a.pdf": b"%PDF-1.7", "b.zip": b"PK\x03\x04", "noend": b"\x93NUMPY"}
    for name, data in files.items():
        (inbox / name).write_bytes(data)
    with caplog.at_level(logging.INFO):
        shown = run_once(layout)
    assert shown[-1].left_alone == {"no_pictures": 4}
    assert files_in(layout, "inbox", "failed") == sorted(f"inbox/{kind}/{name}" for name in files)
    assert len([told for told in warnings(caplog) if "left alone" in told]) == 4  # one reason each
    assert explain(layout, Path(f"inbox/{kind}/a.pdf"))["reason"] == "it is no picture but a PDF, by its content"
    assert explain(layout, Path(f"inbox/{kind}/noend"))["reason"] == "it is no picture, by its content"


def test_damaged_pictures_fail_and_others_are_known_whatever_they_are_called(layout: Layout) -> None:
    inbox = layout.inbox(Kind.SCORE)
    whole = picture(layout.root / "outside.png", 1).read_bytes()
    for name, data in {
        "text.jpg": b"no JPEG",
        "half": whole[:90],
        "whole": whole,
        "photo.dat": whole + b"x",
    }.items():
        (inbox / name).write_bytes(data)
    run_once(layout)
    assert files_in(layout, "keep", "failed", "inbox") == [
        "failed/half", "failed/half.error.json", "failed/text.jpg", "failed/text.jpg.error.json", "keep/photo.dat",
        "keep/whole",
    ]  # fmt: skip


def test_what_turns_into_a_picture_is_taken(layout: Layout) -> None:
    path = layout.inbox(Kind.SCORE) / "a"
    path.write_bytes(b"not yet")
    made = daemon(layout, ScriptedExecutor(always(8.0)))
    running = threading.Thread(target=made.run)
    running.start()
    try:
        wait_for(
            lambda: (now := live.read(layout.live_status)) is not None and now.left_alone == {"no_pictures": 1},
            10,
            "it is left alone",
        )
        path.write_bytes(picture(layout.root / "outside.png", 1).read_bytes())
        wait_for((layout.root / "keep/a").exists, 10, "it is taken")
    finally:
        made.stop()
        running.join()
