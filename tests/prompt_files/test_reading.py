"""Files that ask for images are read by the daemon itself: what that costs is bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.live import REPOSITORY


@pytest.mark.slow
def test_no_image_takes_the_memory_of_the_daemon(tmp_path: Path) -> None:
    """Holes of 12 GB, gigabytes packed into a megabyte, thousands of profiles: not 20 MB and 10 s for any of them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.bombs", str(tmp_path), "2000"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {}
    for line in done.stdout.splitlines():
        name, code, peak = line.split()
        found[name] = (int(code), int(peak))
    _, usual = found.pop("nothing")
    assert len(found) >= 30
    assert {name: is_ for name, is_ in found.items() if is_[0] not in (0, 1) or is_[1] > usual + 20} == {}
    assert [name for name, (code, _) in found.items() if code == 0] == ["said-by-a-large-one.png"]
