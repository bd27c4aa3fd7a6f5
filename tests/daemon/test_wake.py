"""A signal may come at any moment, also while the loop is about to wait."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hotfolder.daemon.wake import Wake
from hotfolder.folders.layout import Layout
from tests.support.live import REPOSITORY
from tests.support.roots import daemon
from tests.support.scripted import ScriptedExecutor, always

#: A signal comes at each line of what an event does.
_INTERRUPTED = """
import signal, sys, threading
from hotfolder.daemon.wake import Wake

event, handled, is_handling = {event}(), 0, False

def handle(*_):
    global handled, is_handling
    is_handling = True
    event.set()
    handled, is_handling = handled + 1, False

def trace(frame, *_):
    if not is_handling and frame.f_code.co_filename.endswith(("threading.py", "wake.py")):
        signal.raise_signal(signal.SIGUSR1)
    return trace

signal.signal(signal.SIGUSR1, handle)
sys.settrace(trace)
for _ in range(3):
    event.clear()
    event.wait(0.01)
    event.set()
    event.wait(0.01)
sys.settrace(None)
print(handled > 20 and event.is_set())
"""


def interrupted(event: str, seconds: float) -> str:
    words = [sys.executable, "-c", _INTERRUPTED.format(event=event)]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=seconds).stdout


def test_it_is_set_by_a_signal_that_comes_at_any_moment() -> None:
    assert interrupted("Wake", 120) == "True\n"
    with pytest.raises(subprocess.TimeoutExpired):  # so that this can fail
        interrupted("threading.Event", 1)


def test_it_is_what_an_event_is() -> None:
    wake = Wake()
    wake.clear()
    assert not wake.wait(0.001) and not wake.wait(-1)
    threading.Timer(0.01, wake.set).start()
    assert wake.wait() and wake.wait(0) and wake.is_set()
    wake.set()
    wake.clear()
    assert not wake.is_set()


def test_it_leaves_no_handle() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        Wake().set()
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 5


def test_all_that_signals_set_in_a_daemon_is_such_a_one(layout: Layout) -> None:
    line = daemon(layout, ScriptedExecutor(always(6.6)))
    events = [each for each in vars(line).values() if isinstance(each, threading.Event)]
    assert [type(each) for each in events] == [Wake] * 3
