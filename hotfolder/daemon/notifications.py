"""Telling people and programs what happened: hooks, and messages by apprise. Never in the way of the work."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hotfolder.config.sections.notifications import HookSettings, NotifySettings
from hotfolder.masking import masked

log = logging.getLogger(__name__)
#: Events that may wait; more are left out, and counted.
_MOST_WAITING = 1000
#: Examples in a message that speaks of several events.
_EXAMPLES = 3
_TITLES = {"keep": "kept", "failed": "failed", "idle": "all done", "paused": "paused", "device": "devices"}


class Notifications:
    """Runs hooks and sends messages, one after the other, on a thread of its own.

    Whatever goes wrong with them is logged and otherwise ignored.
    """

    def __init__(self, root: str, hooks: HookSettings, notify: NotifySettings) -> None:
        self._root = root
        self._queue: queue.Queue[tuple[str, Mapping[str, Any]] | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._left_out = 0
        self._untold: list[tuple[str, Mapping[str, Any]]] = []
        self._sent_at = float("-inf")
        self._closing, self._over = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.change(hooks, notify)

    def change(self, hooks: HookSettings, notify: NotifySettings) -> None:
        """From now on, by other settings."""
        self._hooks, self._notify = hooks, notify

    def tell(self, event: str, facts: Mapping[str, Any]) -> None:
        """`event` is keep, failed, idle, paused or device; `facts` can be JSON. Returns at once."""
        if not (self._hook(event) or (self._notify.urls and event in self._notify.on)):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="herald", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((event, {"schema_version": 1, "event": event, "root": self._root, **facts}))
        except queue.Full:
            self._left_out += 1
            if self._left_out == 1:
                log.warning("hooks are slower than what they are told of: some events are left out")

    def close(self, seconds: float) -> None:
        """Waits so long for what is still to be told; then a program that runs is ended, and the rest left out."""
        if self._thread is None:
            return
        deadline = time.monotonic() + seconds
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._over.set()
            if (process := self._process) is not None:
                _end(process)
            log.warning("hooks took too long for the end: %d events were not told", self._queue.qsize())

    def _hook(self, event: str) -> tuple[str, ...]:
        command: tuple[str, ...] = getattr(self._hooks, f"on_{event}")
        return command

    def _work(self) -> None:
        while not self._over.is_set():
            wait = None
            if self._untold:
                wait = (
                    0 if self._closing.is_set() else self._sent_at + self._notify.every_seconds - time.monotonic()
                )
            try:
                told = self._queue.get(timeout=wait) if wait is None or wait > 0 else self._queue.get_nowait()
            except queue.Empty:
                self._send()
                continue
            if told is None:
                self._send()
                return
            event, facts = told
            if self._notify.urls and event in self._notify.on:
                self._untold.append(told)
            if command := self._hook(event):
                if self._is_due():  # before a program that may take its time
                    self._send()
                self._run(command, facts)

    def _is_due(self) -> bool:
        return bool(self._untold) and time.monotonic() - self._sent_at >= self._notify.every_seconds

    def _run(self, command: tuple[str, ...], facts: Mapping[str, Any]) -> None:
        """Its output goes to a file: a child that it leaves behind may hold a pipe for ever."""
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as told:
            told.write(json.dumps(facts).encode() + b"\n")
            told.seek(0)
            try:
                process = subprocess.Popen(
                    command, stdin=told, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
                )
            except (OSError, ValueError) as error:
                log.warning("hook %s cannot be run: %s", command[0], getattr(error, "strerror", None) or error)
                return
            self._process = process
            try:
                code = process.wait(self._hooks.timeout_seconds)
            except subprocess.TimeoutExpired:
                _end(process)
                log.warning("hook %s took more than %g s and was ended", command[0], self._hooks.timeout_seconds)
                return
            finally:
                self._process = None
            if code and not self._over.is_set():
                said.seek(max(0, said.seek(0, os.SEEK_END) - 2000))
                lines = said.read().decode(errors="replace").strip().splitlines()
                log.warning("hook %s ended with %d%s", command[0], code, f": {lines[-1]}" if lines else "")

    def _send(self) -> None:
        untold, self._untold = self._untold, []
        self._sent_at = time.monotonic()
        if not untold:
            return
        try:
            import apprise
        except ImportError:
            log.warning("notify.urls is set and apprise is not installed: uv pip install 'hotfolder[notify]'")
            return
        title, body = message(untold)
        sender = apprise.Apprise()
        for url in self._notify.urls:
            if not sender.add(url):
                log.warning("notify.urls: apprise does not understand %s", masked(url))
        try:
            if not sender.notify(title=title, body=body):
                log.warning("a message could not be sent to every one of notify.urls")
        except Exception as error:  # noqa: BLE001 - of some service's plugin
            log.warning("a message could not be sent: %s", error)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a program and what it has started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def message(events: list[tuple[str, Mapping[str, Any]]]) -> tuple[str, str]:
    """Title and text for what happened since the last message."""
    counts = Counter(event for event, _ in events)
    title = "hotfolder: " + ", ".join(
        _TITLES[event] if event in ("idle", "paused") else f"{count} {_TITLES[event]}"
        for event, count in counts.items()
    )
    lines = []
    for event in counts:
        facts = [told for kind, told in events if kind == event]
        lines += [_line(event, told) for told in facts[:_EXAMPLES]]
        if len(facts) > _EXAMPLES:
            lines.append(f"… and {len(facts) - _EXAMPLES} more")
    return title, "\n".join(lines)


def _line(event: str, facts: Mapping[str, Any]) -> str:
    if event == "keep":
        return f"{facts['path']}  {facts['score']:.2f}"
    if event == "failed":
        return f"{facts['source_file']}: {facts['error']['message']}"
    return str(facts.get("reason") or f"{facts.get('done', 0)} done, {facts.get('failed', 0)} failed")
