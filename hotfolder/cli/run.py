"""`hotfolder run`."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from hotfolder.cli.display import Display
from hotfolder.config import loading
from hotfolder.config.root import find_root
from hotfolder.config.settings import Settings
from hotfolder.errors import ExitCode, HotfolderError, Interrupted, UsageError, raise_all
from hotfolder.executors.base import Executor
from hotfolder.folders.layout import Layout
from hotfolder.models.registry import ModelSpec
from hotfolder.status.live import Snapshot
from hotfolder.system.logs import log_briefly, log_to_stderr
from hotfolder.system.notification import Notifier
from hotfolder.types import Kind

if TYPE_CHECKING:
    from hotfolder.daemon.loop import Daemon
    from hotfolder.executors.local_devices import LocalDevice


def make_executor(settings: Settings, root: Path | None, *, every: bool = False) -> Executor:
    """The executor that the configuration names; it remembers what was judged in `root`.

    With `every` on every device that it names, else on one of this machine.
    """
    runner = settings.runner(Layout(root).database if root else None)
    if settings.executor.kind == "inline":
        from hotfolder.executors.inline import InlineExecutor

        return InlineExecutor(runner)
    from hotfolder.executors.local import LocalExecutor

    idle = settings.executor.idle_unload_seconds
    if settings.executor.kind == "ray" and every:
        from hotfolder.executors.ray_executor import RayExecutor

        probe = Layout(root).probe if root else None
        groups = settings.groups_needed()
        return RayExecutor(runner, idle, settings.executor.address, root=root, probe=probe, groups=groups)
    if every:
        return LocalExecutor(runner, idle, named_devices(settings))
    if settings.executor.devices == "auto" or settings.executor.device != "auto":
        return LocalExecutor(runner, idle)
    return LocalExecutor(runner, idle, named_devices(settings)[:1])


def named_devices(settings: Settings) -> Sequence[LocalDevice]:
    """The devices of this machine that the configuration names."""
    from hotfolder.executors.local_devices import count_cards, count_cores, local_devices

    executor = settings.executor
    is_open = executor.devices == "auto" and executor.device == "auto"
    return local_devices(executor.devices, executor.device, count_cards() if is_open else 0, count_cores())


def resolve_upscaler(settings: Settings) -> ModelSpec:
    """The configured upscaler. Raises ModelMissing or UsageError."""
    denoise = settings.upscale.denoise
    name = settings.upscale.model
    spec = settings.catalogue().resolve(name, Kind.UPSCALE, with_twin=denoise is not None)
    if denoise is not None and spec.twin is None:
        raise UsageError(
            f"model '{name}' has no twin to set the denoising with",
            "use realesr-general-x4v3, or leave denoise out",
        )
    return spec


def load_checked(root: Path, *, pull: bool = False) -> Settings:
    """The settings of a root whose models are known to be there; with `pull`, fetched if the settings say so.

    Raises ConfigError, ModelMissing or UsageError; DownloadFailed and the like only with `pull`.
    """
    settings = loading.load(root)
    if pull and settings.models.auto_pull:
        from hotfolder.cli.models import pull_missing

        pull_missing(settings, Notifier().alive)  # a start may take as long as that
    check_models(settings)
    return settings


def check_models(settings: Settings) -> None:
    """Whether every model that work may ask for is there. Raises ModelMissing or UsageError, for all that are not."""
    catalogue = settings.catalogue()
    found: dict[str, HotfolderError] = {}
    for each in (settings, *(settings.overridden(inbox.changes) for inbox in settings.inbox)):
        for kind, name in each.models_needed():
            try:
                if kind is Kind.UPSCALE:
                    resolve_upscaler(each)
                else:
                    catalogue.resolve(name, kind)
            except HotfolderError as error:
                found.setdefault(error.message, error)
    raise_all(list(found.values()))


def make_daemon(root: Path, settings: Settings, show: Callable[[Snapshot], None] | None) -> Daemon:
    """A daemon whose models are known to be there. Raises ModelMissing or UsageError before anything is begun."""
    from hotfolder.daemon.loop import Daemon  # other commands only want an executor

    check_models(settings)
    return Daemon(
        root, settings, make_executor(settings, root, every=True), show=show, load=lambda: load_checked(root)
    )


@contextlib.contextmanager
def stopped_by_signals(daemon: Daemon) -> Iterator[list[int]]:
    """The first SIGTERM or SIGINT ends the daemon in order, a second one at once; SIGHUP has it read its settings.

    Yields the signals to end that were received.
    """
    received: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise Interrupted("stopped at once", "what was in work is done again at the next start")
        daemon.stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_daemon(given: Path | None, *, once: bool, verbose: bool = False) -> ExitCode:
    on_terminal = sys.stderr.isatty()
    if on_terminal and not verbose:
        log_briefly()
    else:
        log_to_stderr(logging.INFO, "%(asctime)s %(levelname)-7s %(message)s")
    root = find_root(given, trusted=True)  # the log names it
    settings = load_checked(root, pull=True)
    if settings.output.umask:
        os.umask(int(settings.output.umask, 8))
    with contextlib.ExitStack() as stack:
        display = stack.enter_context(Display()) if on_terminal else None
        daemon = make_daemon(root, settings, display.show if display else None)
        signals = stack.enter_context(stopped_by_signals(daemon))
        report = daemon.run(once=once)
    if report.outdated:
        sys.stderr.write(f"error: {report.outdated.message}\n  fix: {report.outdated.fix}\n")
        return ExitCode.FAILURE
    if signals and (once or signals[0] == signal.SIGINT):
        return ExitCode.INTERRUPTED
    if once:
        sys.stderr.write(f"{report.done} done, {report.failed} failed\n")
        if report.paused:
            sys.stderr.write(f"error: stopped before the end: {report.paused}\n")
            return ExitCode.FAILURE
        if report.held:
            sys.stderr.write(
                f"error: {report.held} files wait: they, or the settings of their folder, could not be read\n"
            )
        if report.to_mend:
            sys.stderr.write(
                f"error: {report.to_mend} files or folders of the inboxes may not be read or moved by this user: "
                "hotfolder doctor\n"
            )
        if report.unplaced:
            sys.stderr.write(
                f"error: {report.unplaced} results wait, because their files cannot be moved: hotfolder status\n"
            )
        if report.failed or report.held or report.to_mend or report.unplaced:
            return ExitCode.PARTLY_FAILED
    return ExitCode.DONE
