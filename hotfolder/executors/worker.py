"""The child process: reads batches from its parent, works them, tells what happened."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection

from hotfolder.engines.deferred import defer_unused
from hotfolder.engines.imports import without_collection
from hotfolder.errors import DeviceLost, HotfolderError
from hotfolder.executors.limits import die_with_parent, limit_worker
from hotfolder.executors.wire import CANCEL, FINISHED, OTHER_VERSION, PINNED, READY, STOP, VERSION
from hotfolder.system.logs import log_to_stderr
from hotfolder.types import Batch, Outcome, Progress, RunnerSettings


def main(handle: int, parent: int, version: str, *, is_pinned: bool) -> None:
    """Runs until the parent closes the connection, or dies; not at all for a parent of another version.

    `is_pinned`: of the cards it sees the one of its settings and no other.
    """
    # The daemon decides when to stop; a Ctrl-C in the terminal reaches the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() != parent:
        return  # it died before the line above could take effect
    log_to_stderr(logging.WARNING, "worker: %(message)s")
    connection: Connection[object, object] = Connection(handle)
    if version != VERSION:  # before anything is read: records may have other fields by now
        connection.send((OTHER_VERSION, VERSION))
        return
    settings = connection.recv()
    batches: queue.SimpleQueue[Batch] = queue.SimpleQueue()
    stopping = threading.Event()
    cancelled: set[int] = set()

    def listen() -> None:
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                # The parent let go. Nothing here is worth finishing: only the parent publishes.
                os._exit(0)
            if message == STOP:
                stopping.set()
            elif isinstance(message, Batch):
                # Here, not when it begins: what is cancelled after it came is meant.
                cancelled.difference_update(item.job_id for item in message.items)
                batches.put(message)
            elif isinstance(message, tuple) and message[0] == CANCEL:
                cancelled.update(message[1])

    threading.Thread(target=listen, name="listen", daemon=True).start()
    assert isinstance(settings, RunnerSettings)
    defer_unused(compiles=settings.compile)
    with without_collection(keeps=True):
        from hotfolder.engines.device import own_name, pick_device
        from hotfolder.executors.runner import make_runner

    if is_pinned:
        settings = replace(settings, device=own_name(settings.device))
    runner = make_runner(settings)
    with contextlib.suppress(HotfolderError):  # of the device: said of each job
        limit_worker(settings.memory_limit_mb, on_cpu=pick_device(settings.device).type == "cpu")
    connection.send(READY)

    def emit(event: Outcome | Progress) -> None:
        connection.send(event)
        if isinstance(event, Outcome) and event.error and event.error.kind == DeviceLost.kind:
            # After a fatal CUDA error every further call in this process fails, too: only a new one helps.
            os._exit(1)

    while True:
        batch = batches.get()
        runner.work(batch, emit, stopping.is_set, cancelled.__contains__)
        connection.send((FINISHED, batch.id))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], is_pinned=PINNED in sys.argv[4:])
