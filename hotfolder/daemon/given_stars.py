"""Stars that a person gives in another program, in a sidecar beside a result, are a verdict."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.companions import pairs
from hotfolder.core.stars import Rated, verdict_of
from hotfolder.daemon.results import Results
from hotfolder.daemon.verdicts import Verdicts
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import KEEP, REJECT, UPSCALED, Layout
from hotfolder.imaging.sidecars import packet_at, rating_in
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
    """Reads sidecars that are new or have changed, and compares their stars with those that are known."""

    def __init__(
        self, layout: Layout, settings: FolderSettings, ledger: Ledger, results: Results, verdicts: Verdicts
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._results = results
        self._verdicts = verdicts
        self._read: dict[str, tuple[int, int]] = {}  # path -> size and time, of sidecars as they were read

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
                if stars is not None and stars != known.stars:
                    image = stored[0]
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
            self._ledger.images.given_stars(each.image.id, str(Rated(each.stars, each.image.path, is_mine=True)))
            yield


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
