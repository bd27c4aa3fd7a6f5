"""A daemon without models, as a process of its own: `python -m tests.support.scripted_daemon ROOT [SECONDS]`.

Each job takes so many seconds; a negative number: the worker takes a batch and never ends it. With `--no-inodes`, as
on a file system whose inode numbers do not last, such as FAT.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hotfolder.config import loading
from hotfolder.daemon.loop import Daemon
from hotfolder.executors.base import Done
from hotfolder.files import identity
from hotfolder.system.logs import log_to_stderr
from hotfolder.types import Item, Kind
from tests.support.scripted import ScriptedExecutor


class Never(ScriptedExecutor):
    """Takes one batch and is silent from then on."""

    def poll(self, timeout: float) -> Sequence[Done]:
        time.sleep(timeout)
        return []


def main(root: Path, seconds: float) -> None:
    def work(_: Kind, item: Item) -> float:
        time.sleep(max(0.0, seconds))
        return 3.0 if "bad" in str(item.source) else 7.5

    if "--no-inodes" in sys.argv:
        identity.has_lasting_inodes = lambda device: False
    log_to_stderr(20, "%(message)s")
    executor = Never(work) if seconds < 0 else ScriptedExecutor(work)
    daemon = Daemon(root, loading.load(root), executor)
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    daemon.run(once="--once" in sys.argv)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
