"""Taking files: what lies in the inboxes, and what of it is finished."""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.root import FILE_NAME
from hotfolder.core import naming
from hotfolder.core.settle import Observation, Writers, observe, settle
from hotfolder.daemon.companions import Companions, Follower
from hotfolder.daemon.drop_jobs import DropJobs
from hotfolder.daemon.left_alone import LeftAlone
from hotfolder.daemon.sources import Sources
from hotfolder.errors import ConfigError, EnvironmentTrouble
from hotfolder.files.beneath import Beneath
from hotfolder.files.durable import sync_files
from hotfolder.files.trouble import explain
from hotfolder.folders.admission import RESTORED, TO_MEND, UNREADABLE, Refused, no_picture, refused
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import INBOX, Layout
from hotfolder.folders.lease import writers
from hotfolder.folders.scan import scan, sight, sight_beneath
from hotfolder.ledger.drops import Taken
from hotfolder.ledger.ledger import Ledger
from hotfolder.routing.router import Router
from hotfolder.types import Drop, Kind, Sighting

log = logging.getLogger(__name__)
#: Files taken at a time, in one transaction.
TAKE_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class TakeReport:
    """`next_at`: when the next file may be taken (seconds since the epoch), None if none waits.

    `new`: files, by their absolute paths, that were not there when the watch began: some event should have
    told of them. `followers` belong to pictures that have left, and are to go beside them.
    """

    next_at: float | None
    new: list[str] = field(default_factory=list)
    followers: list[Follower] = field(default_factory=list)


class Intake:
    """Knows what lies in the inboxes. The clock is an argument everywhere."""

    def __init__(
        self,
        layout: Layout,
        settings: FolderSettings,
        ledger: Ledger,
        router: Router,
        guard: Guard,
        sources: Sources,
        companions: Companions,
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._guard = guard
        self._sources = sources
        self._companions = companions
        self._jobs = DropJobs(layout, settings, router)
        self._new: set[str] = set()  # seen since the watch began: some event should have told of them
        self._left_alone = LeftAlone()
        self._no_pictures: dict[str, Sighting] = {}  # by their content, as they were seen
        self._restored: dict[str, Sighting] = {}  # a person had them put back
        self._said: set[str] = set()  # why files wait
        self._held: set[str] = set()  # complete, but they, or the settings of their folder, cannot be read
        self._seen: dict[str, tuple[Kind, Observation]] = {}  # not taken yet
        self._due: list[tuple[float, str]] = []  # a heap: when each may be finished
        self._open: dict[str, Drop] = {}  # taken, by path: read from the ledger at each scan

    @property
    def unsettled(self) -> int:
        """How many files are seen and not yet taken."""
        return len(self._seen)

    @property
    def held(self) -> int:
        """How many of them wait because they, or the settings of their folder, cannot be read."""
        return len(self._held)

    @property
    def left_alone(self) -> dict[str, int]:
        """How many files lie there and are not taken, by kind."""
        return self._left_alone.counts

    @property
    def to_mend(self) -> int:
        """How many of them, or folders, a person has to mend before they can be worked."""
        return sum(self.left_alone.get(kind, 0) for kind in TO_MEND)

    def scan(self, now: float, in_work: Container[int], held: Container[str], *, fresh: bool) -> None:
        """Reads all inboxes. A taken file that changed or is gone is given up, unless its drop is `in_work`.

        `held` are paths of files that wait to be moved: it is not known which file is where. `fresh`: the watch has
        just begun. Raises EnvironmentTrouble when an inbox cannot be read.
        """
        found: dict[str, tuple[Kind, Sighting]] = {}
        passed_over: dict[str, Refused] = {}
        unread: list[str] = []
        settings = self._settings.of_root
        ignore = (*settings.watch.ignore, FILE_NAME)
        self._open = {drop.sighting.path: drop for drop in self._ledger.drops.open()}
        for name, kind in settings.inboxes.items():
            folder = self._layout.inbox(name)
            try:
                self._guard.inbox(name)
                for sighting in scan(self._layout.root, f"{INBOX}/{name}", ignore, unread, passed_over):
                    found[sighting.path] = (kind, sighting)
            except OSError as error:
                raise EnvironmentTrouble(
                    f"{folder} cannot be read: {error.strerror}", "make it readable; the queue goes on by itself"
                ) from error
        passed_over.update(dict.fromkeys(unread, UNREADABLE))
        self._left_alone.keep(found, passed_over)
        for path, why in passed_over.items():
            self._left_alone.add(path, why)
        self._left_alone.say()
        self._look_into_former_inboxes(found, ignore, unread)
        self._companions.look(path for path, (kind, _) in found.items() if kind is not Kind.GENERATE)
        for path, drop in list(self._open.items()):
            there = found.get(path)
            if there is None and any(path == u or path.startswith(f"{u}/") for u in unread):
                continue  # it may well be there still
            if (there is None or there[1] != drop.sighting) and drop.id not in in_work:
                self._sources.give_up(drop, now)
                del self._open[path]
        self._leave_restored(found, unread)
        self._sources.look_again = False  # what is not as the ledger had it, is now
        if fresh:
            self._new.clear()
        else:
            new = found.keys() - self._seen.keys() - self._open.keys()
            self._new = (self._new & found.keys()) | new
        self._seen = {
            path: (kind, observe(self._seen[path][1] if path in self._seen else None, sighting, now))
            for path, (kind, sighting) in found.items()
            if path not in self._open and path not in held and not self._is_known(sighting)
        }
        self._no_pictures = {path: seen for path, seen in self._no_pictures.items() if path in found}
        self._held &= self._seen.keys()
        policy = settings.settle_policy()
        self._due = [
            (settle(seen, Writers.NONE, policy, now).look_again_at, path) for path, (_, seen) in self._seen.items()
        ]
        heapq.heapify(self._due)

    def _look_into_former_inboxes(
        self, found: dict[str, tuple[Kind, Sighting]], ignore: tuple[str, ...], unread: list[str]
    ) -> None:
        """What was taken from an inbox that the configuration has no more is finished; nothing new is taken there."""
        names = {path.split("/")[1]: drop.kind for path, drop in self._open.items()}
        for name in names.keys() - self._settings.of_root.inboxes.keys():
            folder = f"{INBOX}/{name}"
            try:
                for sighting in scan(self._layout.root, folder, ignore, unread):
                    if sighting.path in self._open:
                        found[sighting.path] = (names[name], sighting)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                log.debug("%s cannot be read: %s", folder, error)
                unread.append(folder)

    def _leave_restored(self, found: dict[str, tuple[Kind, Sighting]], unread: list[str]) -> None:
        """What a person had put back is not worked again, until it is taken out or changed."""
        self._restored = {}
        for drop in self._ledger.drops.restored():
            path = drop.sighting.path
            if path in found and found[path][1] == drop.sighting:
                self._restored[path] = drop.sighting
                self._left_alone.add(path, RESTORED)
            elif not any(path == u or path.startswith(f"{u}/") for u in unread):
                self._ledger.drops.end_restore(drop.id)
        self._left_alone.say()

    def _is_known(self, sighting: Sighting) -> bool:
        """Whether it is not to be taken, and that was found already: it waits for its picture, or is none itself."""
        if self._companions.picture_of(sighting.path) is not None:
            return self._companions.is_resting(sighting)
        return sighting in (self._no_pictures.get(sighting.path), self._restored.get(sighting.path))

    def take(self, now: float) -> TakeReport:
        """Takes files that are finished, so many at a time. Raises EnvironmentTrouble."""
        with Beneath(self._layout.root) as beneath:
            return self._take_ready(beneath, now)

    def _take_ready(self, beneath: Beneath, now: float) -> TakeReport:
        policy = self._settings.of_root.settle_policy()
        ready: list[tuple[Kind, Observation]] = []
        later: list[tuple[float, str]] = []
        while self._due and self._due[0][0] <= now and len(ready) < TAKE_AT_ONCE:
            _, path = heapq.heappop(self._due)
            if path not in self._seen:
                continue
            kind, seen = self._seen[path]
            decision = settle(seen, Writers.NONE, policy, now)
            if not decision.ready:  # nobody needs to ask the kernel
                later.append((decision.look_again_at, path))
                continue
            try:
                if sight_beneath(beneath, path) != seen.sighting:
                    raise FileNotFoundError(path)
                decision = settle(seen, writers(beneath, path), policy, now)
            except FileNotFoundError:
                # Gone or growing: seen anew now, so that the quiet time counts from here.
                self._resight(path, kind, now)
                later.append((now + policy.quiet_seconds, path))
                continue
            except OSError:
                later.append((now + policy.quiet_seconds_without_lease, path))
                continue
            if decision.ready:
                ready.append((kind, seen))
            else:
                later.append((decision.look_again_at, path))
        for each in later:
            heapq.heappush(self._due, each)
        new = [str(self._layout.root / s.sighting.path) for _, s in ready if s.sighting.path in self._new]
        self._new.difference_update(seen.sighting.path for _, seen in ready)
        ready = [each for each in ready if self._may_be_taken(beneath, each[1].sighting.path)]
        ready = [each for each in ready if not self._rename_to_text(beneath, each[1].sighting.path)]
        ready = [each for each in ready if not self._rests(beneath, *each)]
        followers = [found for each in ready if (found := self._follower(*each, now)) is not None]
        followed = {each.sighting.path for each in followers}
        ready = [each for each in ready if each[1].sighting.path not in followed]
        ready = [each for each in ready if self._is_picture(beneath, *each)]
        ready = [each for each in ready if self._settings_are_clear(each[1].sighting.path)]
        self._left_alone.say()
        try:
            self._take(beneath, ready, now)
        except EnvironmentTrouble:
            for _, seen in ready:
                heapq.heappush(self._due, (now, seen.sighting.path))
            raise
        return TakeReport(self._due[0][0] if self._due else None, new, followers)

    def _may_be_taken(self, beneath: Beneath, path: str) -> bool:
        """What cannot be moved out of its folder afterwards, or may be somebody else's, is not begun."""
        try:
            found = refused(beneath, path)
        except OSError as error:
            log.debug("%s cannot be looked at: %s", path, error)
            return False  # the next scan finds it, or not
        if found is None:
            self._left_alone.take_back(path)
            return True
        self._leave_alone(path, found)
        return False

    def _rests(self, beneath: Beneath, kind: Kind, seen: Observation) -> bool:
        """Whether it belongs to a picture beside it, and waits for that."""
        picture = self._companions.picture_of(seen.sighting.path)
        if kind is Kind.GENERATE or picture is None or not beneath.exists(picture):
            return False
        self._seen.pop(seen.sighting.path, None)
        self._left_alone.take_back(seen.sighting.path)
        self._companions.rest(seen.sighting)
        return True

    def _follower(self, kind: Kind, seen: Observation, now: float) -> Follower | None:
        if kind is Kind.GENERATE:
            return None
        found = self._companions.follower(seen.sighting, now)
        if found is not None:
            self._seen.pop(seen.sighting.path, None)
        return found

    def stays(self, sighting: Sighting, why: str) -> None:
        """It could not be put beside its picture, which has left: it stays until it is another file."""
        self._no_pictures[sighting.path] = sighting
        self._left_alone.add(sighting.path, Refused(why, "take it out of the inbox", "companions"))
        self._left_alone.say()

    def _is_picture(self, beneath: Beneath, kind: Kind, seen: Observation) -> bool:
        """What is none, and is not damaged either, would only fill failed/: it stays until it is another file."""
        path = seen.sighting.path
        try:
            why = no_picture(beneath, path, kind)
        except OSError as error:
            log.debug("%s cannot be looked into: %s", path, error)
            return True  # whoever works it says why
        if why is None:
            return True
        self._no_pictures[path] = seen.sighting
        self._leave_alone(path, why)
        return False

    def _settings_are_clear(self, path: str) -> bool:
        """While the configuration of its folder cannot be understood, a file waits; once it is, it is taken."""
        try:
            self._settings.of(path)
        except ConfigError as error:
            self._held.add(path)
            if error.message not in self._said:
                self._said.add(error.message)
                for each in error.each:
                    log.error("what lies beside it waits: %s (%s)", each.message, each.fix)
            return False
        self._held.discard(path)
        return True

    def _leave_alone(self, path: str, why: Refused) -> None:
        self._seen.pop(path, None)
        self._left_alone.add(path, why)

    def _rename_to_text(self, beneath: Beneath, path: str) -> bool:
        """A name that is no UTF-8 gets one that is: the ledger, and whatever reads it, holds text.

        Whether there was anything to do; the next scan sees the file anew, and what belongs to it.
        """
        wanted = naming.as_text(path)
        if wanted == path:
            return False
        self._seen.pop(path)
        for number in itertools.count():
            new = naming.numbered(wanted, number)
            try:
                beneath.rename(path, new)
            except FileExistsError:
                continue
            except FileNotFoundError:
                return True
            except OSError as error:
                self._leave_alone(path, Refused(f"it cannot be renamed to UTF-8: {error.strerror}", "rename it"))
                return True
            break
        log.info("renamed to %s: %s is not UTF-8", new, path)
        self._sources.look_again = True
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

    def _take(self, beneath: Beneath, ready: Sequence[tuple[Kind, Observation]], now: float) -> None:
        if not ready:
            return
        try:
            # Before the ledger says that they are there: what a power cut takes away must not have been judged.
            sync_files(beneath, [seen.sighting.path for _, seen in ready])
        except OSError as error:
            raise explain(error) from error
        taken = []
        for kind, seen in ready:
            path = seen.sighting.path
            try:
                taken.append(Taken(kind, seen.sighting, seen.since, self._jobs.of(kind, seen.sighting)))
            except EnvironmentTrouble as trouble:
                self._wait_for(path, trouble, now)
        for each, drop_id in zip(taken, self._ledger.drops.add(taken, now), strict=True):
            path = each.sighting.path
            self._open[path] = Drop(drop_id, each.kind, each.sighting, each.seen_at)
            self._seen.pop(path, None)
            if all(job.error for job in each.jobs):
                self._sources.ended.add(drop_id)
            log.info("taken: %s (%d job%s)", path, len(each.jobs), "" if len(each.jobs) == 1 else "s")

    def _wait_for(self, path: str, trouble: EnvironmentTrouble, now: float) -> None:
        """A file that cannot be read just now waits; the others do not."""
        self._held.add(path)
        if trouble.message not in self._said:
            self._said.add(trouble.message)
            log.error("%s waits: %s (%s)", path, trouble.message, trouble.fix)
        heapq.heappush(self._due, (now + self._settings.of_root.retry.pause_seconds, path))
