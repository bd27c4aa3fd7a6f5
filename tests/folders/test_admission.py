"""A file of several names may be anybody's."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from hotfolder.cli.doctor.folders import left_alone
from hotfolder.cli.run import run_daemon
from hotfolder.cli.why import explain
from hotfolder.errors import ExitCode
from hotfolder.folders import scan
from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.support.roots import daemon, files_in, picture, settings
from tests.support.scripted import ScriptedExecutor, always


@pytest.mark.parametrize("kind", [Kind.SCORE, Kind.UPSCALE, Kind.GENERATE])
def test_a_hard_link_from_a_folder_of_others_is_left_alone(
    layout: Layout, caplog: pytest.LogCaptureFixture, kind: Kind
) -> None:
    private = picture(layout.root.parent / "private.png", 1)
    if kind is Kind.GENERATE:
        private = layout.root.parent / "private.txt"
        private.write_text("a cat --seed 1\n")
    folder = layout.inbox(kind) / "theirs"
    folder.mkdir()
    folder.chmod(0o777)
    os.link(private, folder / private.name)
    with caplog.at_level(logging.WARNING):
        report = daemon(layout, ScriptedExecutor(always(7.0))).run(once=True)
    path = f"inbox/{kind}/theirs/{private.name}"
    assert (report.done, report.failed) == (0, 0)
    assert files_in(layout, "inbox", "keep", "reject", "upscaled") == [path]
    assert "several names" in caplog.text
    assert "several names" in explain(layout, folder / private.name)["reason"]


def test_a_hard_link_of_ones_own_is_taken(layout: Layout) -> None:
    own = picture(layout.root.parent / "own.png", 1)
    folder = layout.inbox(Kind.SCORE)
    folder.chmod(0o755)
    os.link(own, folder / "own.png")
    assert daemon(layout, ScriptedExecutor(always(7.0))).run(once=True).done > 0
    assert files_in(layout, "inbox", "keep") == ["keep/own.png"]


@pytest.mark.parametrize("what", ["a folder that may not be read", "a folder that may not be written"])
def test_what_a_person_has_to_mend_is_said_everywhere(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    picture(layout.inbox(Kind.SCORE) / "closed/a.png", 1)
    picture(layout.inbox(Kind.SCORE) / "b.png", 2)
    closed = str(layout.inbox(Kind.SCORE) / "closed")
    real_open, real_access = scan.open_folder, os.access

    def open_folder(root: Path, folder: str) -> int:
        if folder.endswith("/closed"):
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return real_open(root, folder)

    if what.endswith("read"):
        monkeypatch.setattr(scan, "open_folder", open_folder)
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: str(path) != closed and real_access(path, mode))
    with caplog.at_level(logging.WARNING):
        report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.done, report.to_mend) == (1, 1)
    assert "inbox/score/closed" in caplog.text
    checks = list(left_alone(layout, settings(layout)))
    assert [check.name for check in checks] == ["inbox"]
    assert "inbox/score/closed" in checks[0].message
    monkeypatch.setenv("HOTFOLDER_EXECUTOR__KIND", "inline")
    assert run_daemon(layout.root, once=True) is ExitCode.PARTLY_FAILED
