"""Power cuts, a few of them; `python -m tests.faults.powercut` does more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.powercut import cuts, why_not


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=str(why_not()))
@pytest.mark.parametrize("synced", [True, False])
def test_nothing_that_has_a_score_is_empty_after_a_cut(tmp_path: Path, synced: bool) -> None:
    cuts(tmp_path, 2, 7, synced=synced)
