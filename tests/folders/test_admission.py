"""A file of several names may be anybody's."""

from __future__ import annotations

import logging
import os

import pytest

from hotfolder.cli.why import explain
from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.support.roots import daemon, files_in, picture
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
