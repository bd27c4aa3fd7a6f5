"""What the link asks of Ray, without Ray: nodes, actors and answers as a test says them."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

HELLO = {"hotfolder": "1", "python": "3", "ray": "2", "sees_root": False}


@dataclass
class Ref:
    """An answer; not there yet while `ready` is False."""

    value: Any = None
    ready: bool = True


@dataclass
class Actor:
    """A host: what it was asked, and what it answers."""

    node: str
    asked: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    answers: dict[str, Ref] = field(default_factory=dict)
    is_killed: bool = False

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any) -> Ref:
            self.asked.append((name, arguments))
            return self.answers.get(name) or Ref({"hello": HELLO, "poll": (None, []), "submit": ""}.get(name))

        return types.SimpleNamespace(remote=remote)


class NoRay:
    """The part of the module `ray` that is used."""

    __version__ = "2"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive: list[str] = []  # nodes, as "id name"
        self.actors: list[Actor] = []
        self.broken: Exception | None = None  # what waiting comes to
        strategies = types.ModuleType("ray.util.scheduling_strategies")
        strategies.NodeAffinitySchedulingStrategy = lambda node, soft: node  # type: ignore[attr-defined]
        for name in ("ray", "ray.util"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, strategies.__name__, strategies)

    def nodes(self) -> list[dict[str, Any]]:
        pairs = [each.split() for each in self.alive]
        return [
            {"NodeID": id_, "Alive": True, "NodeManagerHostname": name, "Resources": {"CPU": 1.0}}
            for id_, name in pairs
        ]

    def remote(self, **_: Any) -> Any:
        def options(*, scheduling_strategy: str, **__: Any) -> Any:
            def make(*___: Any, **____: Any) -> Actor:
                self.actors.append(Actor(scheduling_strategy))
                return self.actors[-1]

            return types.SimpleNamespace(remote=make)

        return lambda _: types.SimpleNamespace(options=options)

    def wait(self, refs: Sequence[Ref], **_: Any) -> tuple[list[Ref], list[Ref]]:
        if self.broken is not None:
            raise self.broken
        return [ref for ref in refs if ref.ready], [ref for ref in refs if not ref.ready]

    def get(self, ref: Ref, timeout: float) -> Any:
        if isinstance(ref.value, Exception):
            raise ref.value
        return ref.value

    def put(self, value: Any) -> Ref:
        return Ref(value)

    def kill(self, actor: Actor, no_restart: bool) -> None:
        actor.is_killed = True
