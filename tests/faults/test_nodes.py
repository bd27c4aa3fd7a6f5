"""A node and the head of a cluster that fail while there is work; `python -m tests.faults.nodes` does more."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.clusters import skip_without_ray
from tests.support.live import REPOSITORY
from tests.support.machines import inside, why_not


@pytest.mark.slow
def test_what_a_node_and_the_head_had_is_done_once(tmp_path: Path) -> None:
    skip_without_ray()
    if reason := why_not():
        pytest.skip(reason)
    arguments = [
        "--jobs",
        "8",
        "--faults",
        "node,head",
        "--no-shared-root",
        "--soon",
        "--keep",
        str(tmp_path),
        "--inside",
    ]
    done = subprocess.run(
        inside("-m", "tests.faults.nodes", *arguments),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert "0 lost, 0 twice" in done.stdout
