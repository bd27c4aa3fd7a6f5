"""Errors and kills at chosen system calls, a few of them; `python -m tests.faults.syscalls` does more."""

from __future__ import annotations

import pytest

from hotfolder.folders.layout import Layout
from tests.faults.syscalls import errors, kills, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=str(why_not()))]


def test_failing_system_calls_end_nothing_and_lose_nothing(layout: Layout) -> None:
    errors(layout, 25, 5)


def test_kills_at_system_calls_lose_nothing(layout: Layout) -> None:
    kills(layout, 4, 5)
