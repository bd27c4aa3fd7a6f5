"""The exchange of folders and links, for a short time; `python -m tests.faults.exchange` does it for longer."""

from __future__ import annotations

import pytest

from hotfolder.folders.layout import Layout
from tests.faults.exchange import exchange


@pytest.mark.slow
def test_what_a_link_leads_to_is_neither_read_nor_moved(layout: Layout) -> None:
    exchange(layout, 8)
