"""The daemon's link to a Ray cluster: a process of its own, so that nothing of Ray is in the daemon.

Ray ends a process that loses its cluster, takes over signals, and may wait for long. All that happens here, and the
daemon goes on; it starts another link. What the link reads and writes of the root is what the daemon would: the inputs
of jobs, and the staging folder of their claim.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from hotfolder.executors.base import Done
from hotfolder.executors.limits import die_with_parent
from hotfolder.executors.ray_held import Held
from hotfolder.executors.ray_models import Stock
from hotfolder.executors.ray_wire import (
    ABANDON,
    ALIVE,
    BROKEN,
    CANCEL,
    DEVICES,
    INTERRUPT,
    RECONFIGURE,
    SUBMIT,
    UNLOAD,
    Setup,
    short,
)  # fmt: skip
from hotfolder.executors.wire import OTHER_VERSION, VERSION
from hotfolder.system.logs import log_to_stderr

log = logging.getLogger(__name__)
#: Seconds between two looks at the nodes, and between two signs of life.
_LOOK_EVERY = 2.0
_ALIVE_EVERY = 5.0
#: Seconds for which results, and then orders, are waited for.
_WAIT, _IDLE_WAIT = 0.02, 0.1
#: Seconds that hosts may take to clear up after themselves, all of them together.
_LEAVE_SECONDS = 2.0


class Link:
    """Orders come over the connection, what happens goes back over it."""

    def __init__(self, connection: Connection[Any, Any], setup: Setup, ray: Any, own_node: str) -> None:
        """`own_node`: the id of the node on this machine, through which the cluster is reached."""
        self._connection = connection
        self._setup = setup
        self._ray, self._own_node = ray, own_node
        self._ours: Mapping[str, Any] = {
            "hotfolder": VERSION, "python": platform.python_version(), "ray": ray.__version__,
        }  # fmt: skip
        self._stock = Stock(setup.settings)
        self._held: dict[str, Held] = {}
        self._known: set[str] = set()  # nodes
        self._looked_at = self._alive_at = float("-inf")
        self._shown: list[Any] | None = None

    def run(self) -> None:
        """Until the connection ends. Raises what Ray raises when the cluster is gone, or is another one."""
        try:
            while True:
                now = time.monotonic()
                if now - self._looked_at >= _LOOK_EVERY:
                    self._looked_at = now
                    self._look()
                for held in self._held.values():
                    self._guarded(held, partial(held.turn, now))
                    self._say_alive()  # after each: what has arrived there may take long to fetch
                self._show()
                self._say_alive()
                self._wait()
        except (EOFError, OSError):
            return  # the daemon let go
        finally:
            self._leave()

    def _say_alive(self) -> None:
        if time.monotonic() - self._alive_at >= _ALIVE_EVERY:
            self._alive_at = time.monotonic()
            self._connection.send((ALIVE,))

    def _guarded(self, held: Held, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # noqa: BLE001 - of Ray: one device must not take the others with it
            held.lose(f"its host on {held.machine} is lost: {short(error)}", again=True)

    def _leave(self) -> None:
        """Ends all hosts. Those that can be reached remove their files first."""
        with contextlib.suppress(Exception):  # the cluster may be gone
            leaving = [ref for held in self._held.values() if (ref := held.leave()) is not None]
            if leaving:
                self._ray.wait(leaving, num_returns=len(leaving), timeout=_LEAVE_SECONDS)
        for held in self._held.values():
            held.end()
        self._stock.close()

    def _wait(self) -> None:
        """For orders, or results; carries out what has come."""
        is_busy = any(held.is_busy for held in self._held.values())
        waiting = [ref for held in self._held.values() for ref in held.refs()] if is_busy else []
        if waiting:
            self._ray.wait(waiting, num_returns=1, timeout=_WAIT)
        if self._connection.poll(0 if is_busy else _IDLE_WAIT):
            while self._connection.poll(0):
                self._obey(self._connection.recv())

    def _obey(self, order: Sequence[Any]) -> None:
        match order:
            case (what, str() as device, *rest) if what in (SUBMIT, CANCEL, UNLOAD, ABANDON):
                held = self._held.get(device)
                if held is None:
                    return  # it is gone, and what it had was said to be lost
                if what == SUBMIT:
                    self._guarded(held, partial(held.submit, rest[0]))
                elif what == CANCEL:
                    held.cancel(rest[0])
                elif what == UNLOAD:
                    held.unload()
                else:
                    held.lose(rest[0], again=True)
            case (what,) if what == INTERRUPT:
                for held in self._held.values():
                    held.interrupt()
            case (what, settings, idle_seconds) if what == RECONFIGURE:
                self._setup = replace(self._setup, settings=settings, idle_seconds=idle_seconds)
                self._stock.change(settings)
                for held in self._held.values():
                    held.reconfigure(self._setup)

    def _look(self) -> None:
        """Which nodes have come and which are gone. Raises RuntimeError where this machine's own is."""
        alive = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        if self._own_node not in alive:  # a head that began anew knows nothing of the nodes of the one before
            raise RuntimeError("this machine's node is none of the cluster any more: is its head a new one?")
        for held in [held for held in self._held.values() if held.node not in alive]:
            held.lose(f"{held.machine} has left the cluster", again=False)
            del self._held[held.id]
        self._known &= alive.keys()
        for id_ in alive.keys() - self._known:
            self._known.add(id_)
            self._add(alive[id_])

    def _add(self, node: Mapping[str, Any]) -> None:
        """A device for each card of a node; one for its cores where it has none."""
        machine, resources = node["NodeManagerHostname"], node["Resources"]
        wanted = self._setup.settings.device
        cards = 0 if wanted == "cpu" else int(resources.get("GPU", 0))
        names = [f"cuda:{number}" for number in range(cards)]
        if not cards and not wanted.startswith("cuda") and resources.get("CPU", 0) >= 1:
            names = ["cpu"]
        taken = {held.id.partition("/")[0] for held in self._held.values()}
        others = (f"{machine}-{number}" for number in itertools.count(2))
        called = next(name for name in itertools.chain([machine], others) if name not in taken)
        for name in names:
            id_ = f"{called}/{name}"
            held = Held(self._ray, self._tell, id_, node["NodeID"], machine, self._setup, self._ours, self._stock)
            self._held[held.id] = held

    def _tell(self, done: Done) -> None:
        if done.lost is not None or done.finished is not None:
            self._show()  # first: whoever hears of it may ask at once which devices there are
        self._connection.send(done)

    def _show(self) -> None:
        """Tells of the devices when anything of them has changed."""
        shown = [held.as_device() for held in self._held.values() if held.is_known]
        is_all = all(held.is_known for held in self._held.values())
        if self._shown != [shown, is_all]:
            self._shown = [shown, is_all]
            self._connection.send((DEVICES, shown, is_all))


def main(handle: int, parent: int, version: str) -> None:
    """Runs until the daemon closes the connection, or dies."""
    die_with_parent()
    if os.getppid() != parent:
        return
    log_to_stderr(logging.WARNING, "ray: %(message)s")
    connection: Connection[Any, Any] = Connection(handle)
    if version != VERSION:
        connection.send((OTHER_VERSION, VERSION))
        return
    setup: Setup = connection.recv()
    try:
        import ray

        ray.init(address=setup.address, log_to_driver=False, logging_level=logging.WARNING, namespace="hotfolder")
    except ImportError:
        connection.send((BROKEN, "Ray is not installed: pip install 'hotfolder[ray]'"))
        return
    except Exception as error:  # noqa: BLE001 - of whatever Ray is missing
        connection.send((BROKEN, short(error)))
        return
    # Ray puts a handler of its own here; the daemon decides when to stop.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        Link(connection, setup, ray, ray.get_runtime_context().get_node_id()).run()
    except KeyboardInterrupt:
        pass
    except Exception as error:  # noqa: BLE001 - the cluster is gone, or is another one by now
        with contextlib.suppress(OSError):
            connection.send((BROKEN, short(error)))
    ray.shutdown()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
