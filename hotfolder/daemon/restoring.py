"""Dropped files go back where they were dropped, and are not worked again; and how that is taken back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress

from hotfolder.daemon.outbox import Outbox
from hotfolder.daemon.results import Results
from hotfolder.daemon.verdicts import Told, what_became
from hotfolder.files.beneath import Beneath
from hotfolder.files.identity import is_same
from hotfolder.folders.layout import INBOX, Layout
from hotfolder.imaging.sidecars import is_our_sidecar, sidecar_names
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.rows import Restorable
from hotfolder.routing.person import restore_taken_back, restored
from hotfolder.transitions import Restored

log = logging.getLogger(__name__)


class Restoring:
    def __init__(
        self, layout: Layout, ledger: Ledger, outbox: Outbox, results: Results, clock: Callable[[], float]
    ) -> None:
        self._layout = layout
        self._ledger = ledger
        self._outbox = outbox
        self._results = results
        self._clock = clock

    def restore(self, drop_ids: Sequence[int], asked: str) -> Generator[None, None, list[Told]]:
        """Puts dropped files back, in one action. `asked` names the command."""
        action_id = self._ledger.actions.begin("restore", asked, self._clock())
        found = yield from self._in_their_places(drop_ids)
        told: list[Told] = []
        transitions: list[Restored] = []
        for drop_id in drop_ids:
            each = found.get(drop_id)
            if each is None or each.is_gone or each.lies.startswith(f"{INBOX}/"):
                told.append(self._not_restored(drop_id, each))
                continue
            failures = self._ledger.jobs.failed_of_drop(drop_id) if each.state == "failed" else []
            ids = [failure.id for failure in failures]
            transitions.append(restored(each.drop, each.lies, each.identity, each.image_id, ids, action_id))
        for published in self._outbox.publish_now(transitions):
            assert isinstance(published.wanted, Restored)
            before = published.wanted.file.src
            told.append({"file": before, **what_became(published, before)})
            if published.done is not None:
                self._remove_ours(before)
            yield
        log.info("%d files: put back where they were dropped, as you asked for", len(told))
        return told

    def take_back(self, action_id: int) -> Generator[None, None, list[Told]]:
        """They go to where they were before, unless they were taken out of the inbox, or changed, since."""
        told: list[Told] = []
        transitions = []
        for step in self._ledger.actions.steps(action_id):
            drop = self._ledger.drops.get(step.drop_id)
            assert drop is not None and step.path is not None
            if not self._ledger.drops.is_restored(drop.id):
                error = "it was taken out of its inbox, or changed, since"
                told.append({"file": drop.sighting.path, "error": error})
                continue
            failures = self._ledger.jobs.failed_of_drop(drop.id)
            image_id = self._ledger.images.of_drop(drop.id)
            transitions.append(restore_taken_back(drop, step.path, image_id, failures, self._clock()))
        for published in self._outbox.publish_now(transitions):
            before = published.wanted.source_file
            told.append({"file": before, **what_became(published, before)})
            yield
        return told

    def _in_their_places(self, drop_ids: Sequence[int]) -> Generator[None, None, dict[int, Restorable]]:
        found = self._ledger.drops.restorable(drop_ids)
        with Beneath(self._layout.root) as beneath:
            for each in found:
                there = beneath.identity(each.lies)
                if there is None or (each.identity is not None and not is_same(each.identity, there)):
                    break
            else:
                return {each.drop.id: each for each in found}
        yield from self._results.scan(self._clock())
        return {each.drop.id: each for each in self._ledger.drops.restorable(drop_ids)}

    def _not_restored(self, drop_id: int, found: Restorable | None) -> Told:
        drop = found.drop if found is not None else self._ledger.drops.get(drop_id)
        if drop is None:
            return {"file": f"drop {drop_id}", "error": "it is not known"}
        if self._ledger.drops.is_restored(drop_id):
            return {"file": drop.sighting.path, "path": drop.sighting.path}
        if found is None:
            error = "it is still worked, or was taken out of its inbox before it was done"
        else:
            error = "its file is gone: deleted, changed, or taken out of the root"
        return {"file": found.lies if found else drop.sighting.path, "error": error}

    def _remove_ours(self, path: str) -> None:
        """The stars that we wrote beside the file: it is no result any more."""
        with Beneath(self._layout.root) as beneath, suppress(OSError):
            for sidecar in sidecar_names(path):
                if is_our_sidecar(beneath, sidecar):
                    beneath.unlink(sidecar)
