"""A long prompt file keeps neither a lone photo nor its own first results waiting."""

from __future__ import annotations

import time

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.types import Item, Kind
from tests.faults.disks import working
from tests.support.live import wait_for
from tests.support.roots import daemon, picture, rows
from tests.support.scripted import ScriptedExecutor


@pytest.mark.slow
def test_five_hundred_prompts_and_one_photo(layout: Layout) -> None:
    def work(kind: Kind, item: Item) -> float:
        time.sleep(0.05 if kind is Kind.GENERATE else 0.005)
        return 6.6

    (layout.inbox(Kind.GENERATE) / "many.txt").write_text("\n".join(f"a cat --seed {n}" for n in range(500)))
    with working(daemon(layout, ScriptedExecutor(work))):
        wait_for(lambda: len(list((layout.root / "keep").iterdir())) > 0, 10, "a first image is kept")
        picture(layout.inbox(Kind.SCORE) / "photo.png", 1)
        took = wait_for((layout.root / "keep/photo.png").exists, 10, "the photo passes the prompts")
        (left,) = rows(layout, "SELECT count(*) FROM jobs WHERE kind = 'generate' AND state = 'queued'")[0]
    assert took < 10
    assert left > 100, "the prompts were done first"
