"""What the loop waits for: a device that comes free is given work at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pytest

from hotfolder.bench.asleep import Asleep
from hotfolder.daemon import dispatcher
from hotfolder.daemon.loop import Daemon
from hotfolder.executors.base import DeviceId, Done
from hotfolder.folders.layout import Layout
from hotfolder.types import Batch, Kind
from tests.support.roots import check_consistent, files_in, picture, settings
from tests.support.scripted import ScriptedExecutor, always

#: Polls in a row that do not wait: the loop may have something else to do, but not for ever.
_PATIENCE = 3
#: No events of the file system, and few scans: nothing else ends a wait.
_QUIET = {"WATCH__MODE": "polling", "WATCH__POLL_SECONDS": "60", "WATCH__RESCAN_SECONDS": "60"}


class Trailing(ScriptedExecutor):
    """As a worker does, it tells that a batch is over a moment after its last job: to who waits for it.

    Its clock goes on only while there is nothing in work.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__(always(6.8))
        self.layout = layout
        self.now = time.time()
        self.not_waited_for = 0  # batches after which the loop waited for something else
        self.published: list[int] = []  # files, when each batch was submitted
        self._over: list[Done] = []
        self._passed_by = 0

    def capacity(self) -> Mapping[DeviceId, int]:
        return {device: 0 if self._over else free for device, free in super().capacity().items()}

    def submit(self, batch: Batch, device: DeviceId) -> None:
        super().submit(batch, device)
        self.published.append(len(files_in(self.layout, "keep")))

    def poll(self, timeout: float) -> Sequence[Done]:
        if not self._over:
            told = super().poll(timeout)
            self._over = [done for done in told if done.finished is not None]
            self.now += 0 if told else 0.05
            return [done for done in told if done.finished is None]
        if timeout <= 0 and self._passed_by < _PATIENCE:
            self._passed_by += 1
            return []
        self.not_waited_for += timeout <= 0
        self._passed_by = 0
        told, self._over = self._over, []
        return told


def test_after_the_last_job_of_a_batch_its_end_is_waited_for(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And while that is waited for, nothing is published: the device would stand still."""
    monkeypatch.setattr(dispatcher, "LONG", 3600.0)  # also where the machine was busy, none of them was long
    for number in range(6):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    executor = Trailing(layout)
    wanted = settings(layout, SCORE__BATCH_SIZE="2", **_QUIET)
    report = Daemon(layout.root, wanted, executor, clock=lambda: executor.now).run(once=True)
    assert (report.done, report.failed) == (6, 0)
    assert [len(batch.items) for batch in executor.batches] == [2, 2, 2]
    assert executor.not_waited_for == 0
    assert executor.published == [0, 0, 0]
    check_consistent(layout)


def test_what_a_long_batch_has_made_is_published_before_the_next_is_chosen(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a first image is judged after one batch of drawing, not after two."""
    monkeypatch.setattr(dispatcher, "LONG", 0.0)
    for number in range(6):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    executor = Trailing(layout)
    wanted = settings(layout, SCORE__BATCH_SIZE="2", **_QUIET)
    Daemon(layout.root, wanted, executor, clock=lambda: executor.now).run(once=True)
    assert executor.published == [0, 2, 4]


class Standing(Asleep):
    """Two devices. Its clock stands still from when both are at work until one of them is given more.

    Until then, or for long, the picture is drawn.
    """

    def __init__(self) -> None:
        seconds = {Kind.GENERATE: 20.0, Kind.SCORE: 0.02, Kind.UPSCALE: 0.02}
        super().__init__(seconds, dict.fromkeys(Kind, 0.0), {"a": 1, "b": 1}, spread=(1.0, 1.0))
        self.begun: list[tuple[Kind, int]] = []  # of each batch: its kind, and how many others were in work
        self._stands_at: float | None = None

    def clock(self) -> float:
        return self._stands_at or time.time()

    def submit(self, batch: Batch, device: DeviceId) -> None:
        self.begun.append((batch.kind, sum(not free for free in self.capacity().values())))
        super().submit(batch, device)
        self._stands_at = time.time() if len(self.begun) == 2 else None
        if len(self.begun) == 3:
            for sleeper in self._sleepers.values():
                sleeper.due = min(sleeper.due, time.monotonic())

    def poll(self, timeout: float) -> Sequence[Done]:
        told = super().poll(timeout)
        if all(self.capacity().values()):
            self._stands_at = None
        return told


def test_a_device_without_work_is_given_what_follows_while_the_other_is_at_work(layout: Layout) -> None:
    """It does not wait for more that could be published together with that."""
    picture(layout.inbox(Kind.SCORE) / "a.png")
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat --seed 1")
    executor = Standing()
    wanted = settings(layout, GATE__REGENERATE_BELOW="1", GATE__KEEP="1", GATE__UPSCALE="1", **_QUIET)
    report = Daemon(layout.root, wanted, executor, clock=executor.clock).run(once=True)
    assert (report.done, report.failed) == (7, 0)
    assert executor.begun[2] == (Kind.UPSCALE, 1)


class Reloading(Asleep):
    """A slow device, and one that is free soon. Once both are at work, the settings are to be read anew.

    The slow one ends its first batch when it was waited for several times.
    """

    def __init__(self) -> None:
        seconds = {Kind.GENERATE: 0.1, Kind.SCORE: 0.01, Kind.UPSCALE: 0.01}
        super().__init__(seconds, dict.fromkeys(Kind, 0.0), {"slow": 10_000, "quick": 1}, spread=(1.0, 1.0))
        self.daemon: Daemon | None = None
        self.at_once = 0  # polls that did not wait, while only the slow one was at work on the first batch
        self._polls = 0
        self._begun = 0

    def submit(self, batch: Batch, device: DeviceId) -> None:
        super().submit(batch, device)
        self._begun += 1
        if self._begun == 2:
            assert self.daemon is not None
            self.daemon.reload()

    def poll(self, timeout: float) -> Sequence[Done]:
        if self._begun == 2 and sorted(self.capacity().values()) == [0, 1]:
            self.at_once += timeout <= 0
            self._polls += 1
            if self._polls > 2 * _PATIENCE:
                self.slow("slow", 1)
                self._sleepers["slow"].due = time.monotonic()
        return super().poll(timeout)


def test_settings_that_wait_for_a_batch_to_end_do_not_keep_the_loop_busy(layout: Layout) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat --seed 1\na dog --seed 2\na cow --seed 3\n")
    executor = Reloading()
    wanted = settings(
        layout, GENERATE__BATCH_SIZE="1", GATE__REGENERATE_BELOW="1", GATE__UPSCALE="never", **_QUIET
    )
    executor.daemon = daemon = Daemon(layout.root, wanted, executor, load=lambda: wanted)
    report = daemon.run(once=True)
    assert (report.done, report.failed) == (6, 0)
    assert executor.ended[:2] == [("quick", 2), ("slow", 1)]  # nothing was begun while the settings waited
    assert executor.at_once <= _PATIENCE
