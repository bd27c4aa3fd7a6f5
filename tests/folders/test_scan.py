"""Reading the inboxes."""

from __future__ import annotations

import os
from pathlib import Path

from hotfolder.files.identity import identity_of
from hotfolder.folders.scan import scan, sight


def test_one_look_and_a_scan_see_the_same(tmp_path: Path) -> None:
    for name, mtime_ns in (("future", 2**63 + 10**9), ("past", -(10**9)), ("now", 10**18)):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(0, mtime_ns))
    found = {sighting.path: sighting for sighting in scan(tmp_path, tmp_path, (), [])}
    assert set(found) == {"future", "past", "now"}
    for path, sighting in found.items():
        assert sighting == sight(tmp_path, path)
        identity = identity_of(tmp_path / path)
        assert identity is not None
        assert (identity.inode, identity.size, identity.mtime_ns) == (
            sighting.inode,
            sighting.size,
            sighting.mtime_ns,
        )
        assert -(2**63) <= sighting.mtime_ns < 2**63
