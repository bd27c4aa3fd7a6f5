"""Telling people and programs what happened: hooks, and messages by apprise. Never in the way of the work."""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hotfolder.sections import HookSettings, NotifySettings

log = logging.getLogger(__name__)
#: Events that may wait; more are left out, and counted.
_MOST_WAITING = 1000
#: Examples in a message that speaks of several events.
_EXAMPLES = 3
_TITLES = {"keep": "kept", "failed": "failed", "idle": "all done", "paused": "paused"}


class Herald:
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
        self._closing = threading.Event()
        self.change(hooks, notify)

    def change(self, hooks: HookSettings, notify: NotifySettings) -> None:
        """From now on, by other settings."""
        self._hooks, self._notify = hooks, notify

    def tell(self, event: str, facts: Mapping[str, Any]) -> None:
        """`event` is keep, failed, idle or paused; `facts` can be JSON. Returns at once."""
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
        """Waits so long for what is still to be told."""
        if self._thread is not None:
            self._closing.set()
            try:
                self._queue.put(None, timeout=seconds)
            except queue.Full:
                return
            self._thread.join(seconds)

    def _hook(self, event: str) -> tuple[str, ...]:
        command: tuple[str, ...] = getattr(self._hooks, f"on_{event}")
        return command

    def _work(self) -> None:
        while True:
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
            if command := self._hook(event):
                self._run(command, facts)
            if self._notify.urls and event in self._notify.on:
                self._untold.append(told)

    def _run(self, command: tuple[str, ...], facts: Mapping[str, Any]) -> None:
        try:
            done = subprocess.run(
                command, input=json.dumps(facts) + "\n", text=True, timeout=self._hooks.timeout_seconds,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, errors="replace",
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            log.warning("hook %s took more than %g s and was ended", command[0], self._hooks.timeout_seconds)
        except (OSError, ValueError) as error:
            log.warning("hook %s cannot be run: %s", command[0], error)
        else:
            if done.returncode:
                said = done.stderr.strip().splitlines()
                log.warning("hook %s ended with %d: %s", command[0], done.returncode, said[-1] if said else "")

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
                log.warning("notify.urls: apprise does not understand %s", url.partition("://")[0] + "://…")
        try:
            if not sender.notify(title=title, body=body):
                log.warning("a message could not be sent to every one of notify.urls")
        except Exception as error:  # noqa: BLE001 - of some service's plugin
            log.warning("a message could not be sent: %s", error)


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
