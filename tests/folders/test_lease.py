"""Asking for writers hurts nobody, whenever it is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hotfolder.core.settle import Writers
from hotfolder.files.beneath import Beneath
from hotfolder.folders.lease import writers
from tests.support.live import REPOSITORY

#: Opens a file for writing, again and again; says when it has begun.
_OPENS = """
import os, sys
print(flush=True)
while True:
    os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND))
"""
_ASKS = """
import pathlib, sys, time
from hotfolder.files.beneath import Beneath
from hotfolder.folders.lease import writers
beneath = Beneath(pathlib.Path(sys.argv[1]).parent)
began = time.monotonic()
found = set()
while time.monotonic() - began < (3 if len(found) > 1 else 60):
    for _ in range(1000):
        found.add(writers(beneath, pathlib.Path(sys.argv[1]).name))
print(*sorted(found))
"""


def test_a_file_is_quiet_or_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    beneath = Beneath(tmp_path)
    assert writers(beneath, "a") is Writers.NONE
    with (tmp_path / "a").open("a"):
        assert writers(beneath, "a") is Writers.SOME
    with pytest.raises(FileNotFoundError):
        writers(beneath, "b")


@pytest.mark.slow
def test_a_program_that_opens_the_file_in_that_instant_does_not_end_the_daemon(tmp_path: Path) -> None:
    """The kernel then sends a signal to whoever holds the lease: left as it is, that one ends the process."""
    path = tmp_path / "a"
    path.write_text("a")
    begun = []
    try:
        for _ in range(2):
            opens = subprocess.Popen([sys.executable, "-c", _OPENS, str(path)], stdout=subprocess.PIPE)
            begun.append(opens)
            assert opens.stdout is not None
            opens.stdout.readline()
        asks = subprocess.run(
            [sys.executable, "-c", _ASKS, str(path)], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
    finally:
        for opens in begun:
            opens.kill()
            opens.wait()
            if opens.stdout is not None:
                opens.stdout.close()
    assert (asks.returncode, asks.stderr) == (0, "")
    assert asks.stdout.split() == ["none", "some"]
