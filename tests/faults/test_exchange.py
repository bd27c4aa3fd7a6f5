"""The exchange of folders and links, for a short time; `python -m tests.faults.exchange` does it for longer."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.faults.exchange import exchange
from tests.support.roots import new_root


@pytest.mark.slow
def test_what_a_link_leads_to_is_neither_read_nor_moved() -> None:
    # Not in pytest's own folder: another run of it would close that to the other user.
    with tempfile.TemporaryDirectory() as folder:
        exchange(new_root(Path(folder)), 5)
