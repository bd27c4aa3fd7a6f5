"""Several devices share the work: as fast as each is, each model loaded where it is needed, and none lost for good."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hotfolder.bench.asleep import Asleep, _Sleeper
from hotfolder.daemon import taking_back
from hotfolder.documents.status import gather
from hotfolder.errors import (
    DeviceLost,
    DeviceOccupied,
    DeviceTooHot,
    DeviceTrouble,
    HotfolderError,
    ModelMissing,
    OutOfMemory,
)
from hotfolder.executors.base import DeviceId, Done, Lack
from hotfolder.folders.layout import Layout
from hotfolder.status import mailbox
from hotfolder.types import Batch, Kind
from tests.faults.disks import wait_for_pause, working
from tests.support.live import wait_for
from tests.support.own_time import OwnTime
from tests.support.roots import check_consistent, daemon, picture, rows

_LOADS = dict.fromkeys(Kind, 0.05)
#: No image is enlarged or tried again.
QUIET = {"GATE__UPSCALE": '"never"', "GATE__REGENERATE_BELOW": "1", "EXECUTOR__SET_ASIDE_SECONDS": "0.4"}


def asleep(slowness: Mapping[DeviceId, float], seconds: float = 0.02) -> Asleep:
    return Asleep(dict.fromkeys(Kind, seconds), _LOADS, slowness, spread=(1.0, 1.0))


def drop(layout: Layout, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)


def device(layout: Layout, name: str) -> Mapping[str, Any]:
    """As `status` tells it."""
    found = {each["device"]: each for each in gather(layout)["daemon"]["devices"]}
    return found.get(name, {"state": "not told", "reason": ""})


def all_done_once(layout: Layout, count: int) -> None:
    assert rows(layout, "SELECT state, count(*) FROM jobs GROUP BY state") == [("done", count)]
    assert rows(layout, "SELECT count(*) FROM scores") == [(count,)]
    check_consistent(layout)


@pytest.mark.slow
def test_three_unequal_devices_end_together(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(layout, 100)
    own_time = OwnTime(monkeypatch)
    executor = asleep({"a": 1, "b": 1, "c": 3}, seconds=0.04)
    began = own_time.now
    report = daemon(layout, executor, **QUIET).run(once=True)
    assert (report.done, report.failed) == (100, 0)
    assert own_time.now - began < 1.25 * 100 * 0.04 / (1 + 1 + 1 / 3)
    all_done_once(layout, 100)
    done = Counter(name for name, _ in executor.ended)
    # The slow one does a seventh of it.
    assert 8 <= done["c"] <= 20
    assert abs(done["a"] - done["b"]) <= 12


def model_folders(tmp_path: Path, *names: str) -> str:
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_index.json").write_text("{}")
    return f'["{tmp_path}"]'


@pytest.mark.slow
def test_two_models_on_two_devices_are_loaded_once_each(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    OwnTime(monkeypatch)
    known = model_folders(tmp_path, "one", "two")
    lines = [f"a cat --seed {n} --model {tmp_path}/{('one', 'two')[n % 2]}" for n in range(40)]
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("\n".join(lines))
    executor = Asleep(dict.fromkeys(Kind, 0.02), {**_LOADS, Kind.GENERATE: 0.8}, {"a": 1, "b": 1})
    more = {**QUIET, "MODELS__FOLDERS": known, "EXECUTOR__FAIRNESS_SECONDS": "0.1"}
    report = daemon(layout, executor, **more).run(once=True)
    assert (report.done, report.failed) == (80, 0)
    loaded = Counter(Path(model).name for _, model in executor.loaded_on)
    assert (loaded["one"], loaded["two"]) == (1, 1), executor.loaded_on
    assert {name for name, _ in executor.loaded_on} == {"a", "b"}


@pytest.mark.slow
def test_work_goes_where_its_model_lies(layout: Layout) -> None:
    executor = asleep({"a": 1, "b": 1})
    with working(daemon(layout, executor, **QUIET)):
        for number in range(4):  # one after the other: each device is free each time
            drop(layout, 1, number)
            wait_for(lambda wanted=number: len(executor.ended) > wanted, 10, "it is judged")  # type: ignore[misc]
    assert len(executor.loaded_on) == 1


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _lost(executor: Asleep) -> None:
    executor.broken["b"] = "the worker was killed by SIGBUS"


def _errors(error: HotfolderError) -> Callable[[Asleep], None]:
    def spoil(executor: Asleep) -> None:
        executor.errors["b"] = error

    return spoil


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_lost, "SIGBUS"),
        (_errors(DeviceLost("the device failed: CUDA error 999", "see dmesg")), "CUDA error 999"),
        (_errors(DeviceTrouble("there is no device 'b'", "set executor.devices")), "there is no device"),
        (_errors(DeviceTooHot("the device is too hot: 93 °C", "see to its cooling")), "93 °C"),
        (_errors(OutOfMemory("the device ran out of memory", "free some")), "again and again"),
    ],
)
def test_a_device_that_fails_is_set_aside_and_comes_back(
    layout: Layout, spoil: Callable[[Asleep], None], reason: str, tmp_path: Path
) -> None:
    """Its jobs are done by the other one, and no attempt is spent on them."""
    told = tmp_path / "told"
    executor = asleep({"a": 1, "b": 1})
    spoil(executor)
    drop(layout, 30)
    hook = f'["sh", "-c", "cat >> {told}"]'
    with working(daemon(layout, executor, **QUIET, HOOKS__ON_DEVICE=hook)):
        wait_for(lambda: len(executor.ended) > 0, 15, "it works")
        wait_for(lambda: reason in (device(layout, "b")["reason"] or ""), 15, "it is told why it is set aside")
        wait_for(
            lambda: rows(layout, "SELECT count(*) FROM jobs WHERE state = 'done'") == [(30,)], 20, "all is done"
        )
        assert rows(layout, "SELECT max(attempt), max(deaths) FROM jobs") == [(1, 0)]
        done_by = {job: name for name, job in executor.ended}  # the last time that it came to an end
        assert set(done_by.values()) == {"a"} and len(done_by) == 30
        executor.broken.clear()
        executor.errors.clear()
        executor.ended.clear()

        def works_again() -> bool:
            drop(layout, 6, first=30 + len(list(layout.inbox(Kind.SCORE).iterdir())) + len(executor.ended))
            time.sleep(0.3)
            return any(name == "b" for name, _ in executor.ended)

        wait_for(works_again, 20, "it works again")
        wait_for(lambda: '"is_back": true' in text_of(told), 10, "that is told")
        wait_for(lambda: device(layout, "b")["out_seconds"] is None, 15, "it is well")
    assert told.read_text().index('"is_back": false') < told.read_text().index('"is_back": true')


@pytest.mark.slow
def test_what_needs_a_model_that_one_device_lacks_is_done_by_the_other(layout: Layout) -> None:
    """On another machine, say. The queue does not pause for that."""
    executor = asleep({"a": 1, "b": 1})
    executor.errors["b"] = ModelMissing("the model 'technical' is not here", "pull it")
    drop(layout, 12)
    with working(daemon(layout, executor, **QUIET)):
        wait_for(lambda: len(executor.ended) > 0, 15, "it works")
        all_done = "SELECT count(*), max(attempt) FROM jobs WHERE state = 'done'"
        wait_for(lambda: rows(layout, all_done) == [(12, 1)], 20, "all is done")
        tried = {job for name, job in executor.ended if name == "b"}
        assert tried and tried <= {job for name, job in executor.ended if name == "a"}
        assert device(layout, "b")["state"] != "set aside"


def test_a_file_that_two_devices_are_lost_with_is_to_blame(layout: Layout) -> None:
    """Else one file would take one device after the other."""
    executor = asleep({"a": 1, "b": 1, "c": 1})
    error = DeviceLost("the device failed: CUDA error 700", "see dmesg")
    executor.errors.update(dict.fromkeys("abc", error))
    drop(layout, 1)
    made = daemon(layout, executor, **QUIET)
    report = made.run(once=True)
    assert (report.done, report.failed) == (0, 1)
    assert len(executor.ended) == 1 + 3  # one without blame, then its attempts
    # Tried again by a person, it begins anew.
    assert made._parts.dispatcher._blame._suspects == set()
    assert made._parts.dispatcher.devices._not_on == {}


class Late(Asleep):
    """Tells again and again that a batch of long ago is lost."""

    def poll(self, timeout: float) -> Sequence[Done]:
        return [Done("b", lost="the worker was killed by SIGKILL", batch_id=0), *super().poll(timeout)]


def test_what_is_told_late_of_a_lost_worker_is_not_laid_to_what_is_in_work_now(layout: Layout) -> None:
    executor = Late(dict.fromkeys(Kind, 0.02), _LOADS, {"a": 1, "b": 1})
    drop(layout, 8)
    assert daemon(layout, executor, **QUIET).run(once=True).done == 8
    assert {name for name, _ in executor.ended} == {"a", "b"}
    assert rows(layout, "SELECT max(attempt), max(deaths) FROM jobs") == [(1, 0)]


class Tiring(Asleep):
    """As soon as it has done something, a device takes so many times as long for all else."""

    def __init__(self, slowness: float) -> None:
        super().__init__(dict.fromkeys(Kind, 0.02), _LOADS, {"a": 1, "b": 1}, spread=(1.0, 1.0))
        self._becomes = slowness

    def poll(self, timeout: float) -> Sequence[Done]:
        told = super().poll(timeout)
        if any(name == "b" for name, _ in self.ended):
            self.slow("b", self._becomes)
        return told


@pytest.mark.slow
def test_what_a_device_crawls_with_is_done_by_the_others(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking_back, "CRAWL_SECONDS", 0.5)
    executor = Tiring(100_000)
    drop(layout, 60)
    with working(daemon(layout, executor, **QUIET)):
        wait_for(lambda: any(name == "b" for name, _ in executor.ended), 15, "it has done something")
        wait_for(
            lambda: rows(layout, "SELECT count(*) FROM jobs WHERE state = 'done'") == [(60,)], 30, "all is done"
        )
        wait_for(lambda: "slow to a crawl" in (device(layout, "b")["reason"] or ""), 5, "it is told")
    assert rows(layout, "SELECT max(attempt), max(deaths) FROM jobs") == [(1, 0)]
    all_done_once(layout, 60)


class Deaf(Tiring):
    """Goes on with what was taken back, and tells of it."""

    def cancel(self, job_ids: Collection[int], device: DeviceId) -> None:
        assert device == "b"


@pytest.mark.slow
def test_a_late_result_of_an_old_claim_is_dropped(layout: Layout) -> None:
    executor = Deaf(20)
    drop(layout, 60)
    with working(daemon(layout, executor, **QUIET)):
        wait_for(
            lambda: rows(layout, "SELECT count(*) FROM jobs WHERE state = 'done'") == [(60,)], 30, "all is done"
        )
        twice = Counter(job for _, job in executor.ended)
        wait_for(lambda: max(Counter(job for _, job in executor.ended).values()) > 1, 20, "one was done twice")
        time.sleep(0.5)
    assert max(twice.values()) <= 2
    assert rows(layout, "SELECT max(claim) FROM jobs") == [(2,)]
    all_done_once(layout, 60)


@pytest.mark.slow
def test_a_drained_device_is_given_nothing_also_after_a_restart(layout: Layout) -> None:
    executor = asleep({"a": 1, "b": 1})
    answers: dict[str, Any] = {}

    def ask(do: str, name: str) -> None:
        path = mailbox.ask(layout, {"do": do, "device": name})
        answers.update(mailbox.answer_to(path, 60) or {})

    with working(daemon(layout, executor, **QUIET)):
        ask("drain", "b")
        drop(layout, 20)
        wait_for(lambda: len(executor.ended) == 20, 10, "all is done")
        assert {name for name, _ in executor.ended} == {"a"}
        assert device(layout, "b")["state"] == "drained"
    executor = asleep({"a": 1, "b": 1})
    with working(daemon(layout, executor, **QUIET)):
        ask("drain", "a")
        drop(layout, 20, first=20)
        wait_for(
            lambda: "every device is drained" in (gather(layout)["daemon"]["paused"] or ""), 10, "that is told"
        )
        assert executor.ended == []
        ask("undrain", "b")
        wait_for(lambda: len(executor.ended) == 20, 10, "all is done")
        assert {name for name, _ in executor.ended} == {"b"}


class Crowded(Asleep):
    """Another program holds the memory of some devices; says which batches were told to wait."""

    def __init__(self, occupied: str) -> None:
        super().__init__(dict.fromkeys(Kind, 0.01), _LOADS, {"a": 1, "b": 1})
        self.may_wait: list[tuple[DeviceId, bool]] = []
        self.errors = dict.fromkeys(occupied, DeviceOccupied("other programs hold its memory", "end them"))

    def submit(self, batch: Batch, device: DeviceId) -> None:
        self.may_wait.append((device, batch.waits_if_occupied))
        super().submit(batch, device)


@pytest.mark.parametrize(("setting", "told"), [("step-down", False), ("wait", True), ("elsewhere", True)])
def test_a_device_that_another_program_has_is_left_alone(layout: Layout, setting: str, told: bool) -> None:
    executor = Crowded("b" if told else "")
    drop(layout, 12)
    more = {**QUIET, "EXECUTOR__OCCUPIED": f'"{setting}"', "EXECUTOR__SET_ASIDE_SECONDS": "3600"}  # to the end
    report = daemon(layout, executor, **more).run(once=True)
    assert (report.done, report.failed) == (12, 0)
    assert dict(executor.may_wait)["b"] is told
    if told:
        first = executor.may_wait.index(("b", True))
        # The last device that is left does not wait, unless that is what is wanted.
        last = next(waits for name, waits in reversed(executor.may_wait[first + 1 :]) if name == "a")
        assert last is (setting == "wait")
    assert rows(layout, "SELECT max(attempt) FROM jobs") == [(1,)]


class Elastic(Asleep):
    """Its devices come and go."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(Kind, 0.02), _LOADS, {"a": 1, "b": 1}, spread=(1.0, 1.0))
        self.goes: list[DeviceId] = []  # now
        self.replaced: tuple[DeviceId, DeviceId] | None = None  # one and what comes for it, once both have worked

    def poll(self, timeout: float) -> Sequence[Done]:
        if self.replaced is not None and {name for name, _ in self.ended} == {"a", "b"}:
            gone, comes = self.replaced
            self.goes.append(gone)
            self._sleepers[comes] = _Sleeper(1.0)
            self.replaced = None
        while self.goes:
            del self._sleepers[self.goes.pop()]
        return super().poll(timeout)


@pytest.mark.slow
def test_devices_come_and_go_while_work_is_on(layout: Layout) -> None:
    executor = Elastic()
    executor.replaced = ("a", "c")
    drop(layout, 100)
    with working(daemon(layout, executor, **QUIET)):
        wait_for(lambda: any(name == "c" for name, _ in executor.ended), 15, "the new one is at work")
        wait_for(
            lambda: rows(layout, "SELECT count(*) FROM jobs WHERE state = 'done'") == [(100,)], 30, "all is done"
        )
    assert rows(layout, "SELECT max(attempt), max(deaths) FROM jobs") == [(1, 0)]
    all_done_once(layout, 100)


@pytest.mark.slow
def test_what_a_device_had_that_is_gone_goes_back_also_while_nothing_is_begun(layout: Layout) -> None:
    """Else a reload, or a stop, would wait for it."""
    executor = Elastic()
    for name in "ab":
        executor.slow(name, 100_000)
    drop(layout, 2)
    with working(daemon(layout, executor, **QUIET)):
        wait_for(lambda: len(executor.loaded_on) == 2, 15, "both are at work")
        mailbox.ask(layout, {"do": "pause"})
        wait_for(lambda: bool(gather(layout)["daemon"]["paused"]), 10, "it pauses")
        executor.goes += ["a", "b"]
        wait_for(lambda: rows(layout, "SELECT DISTINCT state FROM jobs") == [("queued",)], 10, "they go back")
    assert rows(layout, "SELECT max(attempt), max(deaths) FROM jobs") == [(0, 0)]


class Vanishing(Asleep):
    """The first device that is given something is gone at that moment."""

    is_gone = False

    def submit(self, batch: Batch, device: DeviceId) -> None:
        if not self.is_gone:
            self.is_gone = True
            del self._sleepers[device]
        super().submit(batch, device)


@pytest.mark.slow
def test_what_a_device_is_given_that_has_just_gone_goes_back(layout: Layout) -> None:
    executor = Vanishing(dict.fromkeys(Kind, 0.01), _LOADS, {"a": 1, "b": 1})
    drop(layout, 4)
    report = daemon(layout, executor, **QUIET).run(once=True)
    assert (report.done, report.failed) == (4, 0)
    assert len({name for name, _ in executor.ended}) == 1
    assert rows(layout, "SELECT max(attempt), max(deaths) FROM jobs") == [(1, 0)]
    all_done_once(layout, 4)


class Endless(Asleep):
    """The first batch of a device comes to all its outcomes, and never to its end."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(Kind, 0.02), _LOADS, {"a": 1, "b": 1})
        self.hung: list[DeviceId] = []
        self.abandoned: list[DeviceId] = []

    def _course(self, device: DeviceId, sleeper: _Sleeper, batch: Batch) -> Iterator[tuple[float, Done | None]]:
        for seconds, done in super()._course(device, sleeper, batch):
            if done is not None and done.finished is not None and device not in self.hung:
                self.hung.append(device)
                yield 1e9, None
            yield seconds, done

    def abandon(self, device: DeviceId, why: str) -> None:
        super().abandon(device, why)
        self.abandoned.append(device)


@pytest.mark.slow
def test_a_worker_that_hangs_with_nothing_that_is_wanted_is_ended(layout: Layout) -> None:
    """No job is to blame for that, and the device is given work again."""
    executor = Endless()
    drop(layout, 2)
    with working(daemon(layout, executor, **QUIET, EXECUTOR__HANG_SECONDS="3")):
        wait_for(lambda: len(executor.hung) == 2, 15, "both hang")
        wait_for(lambda: device(layout, "a")["state"] == "leaving", 5, "that is told")
        drop(layout, 10, first=2)
        wait_for(lambda: len(executor.ended) == 12, 20, "they work again")
    assert set(executor.abandoned) == {"a", "b"}
    assert rows(layout, "SELECT max(attempt), max(deaths) FROM jobs") == [(1, 0)]
    all_done_once(layout, 12)


class Counted(Asleep):
    """Knows how many devices were at work at once."""

    most = 0

    def submit(self, batch: Batch, device: DeviceId) -> None:
        super().submit(batch, device)
        self.most = max(self.most, sum(not free for free in self.capacity().values()))


def test_jobs_with_which_a_daemon_died_are_done_one_at_a_time_on_all_devices(layout: Layout) -> None:
    drop(layout, 6)
    layout.drained.parent.mkdir(parents=True, exist_ok=True)
    layout.drained.write_text('{"drained": ["a", "b"]}')
    with working(daemon(layout, asleep({"a": 1, "b": 1}), **QUIET)):
        wait_for_pause(layout, "every device is drained")
        # Nothing but the work itself waits for a device.
        queued = "SELECT count(*) FROM jobs WHERE state = 'queued'"
        wait_for(lambda: rows(layout, queued) == [(6,)], 10, "the files are taken")
    layout.drained.unlink()
    connection = sqlite3.connect(layout.database)
    with connection:
        connection.execute("UPDATE jobs SET crashes = 1")
    connection.close()
    executor = Counted(dict.fromkeys(Kind, 0.02), _LOADS, {"a": 1, "b": 1})
    daemon(layout, executor, **QUIET).run(once=True)
    assert executor.most == 1
    all_done_once(layout, 6)


@pytest.mark.slow
def test_a_device_without_the_model_gets_none_of_its_jobs(layout: Layout) -> None:
    executor = asleep({"a": 1, "b": 1}, seconds=0.005)
    executor.lacks["b"] = {(Kind.SCORE, "technical"): Lack("it lacks the model 'technical'")}
    drop(layout, 12)
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat --seed 1\na dog --seed 2")
    report = daemon(layout, executor, **QUIET).run(once=True)
    assert (report.done, report.failed, report.paused) == (16, 0, None)
    scored = {job for job, kind in rows(layout, "SELECT id, kind FROM jobs") if kind == "score"}
    assert {name for name, job in executor.ended if job in scored} == {"a"}


@pytest.mark.slow
def test_where_no_device_has_the_model_it_is_said(layout: Layout) -> None:
    executor = asleep({"a": 1, "b": 1}, seconds=0.005)
    group = (Kind.SCORE, "technical")
    executor.lacks = {name: {group: Lack("it lacks the model 'technical'")} for name in ("a", "b")}
    drop(layout, 3)
    report = daemon(layout, executor, **QUIET).run(once=True)
    assert report.done == 0
    assert report.paused == "no device has the models for what waits; a: it lacks the model 'technical'"
    assert rows(layout, "SELECT DISTINCT state, attempt FROM jobs") == [("queued", 0)]
    # While one of them is being sent it, that is waited for.
    executor = asleep({"a": 1, "b": 1}, seconds=0.005)
    executor.lacks["a"] = {group: Lack("it lacks the model 'technical'")}
    executor.lacks["b"] = {group: Lack("the model 'technical' is being sent there: 3 % of 1.0 MB", is_coming=True)}
    with working(daemon(layout, executor, **QUIET)):
        wait_for(lambda: device(layout, "b").get("lacks"), 20, "it is told")
        (lack,) = device(layout, "b")["lacks"]
        assert (lack["kind"], lack["model"], lack["is_coming"]) == ("score", "technical", True)
        assert not gather(layout)["daemon"]["paused"]
        executor.lacks = {}
        wait_for(lambda: len(executor.ended) == 3, 20, "all is done")
