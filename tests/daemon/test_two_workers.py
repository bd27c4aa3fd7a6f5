"""Two real workers on the CPU through the whole line; one of them is killed in the middle."""

from __future__ import annotations

import os
import signal

import pytest

from hotfolder.executors.local import LocalExecutor
from hotfolder.executors.local_devices import local_devices
from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.faults.disks import working
from tests.support.live import wait_for
from tests.support.roots import check_consistent, daemon, picture, rows, settings

pytestmark = pytest.mark.slow
MORE = {"EXECUTOR__DEVICES": '["cpu", "cpu"]', "GATE__UPSCALE": '"never"', "GATE__REGENERATE_BELOW": "1"}


def test_all_of_it_is_done_once_though_a_worker_is_killed(layout: Layout) -> None:
    for number in range(40):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number, (64, 48))
    lines = "\n".join(f"a large red circle on a white background --seed {n}" for n in range(12))
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text(lines)
    runner = settings(layout, **MORE).runner(layout.database)
    executor = LocalExecutor(runner, 60, local_devices(("cpu", "cpu"), "auto", cards=0, cores=2))

    def both_at_work() -> bool:
        return all(pid is not None for pid in (device.pid for device in executor.devices()))

    def done() -> int:
        if not layout.database.exists() or not layout.database.stat().st_size:
            return 0
        (count,) = rows(layout, "SELECT count(*) FROM jobs WHERE state = 'done'")[0]
        return int(count)

    with working(daemon(layout, executor, **MORE)):
        wait_for(both_at_work, 60, "both have begun")
        wait_for(lambda: done() >= 4, 120, "something is done")
        pid = executor.devices()[1].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: done() == 40 + 12 + 12, 180, "all is done")
    assert rows(layout, "SELECT state, count(*) FROM jobs GROUP BY state") == [("done", 64)]
    check_consistent(layout)
