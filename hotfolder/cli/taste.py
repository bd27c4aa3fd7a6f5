"""`hotfolder taste`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.cli import table, taste_labels
from hotfolder.cli.acting import acting_on
from hotfolder.cli.files import check_drawn
from hotfolder.cli.queue import ask_or_do, later
from hotfolder.config import loading
from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.root import find_root
from hotfolder.config.tastes import misfit, subject
from hotfolder.errors import HotfolderError, UsageError
from hotfolder.files.trouble import refused
from hotfolder.folders.layout import Layout
from hotfolder.ledger.labels import LabelReader
from hotfolder.models import taste_heads
from hotfolder.printable import printable
from hotfolder.taste import training
from hotfolder.taste.picture import Spread, draw, is_drawn, lines


@dataclass(frozen=True, slots=True)
class _At:
    """A root, its settings, and what is stored of it."""

    layout: Layout
    settings: FolderSettings
    reader: LabelReader

    def study(self, inbox: str) -> training.Trained:
        return training.study(self.layout, self.reader, subject(self.settings, inbox))

    def inboxes(self, asked: str | None) -> list[str]:
        """The one that is asked for, or all that were judged. Raises UsageError."""
        if asked is not None:
            subject(self.settings, asked)
            return [asked]
        return [name for name in self.reader.inboxes_judged() if name in self.settings.of_root.inboxes]

    def only(self, asked: str | None) -> str:
        """The one that is meant. Raises UsageError where that is not clear."""
        found = self.inboxes(asked)
        if not found:
            found = [name for name in self.settings.of_root.inboxes if self.settings.tastes.head(name)]
        if len(found) != 1:
            known = ", ".join(found or self.settings.of_root.inboxes)
            raise UsageError("which inbox is meant?", f"each has a taste of its own; name one: {known}")
        return found[0]


def _at(layout: Layout) -> _At:
    settings = FolderSettings(layout.root, loading.load(layout.root))
    return _At(layout, settings, LabelReader(layout.database))


def run_status(given: Path | None, inbox: str | None, png: Path | None, *, as_json: bool) -> None:
    layout = Layout(find_root(given))
    if png is not None:
        check_drawn(png, "--png", is_drawn, "picture of a taste")
    at = _at(layout)
    with at.reader:
        inboxes = at.inboxes(inbox)
        if png is not None and len(inboxes) != 1:
            raise UsageError(
                "the picture is of one inbox", f"name one of: {', '.join(inboxes) or 'none was judged'}"
            )
        told = [(trained, _document(at, trained)) for trained in map(at.study, inboxes)]
    if png is not None:
        try:
            draw(Spread.of(told[0][0]), png)
        except OSError as error:
            raise refused(error, f"{png} cannot be written", "name another file") from None
    if as_json:
        table.write_json({"root": str(layout.root), "tastes": [document for _, document in told]})
        return
    if not told:
        sys.stdout.write(
            "You have kept, rejected or looked at nothing yet: hotfolder gallery, hotfolder keep FILE\n"
        )
    for trained, document in told:
        sys.stdout.write("\n".join([*_sentences(document), "", *lines(Spread.of(trained)), ""]))
    if png is not None:
        sys.stdout.write(f"drawn: {printable(str(png))}\n")


def run_train(given: Path | None, inbox: str | None, *, as_json: bool) -> None:
    layout = acting_on(given)
    at = _at(layout)
    documents = []
    with at.reader:
        for each in at.inboxes(inbox):
            trained = at.study(each)
            try:
                training.save(layout, trained, at.settings.of_root.taste.heads)
            except OSError as error:
                raise refused(error, f"{layout.tastes} cannot be written", "is this your root?") from None
            documents.append(_document(at, trained))
    if as_json:
        table.write_json({"root": str(layout.root), "tastes": documents})
        return
    for document in documents:
        sys.stdout.write("\n".join(_sentences(document)) + "\n")
    if not documents:
        sys.stdout.write("there is nothing to learn from: no result was kept, rejected or looked at by you\n")


def run_use(given: Path | None, inbox: str | None, head: str | None, *, as_json: bool) -> None:
    """Raises UsageError where nothing is offered."""
    layout = acting_on(given)
    at = _at(layout)
    with at.reader:
        wanted = at.only(inbox)
        if head is None:
            trained = at.study(wanted)
            head = training.save(layout, trained, at.settings.of_root.taste.heads)
            if head is None:
                why = trained.learnt.why_not_more
                raise UsageError(
                    f"nothing is offered for inbox/{wanted}: {why}",
                    "see: hotfolder taste status; or name a head: --head",
                )
    answer = ask_or_do(layout, {"do": "taste", "what": "use", "inbox": wanted, "head": head}, moves=0)
    _tell(
        layout, answer, as_json=as_json,
        text=f"inbox/{wanted}: from the next image on the gate looks at {head}\n"
        "What was judged before: hotfolder rescore, then hotfolder reroute --keep X --dry-run. "
        "Back to the score alone: hotfolder taste off\n",
    )  # fmt: skip


def run_off(given: Path | None, inbox: str | None, *, as_json: bool) -> None:
    layout = acting_on(given)
    at = _at(layout)
    with at.reader:
        wanted = at.only(inbox)
    answer = ask_or_do(layout, {"do": "taste", "what": "off", "inbox": wanted}, moves=0)
    _tell(layout, answer, as_json=as_json, text=f"inbox/{wanted}: the gate looks at the score alone\n")


def run_forget(given: Path | None, inbox: str | None, *, yes: bool, as_json: bool) -> None:
    """Raises UsageError where nobody says yes."""
    layout = acting_on(given)
    at = _at(layout)
    with at.reader:
        wanted = at.only(inbox)
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise UsageError("forgetting cannot be undone", "say that you mean it: --yes")
        sys.stdout.write(
            f"Forget all that was learnt of inbox/{wanted}, and from what? It cannot be undone. [y/N] "
        )
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise UsageError("nothing was forgotten", "answer y, or give --yes")
    answer = ask_or_do(layout, {"do": "taste", "what": "forget", "inbox": wanted}, moves=0)
    _tell(layout, answer, as_json=as_json, text=f"inbox/{wanted}: forgotten\n")


def run_export(given: Path | None, inbox: str | None, *, as_json: bool) -> None:
    at = _at(Layout(find_root(given)))
    with at.reader:
        rows = [row for each in at.inboxes(inbox) for row in taste_labels.exported(at.reader, at.study(each))]
    if as_json:
        table.write_json({"labels": [dict(zip(taste_labels.COLUMNS, row, strict=True)) for row in rows]})
    else:
        table.write_csv(taste_labels.COLUMNS, rows)


def run_import(given: Path | None, file: Path, inbox: str | None, *, as_json: bool) -> None:
    """Raises UsageError, naming the line, for what is not understood; then nothing is taken."""
    layout = acting_on(given)
    at = _at(layout)
    with at.reader:
        found = taste_labels.read(at.reader, file, inbox)
    for each in found.labels:
        subject(at.settings, each)
    added: dict[str, int] = {}
    for each, labels in found.labels.items():
        answer = ask_or_do(
            layout,
            {"do": "taste", "what": "labels", "inbox": each, "labels": [list(row) for row in labels]},
            moves=0,
        )
        added[each] = answer["labels"] if answer else 0
    if as_json:
        table.write_json({"root": str(layout.root), "added": added, "unknown": found.unknown})
        return
    for each, count in added.items():
        sys.stdout.write(f"inbox/{each}: {count} new labels\n")
    sys.stdout.write(f"{found.unknown} rows are of images that this root does not know\n" if found.unknown else "")


def _tell(layout: Layout, answer: Mapping[str, Any] | None, *, as_json: bool, text: str) -> None:
    if as_json:
        table.write_json({"root": str(layout.root), "waits": answer is None, **(answer or {})})
    else:
        sys.stdout.write(later(layout) if answer is None else text)


def _document(at: _At, trained: training.Trained) -> dict[str, Any]:
    """What is known, which heads there are, and which one the gate looks at."""
    inbox = trained.gathered.subject.inbox
    name = training.name_of(trained.offered) if trained.offered is not None else None
    document = training.report(trained, name)
    del document["up_to"]
    heads = [
        {"name": each, "level": head.facts.level, "labels": head.facts.labels, "auc": head.facts.auc}
        for each, head in training.stored_heads(at.layout, inbox)
    ]
    used = at.settings.tastes.head(inbox)
    return {**document, "in_use": used, "misfit": _misfit(at, inbox, used), "heads": heads}


def _misfit(at: _At, inbox: str, head: str | None) -> str | None:
    """Why the head that is in use does not fit any more."""
    if head is None:
        return None
    wanted = subject(at.settings, inbox)
    try:
        facts = taste_heads.read(taste_heads.path_of(at.layout.tastes, head)).facts
    except HotfolderError as error:
        return error.message
    return misfit(wanted, head, facts.prior, facts.encoder, at.reader.encoder(inbox, wanted.encoder))


def _sentences(told: Mapping[str, Any]) -> Sequence[str]:
    """For people."""
    keep, threshold, direction = told["keep"], told["threshold"], told["direction"]
    found = [
        f"inbox/{told['inbox']}: {told['labels']} verdicts and looks ({told['kept']} kept, {told['rejected']} "
        f"rejected), {told['pairs']} pairs, beside {told['prior']}"
    ]
    if told["encoder"] is None:
        found.append("  no embedding of its images is stored: hotfolder rescore")
    elif told["unseen"]:
        found.append(
            f"  {told['unseen']} of them are of images without an embedding, or without a score by the weights that "
            "judge now: hotfolder rescore"
        )
    if threshold is not None:
        between = f"(90 %: {threshold['lowest']:.2f} to {threshold['highest']:.2f})"
        if threshold["lowest"] <= keep <= threshold["highest"]:
            found.append(
                f"  you keep from {threshold['at']:.2f} {between}: the gate's {keep:g}, as far as can be told"
            )
        else:
            found.append(f"  you keep from {threshold['at']:.2f} {between}, not from the gate's {keep:g}")
    if told["draws_line"] is False:
        found.append(
            "  your verdicts draw no line: the score hardly separates what you keep and what you reject, so there "
            "is no threshold of yours"
        )
    if direction is not None and direction["auc"] is not None:
        error = f" ± {direction['auc_error']:.2f}" if direction["auc_error"] is not None else ""
        whose = "your" if threshold else "any"
        found.append(
            f"  beyond the score: AUC {direction['auc']:.2f}{error}, by the score alone {direction['prior_auc']:.2f}, "
            f"better than {whose} threshold by {direction['sureness']:.1f} standard errors"
        )
    if told["calibration"] is not None:
        found.append(f"  Brier score {told['calibration']['brier']:.3f} (0 is best, 0.25 a coin)")
    if told["why_not_more"]:
        more = f"; about {told['more']} more" if told["more"] else ""
        found.append(f"  not yet: {told['why_not_more']}{more}")
    if told["prior_counts_least"]:
        found.append("  the score tells so little of your taste that it counts the least that it may")
    if told["offered"] and told["offered"] != told["in_use"]:
        what = (
            "your threshold"
            if told["level"] == "threshold"
            else "your threshold, and what you like beyond the score"
        )
        found.append(f"  offered: {what}. hotfolder taste use {told['inbox']}")
    found.append(f"  the gate looks at: {told['in_use'] or told['prior']}")
    if told["misfit"]:
        found.append(f"  that does not fit any more: {told['misfit']}. hotfolder taste use, or off")
    return found
