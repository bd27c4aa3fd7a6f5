"""Results that a person moves about at random, a few of them; `python -m tests.faults.hand` does more."""

from __future__ import annotations

import pytest

from hotfolder.files import identity
from hotfolder.folders.layout import Layout
from tests.faults.hand import while_running, while_stopped


@pytest.mark.parametrize("lasting", [True, False], ids=["inodes", "no inodes"])
def test_while_no_daemon_runs(layout: Layout, lasting: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "has_lasting_inodes", lambda device: lasting)
    while_stopped(layout, 30, 3, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "lasting"), [(False, True), (True, True), (True, False)])
def test_while_a_daemon_publishes(
    layout: Layout, kills: bool, lasting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        identity, "has_lasting_inodes", lambda device: lasting
    )  # of the last look, in this process
    while_running(layout, 40, 2, 5, kills=kills, inodes=lasting)
