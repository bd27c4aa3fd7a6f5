"""A person's verdicts, and those of another threshold: recorded, carried out, and taken back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.gate import verdict_of
from hotfolder.core.places import why_not_judged
from hotfolder.daemon.outbox import Outbox
from hotfolder.daemon.results import Results
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import REJECT, Layout
from hotfolder.ledger.ledger import Ledger
from hotfolder.publishing.publisher import Published
from hotfolder.routing.person import rerouted, verdict_given, verdict_taken_back
from hotfolder.transitions import Rerouted, VerdictGiven, VerdictTakenBack
from hotfolder.types import How, StoredImage, Verdict

log = logging.getLogger(__name__)
#: Images that are looked up at a time.
_PAGE = 500
#: What became of one file, as the asker is told: `file` where it was and `path` where it is; or `error`.
Told = dict[str, Any]


class Verdicts:
    def __init__(
        self,
        layout: Layout,
        settings: FolderSettings,
        ledger: Ledger,
        outbox: Outbox,
        results: Results,
        clock: Callable[[], float],
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._outbox = outbox
        self._results = results
        self._clock = clock

    def give(
        self, image_ids: Sequence[int], verdict: Verdict, how: How, asked: str
    ) -> Generator[None, None, list[Told]]:
        """A person keeps or rejects images, in one action. `asked` names the command."""
        action_id = self._ledger.actions.begin(verdict, asked, self._clock())
        told = yield from self.carry_out(action_id, image_ids, verdict, how)
        log.info("%d images: %s, as you asked for", len(told), verdict)
        return told

    def carry_out(
        self, action_id: int, image_ids: Sequence[int], verdict: Verdict, how: How
    ) -> Generator[None, None, list[Told]]:
        """What an action says of images: recorded, and each goes where it belongs."""
        told: list[Told] = []
        for start in range(0, len(image_ids), _PAGE):
            page = image_ids[start : start + _PAGE]
            images = yield from self.in_their_places(page)
            transitions: list[VerdictGiven] = []
            for image_id in page:
                image = images.get(image_id)
                why_not = "it is not known" if image is None else why_not_judged(image.path, is_gone=image.is_gone)
                if image is None or why_not is not None:
                    told.append({"file": image.path if image else f"image {image_id}", "error": why_not})
                elif self._ledger.verdicts.is_given(image_id, action_id):
                    told.append({"file": image.path, "path": image.path})  # before a crash
                else:
                    keep = self._settings.keep_at(image.source_file)
                    transitions.append(verdict_given(image, verdict, how, keep, action_id))
            places = {image.id: image.path for image in images.values()}
            for published in self._outbox.publish_now(transitions):
                assert isinstance(published.wanted, VerdictGiven)
                told.append(_told(places[published.wanted.image_id], published))
                yield
        return told

    def seen(self, looks: Mapping[int, int]) -> Generator[None, None, int]:
        """A person looked at images, so many milliseconds at each, and left them as they are. How many have a verdict.

        Nothing is moved. It is no verdict: a new threshold still sorts them anew.
        """
        count, ids = 0, list(looks)
        for start in range(0, len(ids), _PAGE):
            images = self._ledger.images.many(ids[start : start + _PAGE])
            keeps = {each.id: self._settings.keep_at(each.source_file) for each in images}
            lengths = {image_id: looks[image_id] for image_id in keeps}
            count += self._ledger.verdicts.seen(lengths, keeps, self._clock())
            yield
        return count

    def reroute(self, keep: float, asked: str, *, also_mine: bool) -> Generator[None, None, dict[str, int]]:
        """Sorts what was judged by another threshold, from its stored score. How many went where.

        What a person said is left alone, unless `also_mine`.
        """
        action_id = self._ledger.actions.begin("reroute", asked, self._clock(), keep)
        yield from self._results.scan(self._clock())
        moved = {"kept": 0, "rejected": 0, "missing": 0}
        after = 0
        while page := self._ledger.verdicts.misplaced(keep, after, _PAGE, also_mine=also_mine):
            transitions = [
                rerouted(image, verdict_of(image.score or 0.0, keep), keep, action_id)
                for image in self._ledger.images.many(page)
            ]
            for published in self._outbox.publish_now(transitions):
                assert isinstance(published.wanted, Rerouted)
                moved[_sort(published.wanted.image.dst if published.done is not None else None)] += 1
                yield
            after = page[-1]
            log.info("sorting anew by %g: %d images so far", keep, sum(moved.values()))
        return moved

    def take_back(self, action_id: int) -> Generator[None, None, list[Told]]:
        """What an action said of images does not count any more, and they go back; but for what was said since."""
        told: list[Told] = []
        after = 0
        while page := self._ledger.verdicts.of_action(action_id, after, _PAGE):
            images = yield from self.in_their_places([each.image_id for each in page])
            page = self._ledger.verdicts.of_action(action_id, after, _PAGE)  # perhaps some were moved by hand
            after = page[-1].image_id
            transitions: list[VerdictTakenBack] = []
            for each in page:
                image = images[each.image_id]
                if not each.is_last:
                    told.append({"file": image.path, "error": "something else was said of it since"})
                elif image.is_gone:
                    told.append({"file": image.path, "error": "its file is gone"})
                else:
                    transitions.append(verdict_taken_back(image, each.path_before, each.path, action_id))
            places = {image.id: image.path for image in images.values()}
            for published in self._outbox.publish_now(transitions):
                assert isinstance(published.wanted, VerdictTakenBack)
                told.append(_told(places[published.wanted.image_id], published))
                yield
        return told

    def in_their_places(self, image_ids: Sequence[int]) -> Generator[None, None, Mapping[int, StoredImage]]:
        """Images by id, as they are: where one is not in its place, the folders are looked at first."""
        images = {image.id: image for image in self._ledger.images.many(image_ids)}
        with Beneath(self._layout.root) as beneath:
            if all(self._results.is_in_place(beneath, image) for image in images.values()):
                return images
        yield from self._results.scan(self._clock())
        return {image.id: image for image in self._ledger.images.many(image_ids)}


def counts(told: Sequence[Told]) -> dict[str, int]:
    """How many went where, as `reroute` says it."""
    moved = {"kept": 0, "rejected": 0, "missing": 0}
    for each in told:
        moved[_sort(None if "error" in each else each["path"])] += 1
    return moved


def _sort(path: str | None) -> str:
    """Of a file that lies there now; None: it was not moved."""
    if path is None:
        return "missing"
    return "rejected" if path.startswith(f"{REJECT}/") else "kept"


def _told(before: str, published: Published) -> Told:
    return {"file": before, **what_became(published, before)}


def what_became(published: Published, before: str) -> dict[str, Any]:
    """`path`, where the file is now; or `error`."""
    if published.done is not None:
        moves = dict(published.done.moves())
        return {"path": next(iter(moves.values())).dst if moves else before}
    if published.trouble is not None:
        return {"error": f"it has to wait: {published.trouble.message}"}
    if published.refused is not None:
        return {"error": published.refused.message}
    return {"error": "its file is not there any more"}
