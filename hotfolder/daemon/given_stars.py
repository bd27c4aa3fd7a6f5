"""Stars that a person gives are a verdict: in another program, in a sidecar beside a result; or by a key, here."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.companions import pairs
from hotfolder.core.places import why_not_judged
from hotfolder.core.stars import Rated, stars_for, verdict_of
from hotfolder.daemon.ratings import Ratings
from hotfolder.daemon.results import Results
from hotfolder.daemon.verdicts import Told, Verdicts
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import KEEP, REJECT, UPSCALED, Layout
from hotfolder.imaging.sidecars import packet_at, rating_in
from hotfolder.ledger.actions import Starred
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import How, Judge, Sighting, StoredImage, Verdict

log = logging.getLogger(__name__)
_FOLDERS = (KEEP, REJECT, UPSCALED)
#: Sidecars that are read between two looks at everything else.
_PAGE = 200


@dataclass(frozen=True, slots=True)
class _Given:
    image: StoredImage
    stars: int
    verdict: Verdict | None


class GivenStars:
    """Reads sidecars that are new or have changed, and compares their stars with those that are known.

    As many as the gate's threshold would get keep an image, and -1 rejects it; fewer say nothing, and stay with it.
    """

    def __init__(
        self,
        layout: Layout,
        settings: FolderSettings,
        ledger: Ledger,
        results: Results,
        verdicts: Verdicts,
        ratings: Ratings,
        clock: Callable[[], float],
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._results = results
        self._verdicts = verdicts
        self._ratings = ratings
        self._clock = clock
        self._read: dict[str, tuple[int, int]] = {}  # path -> size and time, of sidecars as they were read

    def give(self, image_ids: Sequence[int], stars: int, asked: str) -> Generator[None, None, list[Told]]:
        """A person gives images so many stars (0 to 5), in one action. `asked` names the command.

        Raises EnvironmentTrouble.
        """
        action_id, told = self._ledger.actions.begin("stars", asked, self._clock()), list[Told]()
        for start in range(0, len(image_ids), _PAGE):
            page = image_ids[start : start + _PAGE]
            images = yield from self._verdicts.in_their_places(page)
            kept: list[int] = []
            for image_id in page:
                image = images.get(image_id)
                why_not = "it is not known" if image is None else why_not_judged(image.path, is_gone=image.is_gone)
                if image is None or why_not is not None:
                    told.append({"file": image.path if image else f"image {image_id}", "error": why_not})
                    continue
                self._star(image, stars, action_id)
                if verdict_of(stars, self._settings.keep_at(image.source_file)) is Verdict.KEEP:
                    kept.append(image_id)
                else:
                    told.append({"file": image.path, "path": image.path})
                yield
            told += yield from self._verdicts.carry_out(action_id, kept, Verdict.KEEP, How.STARS)
        log.info("%d images: %d stars, as you asked for", len(told), stars)
        return told

    def _star(self, image: StoredImage, stars: int, action_id: int) -> None:
        row = self._ledger.images.to_rate(image.id)
        assert row is not None
        self._ledger.actions.note_stars(action_id, image.drop_id, Starred(image.id, stars, row["rated"]))
        self._ratings.give(row, stars, self._settings.of_root.output.rating)

    def take_back(self, action_id: int) -> Generator[None, None, list[Told]]:
        """Images have the stars and verdicts again that they had before an action; but for what was said since."""
        told = yield from self._verdicts.take_back(action_id)
        moved = {each["file"] for each in told} | {each["path"] for each in told if "path" in each}
        after = 0
        while page := self._ledger.actions.starred(action_id, after, _PAGE):
            after = page[-1].image_id
            images = yield from self._verdicts.in_their_places([each.image_id for each in page])
            for each in page:
                path, error = images[each.image_id].path, self._unstar(images[each.image_id], each)
                if error is not None:
                    told.append({"file": path, "error": error})
                elif path not in moved:
                    told.append({"file": path, "path": path})
                yield
        return told

    def _unstar(self, image: StoredImage, given: Starred) -> str | None:
        """Why it was not done."""
        row = self._ledger.images.to_rate(image.id)
        known = Rated.of(row["rated"]) if row else None
        if row is None or image.is_gone:
            return "its file is gone"
        if known is None or not known.is_mine or known.stars != given.stars:
            return "other stars were given since"
        before = Rated.of(given.before)
        stars = before.stars if before is not None and before.is_mine else None
        self._ratings.give(row, stars, self._settings.of_root.output.rating)
        return None

    def act(self) -> Iterator[None]:
        """After each look at the results, while `output.rating` is on. Yields again and again.

        Raises EnvironmentTrouble, OSError.
        """
        found = self._results.take_found()
        if self._settings.of_root.output.rating == "off":
            self._read.clear()
            return
        sidecars = {
            path: (seen.size, seen.mtime_ns)
            for path, seen in found.items()
            if path.endswith(".xmp") and path.partition("/")[0] in _FOLDERS
        }
        changed = [path for path, facts in sidecars.items() if self._read.get(path) != facts]
        pictures = _pictures(changed, found)
        for start in range(0, len(changed), _PAGE):
            given = list(self._look(changed[start : start + _PAGE], pictures))
            yield
            yield from self._carry_out(given)
        self._read = sidecars

    def _look(self, paths: Iterable[str], pictures: Mapping[str, str]) -> Iterator[_Given]:
        with Beneath(self._layout.root) as beneath:
            for path in paths:
                stored = self._ledger.images.at(pictures[path]) if path in pictures else None
                known = Rated.of(stored[1]) if stored else None
                if stored is None or known is None:
                    continue  # no result; or we have not said anything yet
                try:
                    packet = packet_at(beneath, path)
                except OSError as error:
                    log.debug("%s cannot be read: %s", path, error)
                    continue
                stars = rating_in(packet) if packet is not None else None
                image = stored[0]
                if stars is not None and stars != known.stars and not _is_by_score(stars, image, known):
                    keep = self._settings.keep_at(image.source_file)
                    yield _Given(image, stars, verdict_of(stars, keep))

    def _carry_out(self, given: Iterable[_Given]) -> Generator[None, None, None]:
        told = list(given)
        for verdict in Verdict:
            images = [
                each.image.id
                for each in told
                if each.verdict is verdict and (each.image.verdict, each.image.judge) != (verdict, Judge.PERSON)
            ]
            if images:
                yield from self._verdicts.give(images, verdict, How.STARS, f"stars-{uuid.uuid4().hex}")
        for each in told:
            log.info("%s has %d stars now, by hand", each.image.path, each.stars)
            rated = str(Rated(each.stars, each.image.path, is_mine=True))
            self._ledger.images.given_stars(each.image.id, rated, is_written=True)
            yield


def _is_by_score(stars: int, image: StoredImage, known: Rated) -> bool:
    """Whether we have written them, and a crash kept that from being recorded."""
    return not known.is_mine and image.score is not None and stars == stars_for(image.score, image.verdict)


def _pictures(sidecars: Iterable[str], found: Mapping[str, Sighting]) -> dict[str, str]:
    """The picture that each of these sidecars belongs to, if there is one."""
    names: dict[str, list[str]] = {path.rpartition("/")[0]: [] for path in sidecars}
    for path in found if names else ():
        folder, _, name = path.rpartition("/")
        if folder in names:
            names[folder].append(name)
    belongs = {}
    for folder, there in names.items():
        stems = Counter(name.rpartition(".")[0] for name in there if not name.endswith(".xmp"))
        for sidecar, picture in pairs(there).items():
            if sidecar == f"{picture}.xmp" or stems[picture.rpartition(".")[0]] == 1:  # else it may be another's
                belongs[f"{folder}/{sidecar}"] = f"{folder}/{picture}"
    return belongs
