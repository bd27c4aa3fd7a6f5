"""`hotfolder gallery`: the page in a browser."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from hotfolder.config import loading
from hotfolder.config.root import find_root
from hotfolder.errors import ExitCode, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import holder
from hotfolder.gallery.access import Access
from hotfolder.gallery.application import application
from hotfolder.gallery.server import Server, address_of, hosts_of, is_loopback, listen, read_token, server, tidy
from hotfolder.printable import printable
from hotfolder.system.logs import log_to_stderr
from hotfolder.system.notification import Notifier

#: Seconds that a daemon of our own has to end.
_TO_END = 90.0


def run_gallery(
    given: Path | None,
    host: str | None,
    port: int | None,
    token_file: Path | None,
    *,
    read_only: bool,
    with_daemon: bool,
    opened: bool,
) -> ExitCode:
    """Serves until Ctrl-C or SIGTERM. Raises UsageError for an address that cannot be had, or needs a token."""
    log_to_stderr(logging.WARNING, "%(asctime)s %(levelname)-7s %(message)s")
    layout = Layout(find_root(given, trusted=with_daemon))
    settings = loading.load(layout.root)
    if settings.output.umask:
        os.umask(int(settings.output.umask, 8))
    own = settings.gallery
    wanted = host or own.host
    if token_file is None and not is_loopback(address_of(wanted)):
        raise UsageError(
            f"whoever reaches {wanted} could look at everything, and move it",
            "give it a token: --token-file ~/.config/hotfolder/token (made if it is not there); or use ssh: see "
            "docs/gallery.md",
        )
    listening = listen(wanted, own.port if port is None else port)
    with contextlib.closing(listening):
        address, number = listening.getsockname()[:2]
        token = read_token(token_file) if token_file is not None else None
        hosts = hosts_of(listening, wanted, own.names)
        tidy(layout)
        app = application(layout, settings, Access(hosts, token, read_only, own.upload_mb * 2**20))
        shown = f"[{address}]" if ":" in address else address
        link = f"http://{shown}:{number}/" + (f"login#{token}" if token else "")
        with _daemon(layout) if with_daemon else contextlib.nullcontext():
            sys.stderr.write(f"root: {printable(str(layout.root))}\n")
            if holder(layout.lock) is None and not with_daemon:
                sys.stderr.write("no daemon runs: what you ask for waits for one (hotfolder run)\n")
            sys.stdout.write(f"{link}\n")
            sys.stdout.flush()
            if opened:
                webbrowser.open(link)
            serving = server(app)
            with _ended_by_signals(serving) as signals:
                Notifier().ready()
                asyncio.run(serving.serve(sockets=[listening]))
    return ExitCode.INTERRUPTED if signals and signals[0] == signal.SIGINT else ExitCode.DONE


@contextlib.contextmanager
def _ended_by_signals(serving: Server) -> Iterator[list[int]]:
    """SIGTERM and SIGINT end it in order, a second one at once. Yields those that came."""
    received: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        received.append(number)
        serving.should_exit = True
        serving.force_exit = len(received) > 1

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _daemon(layout: Layout) -> Iterator[None]:
    """A daemon in a process of its own, unless one runs already; it is ended with this one."""
    if holder(layout.lock) is not None:
        sys.stderr.write("a daemon runs on this root already\n")
        yield
        return
    command = [sys.executable, "-m", "hotfolder", "run", "--root", str(layout.root)]
    # Ctrl-C is for this process alone, which ends the daemon in order.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
