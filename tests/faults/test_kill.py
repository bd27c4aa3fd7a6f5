"""SIGKILL at random moments, again and again: a restart finishes everything, once."""

from __future__ import annotations

import random
import time
from pathlib import Path

from hotfolder.demo.pictures import draw_landscape
from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.support.live import LiveDaemon
from tests.support.roots import check_consistent, files_in, rows

KILLS = 10


def test_ten_kills(layout: Layout, tmp_path: Path) -> None:
    contents = {}
    for number in range(24):
        kind = Kind.UPSCALE if number % 4 == 0 else Kind.SCORE
        path = layout.inbox(kind) / f"{number}.png"
        draw_landscape(number, (160, 120)).save(path)
        contents[path.name] = path.read_bytes()
    rng = random.Random(1)
    for _ in range(KILLS):
        with LiveDaemon(layout) as daemon:
            daemon.watching()
            time.sleep(rng.uniform(0.0, 5.0))
            daemon.kill()
    with LiveDaemon(layout, "--once") as daemon:
        assert daemon.process.wait(180) == 0, daemon.text()
    check_consistent(layout)
    assert files_in(layout, "inbox", "failed") == []
    originals = {
        path.name: path.read_bytes()
        for folder in ("keep", "reject", "archive")
        for path in (layout.root / folder).iterdir()
    }
    assert originals == contents
    twice = (
        "SELECT source_file, kind FROM queue WHERE state = 'done' GROUP BY source_file, kind HAVING count(*) > 2"
    )
    assert rows(layout, twice) == []  # an image to enlarge has two scores: its own and the enlarged one's
    dropped = len([name for name in contents if int(name.removesuffix(".png")) % 4 == 0])
    kept = rows(layout, "SELECT count(*) FROM results WHERE role = 'upscaled'")[0][0]
    best = rows(layout, "SELECT count(*) FROM results WHERE role = 'dropped' AND verdict = 'keep' AND score >= 7")
    assert kept == dropped + best[0][0]
