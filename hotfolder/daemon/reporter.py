"""Telling what the daemon does: the snapshot, systemd, hooks and messages."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hotfolder.config.settings import Settings
from hotfolder.daemon.devices import DeviceNews
from hotfolder.daemon.metrics import Metrics
from hotfolder.daemon.notifications import Notifications
from hotfolder.daemon.outbox import Event
from hotfolder.daemon.pauses import gist
from hotfolder.errors import EnvironmentTrouble
from hotfolder.folders.layout import Layout
from hotfolder.printable import printable
from hotfolder.status import live
from hotfolder.system.logs import brief
from hotfolder.system.notification import Notifier
from hotfolder.types import ErrorInfo, Job, Kind

log = logging.getLogger(__name__)
_DOING = {Kind.GENERATE: "drawing", Kind.SCORE: "scoring", Kind.UPSCALE: "enlarging"}
#: Longest wait, in seconds, for hooks and messages that are still to be run at the end.
_END_SECONDS = 10.0
#: Seconds before people are told again of the same pause.
_TOLD_AGAIN = 600.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to."""

    done: int
    failed: int
    paused: str | None  # what stopped a run with `once` before it was through
    held: int = 0  # files that wait because they, or the settings of their folder, cannot be read
    to_mend: int = 0  # files and folders of the inboxes that this user may not read or move
    unplaced: int = 0  # results that wait because a file cannot be put into its place
    outdated: ErrorInfo | None = None  # it ended because the program was changed


class Reporter:
    """`show` is a display on a terminal, if there is one."""

    def __init__(self, layout: Layout, settings: Settings, show: Callable[[live.Snapshot], None] | None) -> None:
        self._notifier = Notifier()
        self._notifications = Notifications(str(layout.root), settings.hooks, settings.notify)
        self._metrics = Metrics(layout.root, layout.database, settings.metrics.textfile)
        self._live = live.Live(layout.live_status, show, lambda told: self._notifier.status(live.line(told)))
        self._told_pauses: dict[str, float] = {}  # why it was paused -> when somebody was told
        self._told_idle_at = 0  # jobs that had ended, when it was told last that all is done

    @property
    def is_late(self) -> bool:
        """The last snapshot came too soon after another one, and was passed over."""
        return self._live.is_late

    def settings_changed(self, settings: Settings) -> None:
        self._notifications.change(settings.hooks, settings.notify)
        self._metrics.change(settings.metrics.textfile)

    def begin(self) -> None:
        """The root is this daemon's from now on."""
        self._live.begin()

    def starting(self) -> None:
        """A long step of the start is going on."""
        self._notifier.alive()

    def ready(self) -> None:
        self._notifier.ready()

    def reloading(self) -> None:
        self._notifier.reloading()

    def stopping(self) -> None:
        self._notifier.stopping()

    def finishing(self, in_work: Sequence[Job], open_jobs: int, untaken: int) -> None:
        """What a stop waits for, and what it leaves to the next start: jobs, and files that are not taken yet."""
        counts = {"jobs": open_jobs - len(in_work), "files that are not taken yet": untaken}
        left = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
        waits = f"{left} wait for the next start" if left else "nothing else waits"
        if in_work:
            doing, file = _DOING[in_work[0].kind], in_work[0].source or in_work[0].source_file
            now = f"the image in work is finished first ({doing}, {printable(file)}), "
            hint = ". Once more, and it stops at once"
        else:
            now = hint = ""
        said = f"stopping: {now}{waits}{hint}"
        log.info("%s", said, extra=brief(said))

    def alive(self, *, loading: bool) -> None:
        """The loop makes progress: nobody has to fear that it is stuck. `loading`: a model is being loaded."""
        self._notifier.alive(loading=loading)

    def snapshot(self, now: float, make: Callable[[], live.Snapshot], *, force: bool = False) -> None:
        with contextlib.suppress(EnvironmentTrouble):  # of the database; whoever writes it next says so
            self._live.update(now, make, force=force)
            self._metrics.update(now, make, force=force)

    def events(self, events: list[Event]) -> None:
        """What was kept, and what failed."""
        for event in events:
            self._notifications.tell(event.name, event.facts)

    def device(self, news: DeviceNews) -> None:
        """One of several was set aside, or works again."""
        state = "works again" if news.is_back else f"is set aside: {news.reason}"
        self._notifications.tell(
            "device",
            {"device": news.device, "is_back": news.is_back, "reason": f"{news.device} {state}"},
        )

    def paused(self, reason: str) -> None:
        """Nothing is begun any more: people are told once, and again after a while."""
        now = time.monotonic()
        if now - self._told_pauses.get(gist(reason), -_TOLD_AGAIN) >= _TOLD_AGAIN:
            self._told_pauses[gist(reason)] = now
            self._notifications.tell("paused", {"reason": reason})

    def is_news(self, done: int, failed: int) -> bool:
        """Whether some job has ended since it was told last that all is done."""
        return done + failed != self._told_idle_at

    def idle(self, done: int, failed: int) -> None:
        """All is done."""
        self._notifications.tell("idle", {"done": done, "failed": failed})
        self._told_idle_at = done + failed

    def close(self, *, orderly: bool) -> None:
        self._notifications.close(_END_SECONDS if orderly else 0)
        if orderly:  # else it may be another daemon's by now. Last: without it, it would seem to be starting
            self._live.clear()
            self._metrics.close(time.time())
