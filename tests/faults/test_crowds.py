"""Very many files at once."""

from __future__ import annotations

import pytest

from hotfolder.folders.layout import Layout
from tests.faults import crowds

pytestmark = pytest.mark.slow


def test_twenty_thousand_files_while_it_is_stopped(layout: Layout) -> None:
    crowds.while_it_is_stopped(layout, 20_000)


def test_many_files_at_the_start(layout: Layout) -> None:
    crowds.at_start(layout, 4_000)
