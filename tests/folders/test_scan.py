"""Reading the inboxes."""

from __future__ import annotations

import os
from pathlib import Path

from hotfolder.files.beneath import Beneath
from hotfolder.folders.scan import scan, sight


def test_one_look_and_a_scan_see_the_same(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    for name, mtime_ns in (("future", 2**63 + 10**9), ("past", -(10**9)), ("now", 10**18)):
        (tmp_path / "keep" / name).write_text(name)
        os.utime(tmp_path / "keep" / name, ns=(0, mtime_ns))
    found = {sighting.path: sighting for sighting in scan(tmp_path, "keep", (), [])}
    assert set(found) == {"keep/future", "keep/past", "keep/now"}
    with Beneath(tmp_path) as beneath:
        for path, sighting in found.items():
            assert sighting == sight(tmp_path, path)
            identity = beneath.identity(path)
            assert identity is not None
            assert (identity.inode, identity.size, identity.mtime_ns) == (
                sighting.inode, sighting.size, sighting.mtime_ns,
            )  # fmt: skip
            assert -(2**63) <= sighting.mtime_ns < 2**63
