"""SIGKILL at random moments, again and again: a restart finishes everything, once."""

from __future__ import annotations

import pytest

from hotfolder.folders.layout import Layout
from tests.faults import kills

pytestmark = pytest.mark.slow


def test_kills_under_load(layout: Layout) -> None:
    kills.of_a_daemon_without_models(layout, kills=12, files=150, seed=1)


def test_kills_of_daemon_and_worker_with_real_models(layout: Layout) -> None:
    kills.of_everything(layout, kills=4, files=12, seed=2, longest=4.0)
