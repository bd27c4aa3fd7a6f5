"""Models on the nodes of a cluster: compared by content, sent where that is wanted, and never mixed up."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hotfolder.demo.pictures import draw_landscape
from hotfolder.executors import ray_models
from hotfolder.executors.base import Group, Lack
from hotfolder.executors.node_models import NodeModels
from hotfolder.executors.ray_executor import RayExecutor
from hotfolder.executors.ray_models import Found, HeldModels, Stock
from hotfolder.models.registry import BUILTIN, Catalogue, usual_folder
from hotfolder.types import Batch, Item, Kind, RunnerSettings
from tests.support.clusters import cluster

MINE: Group = (Kind.UPSCALE, "mine")
ENTRY = {"name": "mine", "kind": "upscale", "files": [{"path": "mine.safetensors"}]}


class _Method:
    """Of a host, as Ray hands it out: what it gives is known when it is asked for."""

    def __init__(self, node: Node, name: str) -> None:
        self._node, self._name = node, name

    def options(self, *, concurrency_group: str) -> _Method:
        assert concurrency_group == ray_models.THREAD
        return self

    def remote(self, *arguments: Any) -> list[Callable[[], Any]]:
        self._node.asked.append(self._name)
        return [functools.partial(self._node.call, self._name, arguments)]


class Node:
    """A host on a machine of its own, and Ray: a reference is a list with what gives the answer."""

    def __init__(self, home: Path) -> None:
        self.home, self.models = home, NodeModels()
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.is_slow = False  # with what it takes
        self.spoil: Callable[[bytes], bytes] = lambda data: data

    def __getattr__(self, name: str) -> _Method:
        return _Method(self, name)

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if self.error is not None:
            raise self.error
        told = [each[0] if isinstance(each, list) and name == "take" else each for each in arguments]
        if name == "take":
            told[3] = self.spoil(bytes(told[3]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_DATA_HOME", str(self.home))
            return getattr(self.models, name)(*told)

    def wait(self, refs: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        is_there = not (self.is_slow and refs[0][0].args[0] == "take")
        return (refs, []) if is_there else ([], refs)

    def get(self, ref: list[Callable[[], Any]], timeout: float) -> Any:
        return ref[0]()

    def put(self, data: Any) -> list[Any]:
        return [data]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "here"))
    monkeypatch.setattr(ray_models, "PIECE", 3)
    return Node(tmp_path / "there")


def put(home: Path, data: bytes, name: str = "mine.safetensors") -> None:
    path = home / "hotfolder" / "models" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


class Link:
    """What a link does with the models of one host. Its clock is its own."""

    def __init__(self, node: Node, *, auto_pull: bool, groups: tuple[Group, ...] = ()) -> None:
        settings = RunnerSettings(model_entries=(ENTRY,), auto_pull=auto_pull)
        self.now, self.stock = 0.0, Stock(settings)
        self.models = HeldModels(node, self.stock, "box")
        self.models.begin(node, settings, groups, self.now, sees_root=False)

    def turn(self) -> None:
        self.models.turn(self.now)
        time.sleep(0.005)  # files are read in a thread

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline
            self.turn()

    def look(self, batch: Batch) -> Found:
        deadline = time.monotonic() + 60
        while (found := self.models.look(batch, self.now)) is None:
            assert time.monotonic() < deadline
            self.turn()
        return found

    def settle(self, batch: Batch) -> Found:
        """When nothing is on its way any more."""
        self.look(batch)
        self.until(lambda: not self.models.refs() and not self.models._running)
        return self.look(batch)


@pytest.fixture
def links() -> Iterator[Callable[..., Link]]:
    made: list[Link] = []

    def make(node: Node, **options: Any) -> Link:
        made.append(Link(node, **options))
        return made[-1]

    yield make
    for each in made:
        each.models.end()
        each.stock.close()


def of_mine(*items: Item) -> Batch:
    return Batch(1, *MINE, items or (Item(1, 1, "/a.png", "/staging"),))


def test_a_node_with_the_same_model_gets_the_jobs_and_is_not_asked_each_time(
    node: Node, links: Callable[..., Link]
) -> None:
    for home in (usual_folder().parents[1], node.home):
        put(home, b"weights")
    link = links(node, auto_pull=False)
    assert link.look(of_mine()) == Found()
    assert link.look(of_mine()) == Found()
    assert node.asked == ["compare"]
    link.now += 60
    assert link.look(of_mine()) == Found()
    assert node.asked == ["compare"] * 2


def test_a_node_that_lacks_it_is_passed_over_until_it_has_it(node: Node, links: Callable[..., Link]) -> None:
    put(usual_folder().parents[1], b"weights")
    link = links(node, auto_pull=False)
    found = link.look(of_mine())
    assert found.lack == Lack("it lacks the model 'mine': put it there, or set models.auto_pull = true")
    assert link.models.lacks == {MINE: found.lack}
    put(node.home, b"weights")
    link.turn()
    assert link.models.lacks  # it is asked again only now and then
    link.now += 60
    link.until(lambda: not link.models.lacks)
    assert link.look(of_mine()) == Found()


@pytest.mark.parametrize("auto_pull", [False, True])
def test_another_model_of_the_same_name_is_never_used(
    node: Node, links: Callable[..., Link], *, auto_pull: bool
) -> None:
    put(usual_folder().parents[1], b"weights")
    put(node.home, b"others!")
    lack = links(node, auto_pull=auto_pull).settle(of_mine()).lack
    assert lack is not None and not lack.is_coming
    assert "its 'mine' is another model than the daemon's" in lack.why
    assert "receive" not in node.asked
    assert (node.home / "hotfolder/models/mine.safetensors").read_bytes() == b"others!"


def test_it_is_sent_in_pieces_where_that_is_wanted(node: Node, links: Callable[..., Link]) -> None:
    put(usual_folder().parents[1], b"weights")
    node.is_slow = True
    link = links(node, auto_pull=True)
    lack = link.look(of_mine()).lack
    assert lack is not None and lack.is_coming and "is being sent there" in lack.why
    link.turn()
    assert link.models.lacks == {MINE: lack}
    node.is_slow = False
    assert link.settle(of_mine()) == Found()
    assert link.models.lacks == {}
    assert node.asked.count("take") == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(node.home))
        spec = Catalogue((), [ENTRY]).resolve("mine", Kind.UPSCALE)
        assert spec.files[0].path.read_bytes() == b"weights"


def test_what_the_configuration_names_is_sent_before_anything_asks_for_it(
    node: Node, links: Callable[..., Link]
) -> None:
    put(usual_folder().parents[1], b"weights")
    link = links(node, auto_pull=True, groups=(MINE,))
    link.until(lambda: "received" in node.asked and not link.models.lacks)
    assert link.look(of_mine()) == Found()


def test_what_is_damaged_on_its_way_is_not_kept(node: Node, links: Callable[..., Link]) -> None:
    put(usual_folder().parents[1], b"weights")
    node.spoil = lambda data: data.replace(b"w", b"W")
    link = links(node, auto_pull=True)
    lack = link.settle(of_mine()).lack
    assert lack is not None and "is not what was sent" in lack.why
    node.spoil = lambda data: data
    link.now += 60
    link.until(lambda: not link.models.lacks)
    assert link.look(of_mine()) == Found()


def test_a_full_disk_of_a_node_is_said(
    node: Node, links: Callable[..., Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(usual_folder().parents[1], b"weights")
    monkeypatch.setattr("hotfolder.models.pull._RESERVE", 1 << 60)
    lack = links(node, auto_pull=True).settle(of_mine()).lack
    assert lack is not None and not lack.is_coming
    assert "cannot be sent there" in lack.why and "GB left" in lack.why


def test_jobs_whose_lora_is_not_there_fail_alone(node: Node, links: Callable[..., Link]) -> None:
    put(usual_folder().parents[1], b"abc", "loras/style.safetensors")
    link = links(node, auto_pull=False)
    with_lora = Item(2, 1, None, "/s", {"prompt": "a cat", "lora": (("style", 1.0),)})
    asked = Batch(1, Kind.GENERATE, "shapes", (Item(1, 1, None, "/s", {"prompt": "a cat"}), with_lora))
    found = link.look(asked)
    assert (found.lack, found.error, list(found.items)) == (None, None, [2])
    assert (found.items[2].kind, "box: it lacks the model 'style'" in found.items[2].message) == (
        "model_missing", True,
    )  # fmt: skip
    link.models.begin(node, replace(link.models._settings, auto_pull=True), (), 0.0, sees_root=False)
    assert link.settle(asked) == Found()


def test_what_the_daemon_does_not_have_itself_is_an_error_of_the_jobs(
    node: Node, links: Callable[..., Link]
) -> None:
    found = links(node, auto_pull=True).look(of_mine())
    assert found.error is not None and found.error.kind == "model_missing"
    assert node.asked == []


def test_a_host_that_does_not_answer_is_given_up(
    node: Node, links: Callable[..., Link], caplog: pytest.LogCaptureFixture
) -> None:
    put(usual_folder().parents[1], b"weights")
    node.error = RuntimeError("the actor died")
    link = links(node, auto_pull=True)
    with pytest.raises(RuntimeError, match="the actor died"), caplog.at_level(logging.ERROR):
        link.look(of_mine())
    link.models.end()
    assert (link.models.refs(), link.models.lacks) == ([], {})


@pytest.mark.slow
def test_a_real_node_gets_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.executors.test_contract import SETTINGS, batch, drain  # with torch, which the others do not need

    pictures = [tmp_path / "a.png"]
    draw_landscape(0).save(pictures[0])
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "there"))
    with cluster() as (_, address):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "here"))
        weights = next((BUILTIN / "x4-compact").glob("*.safetensors")).read_bytes()
        put(tmp_path / "here", weights)
        settings = replace(SETTINGS, model_entries=(ENTRY,))
        executor = RayExecutor(settings, 60, address, groups=[MINE], wait_seconds=300)
        try:
            (device,) = executor.devices()
            executor.submit(batch(*MINE, pictures), device.id)
            told = drain(executor)  # nothing was begun, and its jobs go back
            assert (told[-1].finished, [done for done in told if done.outcome]) == (1, [])
            assert "set models.auto_pull" in executor.devices()[0].lacks[MINE].why
            executor.reconfigure(replace(settings, auto_pull=True), 60)
            came = tmp_path / "there/hotfolder/models/mine"
            deadline = time.monotonic() + 300
            while not list(came.glob("installed.json")) or executor.devices()[0].lacks:
                assert time.monotonic() < deadline, executor.devices()
                executor.poll(0.1)
            executor.submit(batch(*MINE, pictures, 2), device.id)
            (outcome,) = [done.outcome for done in drain(executor) if done.outcome]
            assert outcome.error is None and outcome.staged is not None
            assert (outcome.staged.width, outcome.staged.height) == (1280, 960)
            # The same name, and something else by now.
            (path,) = came.glob("*/mine.safetensors")
            assert path.read_bytes() == weights
        finally:
            executor.close()
