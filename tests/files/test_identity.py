"""What a file system says of a file fits into the ledger."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hotfolder.files.identity import IN_64_BITS, facts_of


def _stat(**changed: int) -> os.stat_result:
    """What lstat(2) gives, with other numbers than this machine's file system would."""
    found = {"st_size": 5, "st_mtime_ns": 0, "st_ino": 1, "st_dev": 1, **changed}
    return cast(os.stat_result, SimpleNamespace(**found))


@pytest.mark.parametrize("mtime_ns", [2**63, 2**64, 2**90, -(2**63) - 1, -(2**90)])
def test_a_time_beyond_64_bits_is_the_last_that_fits(mtime_ns: int) -> None:
    assert facts_of(_stat(st_mtime_ns=mtime_ns)).mtime_ns == (2**63 - 1 if mtime_ns > 0 else -(2**63))


def test_times_that_fit_stay() -> None:
    assert [facts_of(_stat(st_mtime_ns=time)).mtime_ns for time in (-1, 0, 2**63 - 1)] == [-1, 0, 2**63 - 1]


def test_inodes_beyond_64_bits_with_a_sign_stay_apart() -> None:
    """NFS and FUSE give out all 64 bits."""
    inodes = [facts_of(_stat(st_ino=inode)).inode for inode in (1, 2**63 - 1, 2**63, 2**64 - 1)]
    assert len(set(inodes)) == 4
    assert all(inode in IN_64_BITS for inode in inodes)


def test_a_file_of_the_future_has_an_identity(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("a")
    os.utime(path, ns=(0, 2**63 + 10**9))
    assert facts_of(path.stat()).mtime_ns in IN_64_BITS
