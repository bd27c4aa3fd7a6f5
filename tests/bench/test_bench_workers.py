"""What `bench workers` measures without models."""

from __future__ import annotations

import pytest

from hotfolder.bench import workers


@pytest.mark.slow
def test_unequal_devices_are_compared_with_the_ideal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTFOLDER_OUTPUT__MIN_FREE_MB", "1")
    found = workers._shared(40)
    assert found["jobs"] == sum(found["jobs_of_each"].values()) == 40
    assert found["jobs_of_each"]["c"] <= found["jobs_of_each"]["a"] / 2
    # Nobody is faster than the ideal; equal parts for all would take 2.3 times as long.
    assert 0.95 <= found["times_ideal"] < 1.5
