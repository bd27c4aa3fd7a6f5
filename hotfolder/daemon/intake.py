"""Taking files: what lies in the inboxes, what of it is finished, and what it asks for."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.root import FILE_NAME
from hotfolder.core import naming
from hotfolder.core.settle import Observation, Writers, observe, settle
from hotfolder.errors import ConfigError, EnvironmentTrouble, HotfolderError, PromptSyntax, Vanished
from hotfolder.files.moves import rename_noreplace
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import Layout
from hotfolder.folders.lease import writers
from hotfolder.folders.scan import scan, sight
from hotfolder.ledger.ledger import Ledger
from hotfolder.prompt_files.checking import PromptCheck
from hotfolder.prompt_files.reading import read_specs
from hotfolder.prompt_files.wildcards import WildcardLists
from hotfolder.routing.router import Router
from hotfolder.types import Drop, Kind, NewJob, PromptSpec, Sighting

log = logging.getLogger(__name__)
#: Files taken in one transaction.
TAKE_AT_ONCE = 500


class Intake:
    """Knows what lies in the inboxes. The clock is an argument everywhere.

    `found` is told the path of each file that is taken and did not lie there when the watch began, `alive` that many
    files are on their way in.
    """

    def __init__(
        self,
        layout: Layout,
        folder_settings: FolderSettings,
        ledger: Ledger,
        line: Router,
        guard: Guard,
        *,
        found: Callable[[str], None],
        alive: Callable[[], None],
    ) -> None:
        self._layout = layout
        self._guard = guard
        self._found = found
        self._alive = alive
        self._untold: set[str] = set()  # seen since the watch began: some event should have told of them
        self._folder_settings = folder_settings
        self._ledger = ledger
        self._line = line
        self._left_alone: set[str] = set()  # said already
        self._held: set[str] = set()  # complete, but the settings of their folder are not understood
        self._ended: set[int] = set()
        self._seen: dict[str, tuple[Kind, Observation]] = {}
        self._open = {drop.sighting.path: drop for drop in ledger.open_drops()}

    @property
    def unsettled(self) -> int:
        """How many files are seen and not yet taken."""
        return len(self._seen)

    @property
    def held(self) -> int:
        """How many of them wait for the settings of their folder to be mended."""
        return len(self._held)

    def scan(self, now: float, is_running: Callable[[Drop], bool], *, fresh: bool) -> None:
        """Reads all inboxes. A taken file that changed or is gone is given up, unless it is in work just now.

        `fresh`: the watch has just begun. Raises EnvironmentTrouble when an inbox cannot be read.
        """
        found: dict[str, tuple[Kind, Sighting]] = {}
        unread: list[str] = []
        ignore = (*self._folder_settings.settings.watch.ignore, FILE_NAME)
        for name, kind in self._folder_settings.settings.inboxes.items():
            folder = self._layout.inbox(name)
            try:
                self._guard.inbox(name)
                for sighting in scan(self._layout.root, folder, ignore, unread):
                    found[sighting.path] = (kind, sighting)
            except OSError as error:
                raise EnvironmentTrouble(
                    f"{folder} cannot be read: {error.strerror}", "make it readable; the queue goes on by itself"
                ) from error
        self._look_into_former_inboxes(found, ignore, unread)
        for path, drop in list(self._open.items()):
            there = found.get(path)
            if there is None and any(path == u or path.startswith(f"{u}/") for u in unread):
                continue  # it may well be there still
            if (there is None or there[1] != drop.sighting) and not is_running(drop):
                self.give_up(drop, now)
        if fresh:
            self._untold.clear()
        else:
            new = found.keys() - self._seen.keys() - self._open.keys()
            self._untold = (self._untold & found.keys()) | new
        self._seen = {
            path: (kind, observe(self._seen[path][1] if path in self._seen else None, sighting, now))
            for path, (kind, sighting) in found.items()
            if path not in self._open
        }

    def _look_into_former_inboxes(
        self, found: dict[str, tuple[Kind, Sighting]], ignore: tuple[str, ...], unread: list[str]
    ) -> None:
        """What was taken from an inbox that the configuration has no more is finished; nothing new is taken there."""
        names = {path.split("/")[1]: drop.kind for path, drop in self._open.items()}
        for name in names.keys() - self._folder_settings.settings.inboxes.keys():
            folder = self._layout.inbox(name)
            if folder.is_dir():
                for sighting in scan(self._layout.root, folder, ignore, unread):
                    if sighting.path in self._open:
                        found[sighting.path] = (names[name], sighting)

    def give_up(self, drop: Drop, now: float) -> None:
        """The dropped file changed or was taken away: what is queued of it is cancelled."""
        error = Vanished(
            f"{drop.sighting.path} changed or was taken away", "it is taken anew if it is there"
        ).info()
        self._ledger.forget_drop(drop.id, error, now)
        self._ended.add(drop.id)
        held = self._open.get(drop.sighting.path)
        if held is not None and held.id == drop.id:
            del self._open[drop.sighting.path]
        log.info("%s changed or was taken away before it was done", drop.sighting.path)

    def closed(self, drop_id: int) -> None:
        """The daemon has placed the file of this drop."""
        self._open = {path: drop for path, drop in self._open.items() if drop.id != drop_id}

    def ended(self) -> set[int]:
        """Drops that ended without a job's doing since this was asked last: nothing to do, or taken away."""
        found, self._ended = self._ended, set()
        return found

    def reopened(self, drop: Drop) -> None:
        """The file of this drop is back in its inbox, and its jobs in the queue."""
        self._open[drop.sighting.path] = drop
        self._seen.pop(drop.sighting.path, None)

    def unchanged(self, drop: Drop) -> bool:
        """Whether the dropped file still is what was taken."""
        try:
            return sight(self._layout.root, drop.sighting.path) == drop.sighting
        except OSError as error:
            log.debug("%s cannot be looked at: %s", drop.sighting.path, error)
            return True  # it may well be: nothing is given up for a folder that cannot be read just now

    def take(self, now: float) -> float | None:
        """Takes every file that is finished; gives the moment when the next may be, None if none waits."""
        policy, ready, look_again = self._folder_settings.settings.settle_policy(), [], []
        for path, (kind, seen) in list(self._seen.items()):
            decision = settle(seen, Writers.NONE, policy, now)
            if not decision.ready:  # nobody needs to ask the kernel
                look_again.append(decision.look_again_at)
                continue
            try:
                if sight(self._layout.root, path) != seen.sighting:
                    raise FileNotFoundError(path)
                decision = settle(seen, writers(self._layout.root / path), policy, now)
            except FileNotFoundError:
                # Gone or growing: seen anew now, so that the quiet time counts from here.
                self._resight(path, kind, now)
                look_again.append(now + policy.quiet_seconds)
                continue
            except OSError:
                look_again.append(now + policy.quiet_seconds_without_lease)
                continue
            if decision.ready:
                ready.append((kind, seen))
            else:
                look_again.append(decision.look_again_at)
        for _, seen in ready:
            if seen.sighting.path in self._untold:
                self._untold.discard(seen.sighting.path)
                self._found(str(self._layout.root / seen.sighting.path))
        ready = [each for each in ready if self._may_be_moved(each[1].sighting.path)]
        self._held &= self._seen.keys()
        ready = [each for each in ready if self._rules_are_clear(each[1].sighting.path)]
        text = [each for each in ready if not self._rename_to_text(each[1].sighting.path)]
        if len(text) < len(ready):
            look_again.append(now)  # under their new names
        for start in range(0, len(text), TAKE_AT_ONCE):
            self._take(text[start : start + TAKE_AT_ONCE], now)
            self._alive()
        return min(look_again, default=None)

    def _may_be_moved(self, path: str) -> bool:
        """What cannot be moved out of its folder afterwards is not begun."""
        if os.access((self._layout.root / path).parent, os.W_OK | os.X_OK):
            self._left_alone.discard(path)
            return True
        self._leave_alone(path, "its folder may not be written by this user")
        return False

    def _rules_are_clear(self, path: str) -> bool:
        """While the configuration of its folder cannot be understood, a file waits; once it is, it is taken."""
        try:
            self._folder_settings.of(path)
        except ConfigError as error:
            self._held.add(path)
            if error.message not in self._left_alone:
                self._left_alone.add(error.message)
                log.error("what lies beside it waits: %s (%s)", error.message, error.fix)
            return False
        self._held.discard(path)
        return True

    def _leave_alone(self, path: str, why: str) -> None:
        self._seen.pop(path, None)
        if path not in self._left_alone:
            self._left_alone.add(path)
            log.warning("%s is left alone: %s", path, why)

    def _rename_to_text(self, path: str) -> bool:
        """A name that is no UTF-8 gets one that is: the ledger, and whatever reads it, holds text.

        Whether there was anything to do; the file is then seen anew.
        """
        wanted = naming.as_text(path)
        if wanted == path:
            return False
        kind, _ = self._seen.pop(path)
        root = self._layout.root
        for number in itertools.count():
            new = naming.numbered(wanted, number)
            try:
                (root / new).parent.mkdir(parents=True, exist_ok=True)
                rename_noreplace(root / path, root / new)
            except FileExistsError:
                continue
            except FileNotFoundError:
                return True
            except OSError as error:
                self._leave_alone(path, f"it cannot be renamed to UTF-8: {error.strerror}")
                return True
            break
        log.info("renamed to %s: %s is not UTF-8", new, path)
        again = sight(root, new)
        if again is not None:
            self._seen[new] = (kind, Observation(again, again.mtime_ns / 1e9))
        return True

    def _resight(self, path: str, kind: Kind, now: float) -> None:
        try:
            again = sight(self._layout.root, path)
        except OSError:
            return
        if again is None:
            del self._seen[path]
        else:
            self._seen[path] = (kind, observe(self._seen[path][1], again, now))

    def _take(self, ready: Sequence[tuple[Kind, Observation]], now: float) -> None:
        taken = [(kind, seen.sighting, seen.since, self._jobs(kind, seen.sighting.path)) for kind, seen in ready]
        for (kind, sighting, since, jobs), drop_id in zip(taken, self._ledger.add_drops(taken, now), strict=True):
            self._open[sighting.path] = Drop(drop_id, kind, sighting, since)
            self._seen.pop(sighting.path, None)
            if all(job.error for job in jobs):
                self._ended.add(drop_id)
            log.info("taken: %s (%d job%s)", sighting.path, len(jobs), "" if len(jobs) == 1 else "s")

    def _jobs(self, kind: Kind, path: str) -> list[NewJob]:
        if kind is not Kind.GENERATE:
            return self._line.first_jobs(kind, path)
        told: HotfolderError
        try:
            return self._line.prompt_jobs(path, list(self._read_prompts(path)))
        except HotfolderError as error:
            told = error
        except Exception as error:
            log.warning("%s: unexpected %s", path, type(error).__name__, exc_info=error)
            told = PromptSyntax(f"{Path(path).name} cannot be read: {error}", "simplify it, or report this")
        # Recorded as a job that failed, so that the queue shows it and the file goes the usual way.
        return [NewJob(kind, self._folder_settings.settings.generate.model, error=told.info())]

    def _read_prompts(self, path: str) -> Iterator[PromptSpec]:
        """The images that a prompt file, or a generated image, asks for, with the configuration's defaults."""
        name = Path(path).name
        settings = self._folder_settings.of(path)
        check = PromptCheck(self._layout, self._folder_settings.catalogue, settings)
        specs = read_specs(self._layout.root / path, WildcardLists(self._layout))
        for spec in specs:
            place = f"{name}:{spec.line or 1}:" if len(specs) > 1 else f"{name}:"
            yield check.completed(place, spec)
