"""Results are watched, too: what a person moved, renamed, took away or brought back, in whatever program."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core import naming
from hotfolder.core.companions import left_behind, renamed
from hotfolder.core.places import verdict_by_place
from hotfolder.core.whereabouts import Compared, Known, compare, recognise, to_be_read
from hotfolder.daemon.outbox import Outbox
from hotfolder.daemon.sources import Sources
from hotfolder.files.beneath import Beneath
from hotfolder.files.identity import facts_of, is_as_seen, is_same
from hotfolder.folders.layout import ARCHIVE, FAILED, INBOX, KEEP, REJECT, UPSCALED, Layout
from hotfolder.folders.scan import scan, sight_beneath
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.verdicts import Given
from hotfolder.ledger.whereabouts import Seen
from hotfolder.routing import ending
from hotfolder.transitions import Followed
from hotfolder.types import How, Judge, Sighting, StoredImage

log = logging.getLogger(__name__)
_FOLDERS = (KEEP, REJECT, UPSCALED, ARCHIVE, FAILED)
#: Images whose rows are read, or changed in one transaction, at a time.
_PAGE = 500
#: Seconds that contents are read for in one go, at least: the line has other work.
_READING = 1.0


class Results:
    """Has the ledger follow what lies in the folders of results. Nothing of a person's is touched."""

    def __init__(
        self,
        layout: Layout,
        settings: FolderSettings,
        ledger: Ledger,
        outbox: Outbox,
        sources: Sources,
    ) -> None:
        self.more = False  # contents are still to be read: the scan is to be done again soon
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._outbox = outbox
        self._sources = sources
        self._digests: dict[Sighting, str] = {}  # of files that are no known image's
        self._found: Mapping[str, Sighting] = {}

    def is_in_place(self, beneath: Beneath, image: StoredImage) -> bool:
        """Whether the file of an image is where the ledger has it."""
        there = beneath.identity(image.path)
        return there is not None and is_same(image.identity, there)

    def take_found(self) -> Mapping[str, Sighting]:
        """Every file that the last look found, by its path; once."""
        found, self._found = self._found, {}
        return found

    def scan(self, now: float) -> Iterator[None]:
        """Looks at every file once, and reads those that may be a missing one. Yields again and again.

        The cost is that of listing the folders; where one is missing, twice that: what is moved from a folder that is
        not listed yet to one that is, would be taken for gone. Raises EnvironmentTrouble, OSError.
        """
        if (yield from self._look(now, is_second=False)):
            yield from self._look(now, is_second=True)

    def _look(self, now: float, *, is_second: bool) -> Generator[None, None, bool]:
        """Whether some are missing that were there; these are gone when they are missing in a second look."""
        began = time.monotonic()
        self._outbox.publish()
        self.more = False
        with Beneath(self._layout.root) as beneath:
            found, unread = self._listed()
            self._found = dict(found)
            yield
            held = self._outbox.held_paths
            known = [
                each
                for each in self._ledger.whereabouts.known()
                if each.path.startswith((*(f"{folder}/" for folder in _FOLDERS), f"{INBOX}/"))
                and not each.path.startswith(unread)
                and each.path not in held
            ]
            for path in held:
                found.pop(path, None)
            for each in known:  # put back into its inbox, which is not listed here
                there = sight_beneath(beneath, each.path) if each.path.startswith(f"{INBOX}/") else None
                if there is not None:
                    found[each.path] = there
            yield
            device = facts_of(self._layout.private.stat()).device
            compared = compare(known, found, device)
            moved = dict(compared.moved)
            recognised = yield from self._recognised(beneath, compared, 2 * (time.monotonic() - began))
            if recognised is not None:
                moved.update(recognised)
            were, known_at = (
                {each.id: each.path for each in known if each.id in moved},
                {each.path for each in known},
            )
            left = left_behind(were.values(), found, known_at)
            yield from self._follow(beneath, compared.in_place, moved, left, found, now)
            yield from self._follow_placed(found, held, device)
            if recognised is None:
                return False
            lost = [each for each in compared.missing if each.id not in moved and not each.is_gone]
            if is_second:
                yield from self._lose(beneath, lost, now)
            return bool(lost)

    def _listed(self) -> tuple[dict[str, Sighting], tuple[str, ...]]:
        """Every file of the folders by its path, and the beginnings of paths that could not be looked at."""
        found: dict[str, Sighting] = {}
        unread: list[str] = []
        for folder in _FOLDERS:
            try:
                for sighting in scan(self._layout.root, folder, (), unread):
                    if naming.as_text(sighting.path) == sighting.path:
                        found[sighting.path] = sighting
            except OSError as error:
                log.debug("%s cannot be read: %s", folder, error)
                unread.append(folder)
        return found, tuple(part for path in unread for part in (path, f"{path}/"))

    def _recognised(
        self, beneath: Beneath, compared: Compared, seconds: float
    ) -> Generator[None, None, dict[int, Sighting] | None]:
        """Missing images by their content; None while not all that may be one has been read."""
        unknown = compared.unknown
        sizes = {there.size for there in unknown.values()}
        likely = [
            each.id
            for each in compared.missing
            if each.identity is None or each.identity.size in sizes or each.path in unknown
        ]
        missing = self._ledger.whereabouts.missing(likely) if likely else []
        wanted = [unknown[path] for path in to_be_read(missing, unknown)]
        self._digests = {there: self._digests[there] for there in wanted if there in self._digests}
        until = time.monotonic() + max(_READING, seconds)
        contents = {}
        for there in wanted:
            if there not in self._digests:
                if time.monotonic() > until:
                    self.more = True
                    return None
                yield
                digest = self._digest(beneath, there)
                if digest is None:
                    continue
                self._digests[there] = digest
            contents[there.path] = self._digests[there]
        return {image_id: unknown[path] for image_id, path in recognise(missing, contents).items()}

    def _digest(self, beneath: Beneath, there: Sighting) -> str | None:
        """The sha256 of a file that is no known one; None where it cannot be read, or is another one by now."""
        try:
            with beneath.open(there.path) as file:
                if not is_as_seen(there, file):
                    return None
                return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it is a reader
        except OSError as error:
            log.debug("%s cannot be read: %s", there.path, error)
            return None

    def _follow(
        self,
        beneath: Beneath,
        in_place: Mapping[int, Sighting],
        moved: Mapping[int, Sighting],
        left: Mapping[str, Sequence[str]],
        found: Mapping[str, Sighting],
        now: float,
    ) -> Iterator[None]:
        """The ledger says where they are, and what that means; what was `left` of them goes along."""
        follow: list[Followed] = []
        for page in _pages([*in_place, *moved]):
            images = {image.id: image for image in self._ledger.images.many(page)}
            seen = []
            for image_id in page:
                image, there = images[image_id], moved.get(image_id) or in_place[image_id]
                given = self._given(image, there.path) if image_id in moved else None
                seen.append(Seen(image_id, there.path, there.identity, given, self._moved_at(beneath, there, now)))
                if given is not None and image.drop_id is not None:
                    self._sources.ended.add(image.drop_id)  # perhaps nothing more is to be done of it
                if there.path != image.path:
                    follow += self._follows(image, there.path, left.get(image.path, ()), found)
                    log.info("%s is %s now, by hand", image.path, there.path)
            self._ledger.whereabouts.seen(seen, now)
            yield
        for _ in self._outbox.publish_now(follow):
            yield

    def _follow_placed(
        self, found: Mapping[str, Sighting], held: Container[str], device: int
    ) -> Generator[None, None, None]:
        """Dropped files in failed/ and archive/ that are called otherwise now; what is told of failures goes along."""
        placed = {each.id: each for each in self._ledger.whereabouts.placed() if each.path not in held}
        moved = compare(placed.values(), found, device).moved
        reports = [
            ending.followed(drop_id, report, naming.sidecar(there.path))
            for drop_id, there in moved.items()
            if (report := found.get(naming.sidecar(placed[drop_id].path))) is not None
        ]
        if moved:
            self._ledger.whereabouts.placed_at({drop_id: there.path for drop_id, there in moved.items()})
            yield
        for _ in self._outbox.publish_now(reports):
            yield

    def _given(self, image: StoredImage, path: str) -> Given | None:
        """What a person says of an image by moving it there."""
        verdict = verdict_by_place(image.path, path)
        if verdict is None:
            return None
        keep = self._settings.keep_at(image.source_file)
        return Given(verdict, Judge.PERSON, How.MOVED, gate_keep=keep, path_before=image.path)

    def _moved_at(self, beneath: Beneath, there: Sighting, now: float) -> float:
        """A rename sets the time of change, where the file system keeps one."""
        try:
            changed_at = beneath.lstat(there.path).st_ctime if there.inode else now
        except OSError:
            return now
        return min(changed_at, now)

    def _follows(
        self, image: StoredImage, path: str, left: Sequence[str], found: Mapping[str, Sighting]
    ) -> Iterator[Followed]:
        """What lies where the image was goes beside it, unless something is called so there."""
        old = image.path.rpartition("/")[2]
        folder, _, new = path.rpartition("/")
        for companion in left:
            beside = f"{folder}/{renamed(companion.rpartition('/')[2], old, new)}"
            if beside not in found:
                yield ending.followed(image.drop_id or 0, found[companion], beside)

    def _lose(self, beneath: Beneath, lost: Iterable[Known], now: float) -> Iterator[None]:
        gone = []
        for each in lost:
            there = beneath.identity(each.path)
            if there is not None and each.identity is not None and is_same(each.identity, there):
                continue  # it has come back while the folders were read
            gone.append(each.id)
            log.info("%s is gone: deleted, taken out of the root, or changed", each.path)
        for page in _pages(gone):
            self._ledger.whereabouts.lost(page, now)
            images = self._ledger.images.many(page)
            self._sources.ended.update(image.drop_id for image in images if image.drop_id is not None)
            yield


def _pages(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _PAGE):
        yield ids[start : start + _PAGE]
