"""What is learnt of a person: by itself after some new labels, and what the gate looks at only as it is asked."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.settings import Settings
from hotfolder.config.tastes import misfit, prior_of, subject
from hotfolder.core import formula
from hotfolder.core.tastes import has_head, head_of, scorer_of
from hotfolder.errors import EnvironmentTrouble, HotfolderError, LedgerError
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import Layout, inbox_of
from hotfolder.ledger.labels import LabelReader
from hotfolder.ledger.ledger import Ledger
from hotfolder.taste import in_use, notes
from hotfolder.taste.reports import last_report, place, report_name
from hotfolder.types import Job, Kind

log = logging.getLogger(__name__)
#: Labels from elsewhere that are taken at a time.
_MOST_LABELS = 100_000


class Tasting:
    """NumPy comes with the first training, and not before."""

    def __init__(
        self, layout: Layout, settings: FolderSettings, ledger: Ledger, clock: Callable[[], float]
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._known: tuple[int, int] | None = None  # how far what a person says is counted
        self._checked: Settings | None = None  # those by which it was looked whether heads in use fit still
        self._new: Counter[str] = Counter()  # by inbox: what was said since it was learnt last

    def work(self) -> None:
        """Learns of one inbox, where enough was said since the last time. Raises LedgerError, EnvironmentTrouble."""
        if self._checked is not self._settings.of_root:
            self._checked = self._settings.of_root
            self._say_what_does_not_fit()
        wanted = self._settings.of_root.taste.train_after
        if not wanted:
            return
        if self._known is None:
            self._known = self._learnt_up_to()
        counts, *last = self._ledger.tastes.said_since(*self._known)
        self._known = (last[0], last[1])
        self._new += counts
        due = [inbox for inbox, count in self._new.items() if count >= wanted]
        if due:
            self._new.pop(due[0])
            self._learn(due[0])

    def _say_what_does_not_fit(self) -> None:
        """Once for the settings that are in force: the person decides what follows."""
        for inbox, name in self._settings.tastes.heads().items():
            try:
                why = self._misfit(inbox, name)
            except HotfolderError as error:
                why = error.message
            if why is not None:
                log.warning(
                    "inbox/%s: the gate looks at a taste that does not fit: %s (hotfolder taste use, or off)",
                    inbox, why,
                )  # fmt: skip

    def _misfit(self, inbox: str, name: str) -> str | None:
        """Why a head cannot stand for the taste of an inbox. Raises ModelMissing, ModelDamaged, UsageError."""
        from hotfolder.models import taste_heads

        wanted = subject(self._settings, inbox)
        facts = taste_heads.read(taste_heads.path_of(self._layout.tastes, name)).facts
        with LabelReader(self._layout.database) as reader:
            return misfit(wanted, name, facts.prior, facts.encoder, reader.encoder(inbox, wanted.encoder))

    def _learnt_up_to(self) -> tuple[int, int]:
        """What was said while no daemon ran is counted, too."""
        places = []
        for inbox in self._settings.of_root.inboxes:
            up_to = _report_of(self._layout, inbox)
            if up_to is not None:
                places.append(up_to)
        return (min(place[0] for place in places), min(place[1] for place in places)) if places else (0, 0)

    def _learn(self, inbox: str) -> None:
        from hotfolder.taste import training  # NumPy

        if inbox not in self._settings.of_root.inboxes:
            return
        began = time.monotonic()
        try:
            with LabelReader(self._layout.database) as reader:
                trained = training.study(self._layout, reader, subject(self._settings, inbox))
            if not trained.gathered.evidence.labels and not trained.gathered.evidence.pairs:
                return  # nothing but what was forgotten
            offered = training.save(self._layout, trained, self._settings.of_root.taste.heads)
            self._switch_off(inbox, trained)
        except (EnvironmentTrouble, LedgerError, OSError):
            raise
        except HotfolderError as error:
            log.warning("nothing was learnt of inbox/%s: %s", inbox, error.message)
            return
        except Exception as error:
            # It is asked again after a restart: what is odd in one inbox must not end the daemon each time.
            log.exception("nothing was learnt of inbox/%s: unexpected %s", inbox, type(error).__name__)
            return
        log.info(
            "taste of inbox/%s: %s, from %d verdicts and looks, in %.1f s%s",
            inbox, trained.learnt.level, len(trained.gathered.evidence.labels), time.monotonic() - began,
            f"; offered: {offered}" if offered and offered != self._head(inbox) else "",
        )  # fmt: skip

    def _switch_off(self, inbox: str, trained: Any) -> None:
        """A direction that does worse than the threshold alone, on what was said since, is not looked at any more."""
        from hotfolder.models import taste_heads
        from hotfolder.taste import training

        name = self._head(inbox)
        if name is None or trained.watch is None or not trained.watch.has_failed:
            return
        if taste_heads.read(taste_heads.path_of(self._layout.tastes, name)).facts.level != "direction":
            return
        other = training.write(self._layout, trained.fallback) if trained.fallback is not None else None
        self._set(inbox, name, other)
        log.warning(
            "taste of inbox/%s predicts your last %d verdicts worse than a threshold of the score alone: the gate "
            "looks at %s",
            inbox, trained.watch.labels, "that now" if other else "the score alone now",
        )  # fmt: skip

    def obey(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Does what was asked: use, off, forget, pairs or labels. Raises EnvironmentTrouble, LedgerError, OSError."""
        known: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "use": self._use, "off": self._off, "forget": self._forget, "pairs": self._pairs,
            "labels": self._labels,
        }  # fmt: skip
        do = known.get(str(command.get("what")))
        if do is None:
            return {"error": f"taste is not asked for '{command.get('what')}'"}
        try:
            return do(command)
        except (EnvironmentTrouble, LedgerError):
            raise
        except HotfolderError as error:
            return {"error": error.message, "kind": error.kind, "fix": error.fix}

    def _use(self, command: Mapping[str, Any]) -> dict[str, Any]:
        from hotfolder.models import taste_heads

        inbox, name = str(command.get("inbox")), str(command.get("head"))
        wanted = subject(self._settings, inbox)
        head = taste_heads.read(taste_heads.path_of(self._layout.tastes, name))
        if head.facts.inbox != inbox or head.facts.prior != wanted.prior:
            return {
                "error": f"'{name}' was learnt of inbox/{head.facts.inbox} beside {head.facts.prior}, and "
                f"inbox/{inbox} is judged by {wanted.prior}"
            }
        if (why := self._misfit(inbox, name)) is not None:
            return {"error": why, "kind": "usage", "fix": "hotfolder rescore, then hotfolder taste train"}
        before = self._head(inbox)
        self._set(inbox, before, name)
        log.info("inbox/%s: the gate looks at the taste %s, as you asked for", inbox, name)
        return {"inbox": inbox, "head": name, "before": before}

    def _off(self, command: Mapping[str, Any]) -> dict[str, Any]:
        inbox = str(command.get("inbox"))
        before = self._head(inbox)
        if before is not None:
            self._set(inbox, before, None)
            log.info("inbox/%s: the gate looks at no taste any more, as you asked for", inbox)
        return {"inbox": inbox, "before": before}

    def _forget(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """No label, head, report or score of it is left. Verdicts stay what they are: they say where files lie."""
        from hotfolder.models import taste_heads

        inbox = str(command.get("inbox"))
        prior = prior_of(self._settings, inbox)
        self._set(inbox, self._head(inbox), None)
        notes.forget(self._layout, inbox, self._clock())  # first: it refuses where it cannot
        removed = 0
        with Beneath(self._layout.root) as beneath:
            for path in self._layout.tastes.glob(f"*{taste_heads.ENDING}"):
                if taste_heads.inbox_of(path.stem) == inbox:
                    self._ledger.tastes.judge_otherwise(scorer_of(path.stem), self._prior(path.stem, prior))
                    beneath.unlink(place(self._layout, path.name))
                    removed += 1
            if beneath.exists(report := place(self._layout, report_name(inbox))):
                beneath.unlink(report)
        looks = self._ledger.tastes.forget(inbox, prior)
        self._new.pop(inbox, None)
        log.info("taste of inbox/%s is forgotten: %d heads, %d looks", inbox, removed, looks)
        return {"inbox": inbox, "heads": removed, "looks": looks}

    def _pairs(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """`images`: the best one first, then those that it was found better than; of one inbox."""
        images = {image.id: image for image in self._ledger.images.many(command.get("images", []))}
        asked = [images[image_id] for image_id in command.get("images", []) if image_id in images]
        inboxes = {inbox_of(image.source_file) for image in asked}
        if len(asked) < 2 or len(inboxes) != 1 or (inbox := inboxes.pop()) is None:
            return {"error": "two or more pictures of one inbox are wanted, the best one first"}
        best, now = asked[0], self._clock()
        pairs = [notes.SaidPair(best.sha256, other.sha256, now) for other in asked[1:]]
        added = notes.add(self._layout, inbox, pairs=pairs)
        self._new[inbox] += added
        return {"inbox": inbox, "pairs": added}

    def _labels(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """`labels`: lists of sha256, whether it is kept, weight, when, and whether the gate said so (or null)."""
        inbox, said = str(command.get("inbox")), command.get("labels")
        subject(self._settings, inbox)
        now = self._clock()
        if (
            not isinstance(said, list)
            or len(said) > _MOST_LABELS
            or not all(_is_label(each, now) for each in said)
        ):
            return {"error": "labels are lists of sha256, keep, weight, seconds and agreement"}
        added = notes.add(self._layout, inbox, labels=[notes.SaidLabel(*each) for each in said])
        self._new[inbox] += added
        return {"inbox": inbox, "labels": added}

    def _head(self, inbox: str) -> str | None:
        return self._settings.tastes.head(inbox)

    def _set(self, inbox: str, before: str | None, head: str | None) -> None:
        """From now on; also of what waits already."""
        file = f"inbox/{inbox}/any"
        known = self._settings.policy(file).models[Kind.SCORE]
        in_use.use(self._layout, inbox, head)
        if before is None and head is not None:
            wanted = self._settings.policy(file).models[Kind.SCORE]
            self._ledger.tastes.judge_inbox_as(inbox, known, wanted)
        elif before is not None and before != head:
            other = scorer_of(head) if head else self._prior(before, prior_of(self._settings, inbox))
            self._ledger.tastes.judge_otherwise(scorer_of(before), other)

    def _prior(self, head: str, otherwise: str) -> str:
        """What a head was learnt beside; `otherwise` where it cannot be read."""
        from hotfolder.models import taste_heads

        try:
            return taste_heads.read(taste_heads.path_of(self._layout.tastes, head)).facts.prior
        except HotfolderError:
            return otherwise


def without_gone_heads(layout: Layout, settings: FolderSettings, job: Job) -> str | None:
    """What judges a job that names a head that is gone, and not in use: forgotten, or too old. None: it may go on.

    A head that is in use and not there is a mistake that a person has to hear of.
    """
    if job.kind is not Kind.SCORE or not has_head(job.model):
        return None
    from hotfolder.models import taste_heads

    inbox = inbox_of(job.source_file)
    used = settings.tastes.head(inbox) if inbox is not None else None
    others = {}
    for name in formula.parse(job.model).names:
        head = head_of(name)
        if head is None or head == used or (layout.tastes / (head + taste_heads.ENDING)).exists():
            continue
        others[name] = scorer_of(used) if used is not None else settings.prior(job.source_file)
    return formula.renamed(job.model, others).text if others else None


def _report_of(layout: Layout, inbox: str) -> tuple[int, int] | None:
    up_to = (last_report(layout, inbox) or {}).get("up_to")
    if isinstance(up_to, list) and len(up_to) == 2 and all(isinstance(each, int) for each in up_to):
        return up_to[0], up_to[1]
    return None


def _is_label(said: object, now: float) -> bool:
    if not isinstance(said, list) or len(said) != 5:
        return False
    content, keep, weight, at, agrees = said
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (weight, at))
    return (
        isinstance(content, str)
        and isinstance(keep, bool)
        and numbers
        and 0 < weight <= 1
        and notes.is_time(at, now)
        and (agrees is None or isinstance(agrees, bool))
    )
