"""Fixtures for all tests."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

# Several tests at a time: each has one core. Before torch is imported, here and in what the tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from hotfolder import masking
from hotfolder.daemon import schedule
from hotfolder.folders.layout import Layout
from tests.support.roots import new_root


def _precisions() -> str:
    from hotfolder.engines.device import has_native_bfloat16

    auto = os.environ.get("HOTFOLDER_EXECUTOR__PRECISION", "auto")
    native = "has it" if has_native_bfloat16() else "does not have it: it is emulated"
    return f"precisions: float32 and bfloat16 in tests of precision (this CPU {native}), '{auto}' in all others"


def pytest_report_header(config: pytest.Config) -> str | None:
    """Where others run the tests, they say it in the end: to import torch here would hold them up."""
    return None if config.getoption("numprocesses", None) else _precisions()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput") and "torch" in sys.modules:
        session.config.workeroutput["precisions"] = _precisions()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if told := getattr(node, "workeroutput", {}).get("precisions"):  # not all of them have imported torch
        node.config.stash[_TOLD] = told


#: Files of tests that take a minute and more, most of it waiting for a cluster.
_LONG = ("executors/test_contract.py", "faults/test_nodes.py")
_TOLD = pytest.StashKey[str]()
#: No test without the mark 'slow' may take so long; more than it should, because a machine may have other work.
_SLOW_SECONDS = 4.0
SHARED = Path(__file__).resolve().parents[2] / "shared"


def why_no_card() -> str | None:
    """Why nothing can be tested on a card here; None where it can."""
    import torch

    return None if torch.cuda.is_available() else "torch finds no NVIDIA GPU on this machine"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """The tests import every library there is: garbage is not looked for meanwhile."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _what_was_imported_stays() -> None:
    """What libraries are made of, a million objects, is not looked through each time a model is let go of."""
    gc.collect()
    gc.freeze()


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else ()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are marked 'cuda' are skipped where there is no card; what has to be alone comes first.

    Later it would wait for whatever the others have begun, and they for it. Then something short, meanwhile; then what
    waits for long, so that nobody waits for it in the end.
    """
    lonely = {item.path for item in items if item.get_closest_marker("alone") or "alone" in _fixtures(item)}

    def place(item: pytest.Item) -> int:
        folder, name = item.path.parts[-2:]
        return 0 if item.path in lonely else 1 if folder == "bench" else 2 if f"{folder}/{name}" in _LONG else 3

    items.sort(key=place)
    marked = [item for item in items if item.get_closest_marker("cuda")]
    reason = why_no_card() if marked else None  # torch is imported only where it is asked for
    for item in marked:
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is found out about networks is remembered for this run of the tests, not in the user's cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _nothing_learnt_of_memory() -> None:
    """Where the memory ran out in one test, it does not in the next; nor is one order of values better for that."""
    for name in ("memory.json", "channels-last.json"):
        (Path(os.environ["XDG_CACHE_HOME"]) / "hotfolder" / name).unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _no_secrets_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test's settings say is a secret is no secret of the next."""
    monkeypatch.setattr(masking, "_known", dict(masking._known))
    monkeypatch.setattr(masking, "_pattern", masking._pattern)


@pytest.fixture(autouse=True)
def _a_scan_that_was_held_up_puts_off_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one that took a second because the machine was busy, the next events would be heard nine seconds later."""
    monkeypatch.setattr(schedule, "_SCAN_SHARE", 1)
    monkeypatch.setattr(schedule, "_RESCAN_SHARE", 2)


@pytest.fixture
def heard_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon in this process reads its mailbox and inboxes in each turn of its loop, whether or not an event has
    come: what is asked while a batch is in work is known when the next one is chosen."""
    from hotfolder.daemon.scans import Scans

    monkeypatch.setattr(Scans, "inboxes_are_due", True)


class _Room:
    """What tests are in: many at a time, or one that has waited for all others, and lets none begin.

    Two locks: who waits for all others holds the turnstile, so that no others come in between.
    """

    def __init__(self, turnstile: IO[str], room: IO[str]) -> None:
        self._turnstile, self._room = turnstile, room

    def enter(self, mode: int) -> None:
        fcntl.flock(self._turnstile, fcntl.LOCK_EX)
        fcntl.flock(self._room, mode)
        fcntl.flock(self._turnstile, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        fcntl.flock(self._room, fcntl.LOCK_UN)  # or two who want to be alone would wait for each other
        self.enter(fcntl.LOCK_EX)
        yield
        fcntl.flock(self._room, fcntl.LOCK_SH)


@pytest.fixture(autouse=True)
def _room(request: pytest.FixtureRequest) -> Iterator[_Room | None]:
    """Tests that are marked 'alone' wait until no other runs, and let none begin. None where none can."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        yield None
        return
    place = Path(tempfile.gettempdir()) / f"hotfolder-tests-{run}"
    with place.with_suffix(".turnstile").open("w") as turnstile, place.with_suffix(".room").open("w") as room:
        made = _Room(turnstile, room)
        made.enter(fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH)
        yield made


@pytest.fixture
def alone(_room: _Room | None) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """For a part of a test: what the mark of this name is for all of it."""
    return _room.alone if _room is not None else contextlib.nullcontext


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the tests that ought to be marked 'slow', and says which precisions were tested."""
    if told := terminalreporter.config.stash.get(_TOLD, ""):
        terminalreporter.write_line(told)
    for report in terminalreporter.stats.get("passed", ()):
        if report.duration > _SLOW_SECONDS and "slow" not in report.keywords:
            terminalreporter.write_line(f"not marked slow, took {report.duration:.1f} s: {report.nodeid}")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A fresh root with the preset 'tiny'."""
    return new_root(tmp_path)


def _real_data(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable, SHARED / name))
    if not folder.is_dir():
        pytest.skip(f"no real {name} at {folder}; set {variable} to a folder that has them")
    return folder


@pytest.fixture(scope="session")
def real_images() -> Path:
    """A folder with photographs."""
    return _real_data("HOTFOLDER_TEST_IMAGES", "images")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """A folder with the weights of real models."""
    return _real_data("HOTFOLDER_TEST_WEIGHTS", "weights")
