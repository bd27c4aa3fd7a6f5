"""What the link makes of nodes that come, go, are silent or fail: Ray itself is not asked."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest

from hotfolder.executors import ray_held
from hotfolder.executors.base import Device, Done
from hotfolder.executors.ray_link import Link
from hotfolder.executors.ray_models import Found, HeldModels
from hotfolder.executors.ray_wire import DEVICES, Setup
from hotfolder.types import Batch, Item, Kind, Outcome, RunnerSettings
from tests.support.no_ray import NoRay, Ref

BATCH = Batch(5, Kind.GENERATE, "m", (Item(1, 7, None, "/nowhere"), Item(2, 7, None, "/nowhere")))


class Line:
    """A link, the other end of its connection, and its clock."""

    def __init__(self, ray: NoRay) -> None:
        self.ray, self.now = ray, 1000.0
        self.ours, theirs = Pipe()
        self.link = Link(theirs, Setup(RunnerSettings(), 60, "auto"), ray, "a")
        self.link._ours = {"hotfolder": "1", "python": "3", "ray": "2"}

    def turn(self, seconds: float = 0.0) -> list[Any]:
        """What is told when it looks at everything, so much later."""
        self.now += seconds
        self.link._look()
        for held in list(self.link._held.values()):
            self.link._guarded(held, lambda held=held: held.turn(self.now))  # type: ignore[misc]
        self.link._show()
        return self.told()

    def told(self) -> list[Any]:
        found = []
        while self.ours.poll():
            found.append(self.ours.recv())
        return found

    def submit(self, device: str) -> list[Any]:
        self.link._obey(("submit", device, BATCH))
        return self.told()


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    made = Line(NoRay(monkeypatch))
    monkeypatch.setattr(ray_held, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(HeldModels, "look", lambda *_: Found())  # every node has every model
    made.ray.alive = ["a box", "b box", "c hut"]
    made.turn()
    made.turn()
    yield made
    assert isinstance(made.ours, Connection)
    made.ours.close()


def devices(told: list[Any]) -> list[Device]:
    return next(each[1] for each in reversed(told) if each[0] == DEVICES)


def lost(told: list[Any]) -> list[str]:
    return [each.device for each in told if isinstance(each, Done) and each.lost is not None]


def test_each_node_is_a_device_and_has_a_host(line: Line) -> None:
    assert sorted(line.link._held) == ["box-2/cpu", "box/cpu", "hut/cpu"]
    assert sorted(actor.node for actor in line.ray.actors) == ["a", "b", "c"]
    assert [held.as_device().unfit for held in line.link._held.values()] == [""] * 3


def test_a_node_that_leaves_and_comes_back_between_two_looks_has_lost_its_work(line: Line) -> None:
    """It has another id then, and its device the old name."""
    line.submit("hut/cpu")
    line.ray.alive[2] = "d hut"
    told = line.turn()
    assert lost(told) == ["hut/cpu"]
    assert [actor.node for actor in line.ray.actors if actor.is_killed] == ["c"]
    assert line.ray.actors[-1].node == "d"
    (hut,) = (each for each in devices(line.turn()) if each.id == "hut/cpu")
    assert not hut.unfit


def test_what_is_given_to_a_device_that_is_no_more_is_lost_by_no_fault_of_a_file(line: Line) -> None:
    line.ray.alive[2] = "d hut"
    line.turn()  # its host has not said hello
    (told,) = [each for each in line.submit("hut/cpu") if isinstance(each, Done)]
    assert (told.device, told.started) == ("hut/cpu", False)


def test_a_device_that_fails_takes_no_other_with_it(line: Line) -> None:
    line.submit("box/cpu")
    line.submit("hut/cpu")
    line.turn(1)  # both are asked for news
    host = next(held for held in line.link._held.values() if held.id == "hut/cpu")._actor
    host.answers["poll"] = Ref(RuntimeError("the actor died"))
    told = line.turn(1) + line.turn(1) + line.turn(1)
    assert lost(told) == ["hut/cpu"]
    assert host.is_killed
    assert line.link._held["box/cpu"].is_busy


def test_a_cluster_of_which_nothing_can_be_asked_loses_what_is_in_work_and_the_link_lives(line: Line) -> None:
    line.submit("box/cpu")
    line.turn(1)
    line.ray.broken = RuntimeError("there is no such cluster any more")
    told = line.turn(1)
    assert lost(told) == ["box/cpu"]
    assert any("no such cluster" in str(each.lost) for each in told if isinstance(each, Done))


def test_a_head_that_began_anew_is_another_cluster(line: Line) -> None:
    """Its nodes may even have the same names."""
    line.ray.alive = ["x box", "y box", "z hut"]
    with pytest.raises(RuntimeError, match="none of the cluster any more"):
        line.link._look()


def test_a_host_that_is_silent_is_ended_and_another_begins(line: Line) -> None:
    line.submit("hut/cpu")
    held = line.link._held["hut/cpu"]
    old = held._actor
    old.answers["poll"] = Ref(ready=False)
    assert lost(line.turn(1) + line.turn(ray_held.SILENT_SECONDS - 1)) == []
    assert lost(line.turn(2)) == ["hut/cpu"]
    assert old.is_killed
    line.turn(ray_held._AGAIN)
    assert held._actor is not old and held._actor.node == "c"


def test_what_is_told_of_an_older_claim_is_dropped(line: Line) -> None:
    line.submit("hut/cpu")
    host = line.link._held["hut/cpu"]._actor
    news = [(Done("hut/cpu", outcome=Outcome(number, claim)), None) for number, claim in ((1, 6), (1, 7), (3, 7))]
    host.answers["poll"] = Ref((None, news))
    told = line.turn(1) + line.turn(1)
    assert [(done.outcome.job_id, done.outcome.claim) for done in told if isinstance(done, Done)] == [(1, 7)]


def test_hosts_clear_up_before_they_are_ended_where_they_can_be_reached(line: Line) -> None:
    line.ray.actors[0].answers["close"] = Ref(ready=False)  # it does not come to that
    line.ray.alive.append("e late")
    line.link._look()
    line.link._held["late/cpu"].turn(line.now)  # it has not said hello yet
    line.link._leave()
    assert [[name for name, _ in actor.asked].count("close") for actor in line.ray.actors] == [1, 1, 1, 0]
    assert all(actor.is_killed for actor in line.ray.actors)


def test_hosts_are_ended_also_where_nothing_can_be_waited_for(line: Line) -> None:
    line.ray.broken = RuntimeError("the cluster is gone")
    line.link._leave()
    assert all(actor.is_killed for actor in line.ray.actors)
