"""Makes this fixture: `python -m tests.publishing.journal_v1.make`, with the code of the version that it is to hold.

The daemon's own parts work a root step by step. At certain points the disk refuses, so that entries stay in the
journal; then the root is taken as it lies, as after a power cut. The same is done in a second root where the disk
refuses nothing: what that one holds at its end has to be the end of the first one, too.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from hotfolder.config import loading
from hotfolder.daemon.loop import Daemon
from hotfolder.errors import FailedPicture, GenerationFailed, HotfolderError, UnsupportedImage
from hotfolder.folders.layout import Layout
from hotfolder.ledger.ledger import Ledger
from hotfolder.publishing import publisher
from hotfolder.publishing.publisher import Publisher, explain
from hotfolder.types import (
    Embedding,
    Item,
    Kind,
    Outcome,
    Placement,
    Publication,
    Role,
    Score,
    State,
    Verdict,
)
from tests.publishing.script import by_name
from tests.publishing.stored import facts, files_of, sha256
from tests.support.roots import QUICK, picture
from tests.support.scripted import ScriptedExecutor

HERE = Path(__file__).parent
CONFIG = """\
[gate]
keep = 6.5
upscale = 7.0
regenerate_below = 5.0
max_attempts = 2

[generate]
model = "shapes"

[score]
scorer = "technical"

[upscale]
model = "x4-compact"
min_gain = 0.5
"""
#: Inbox, first part of the file's name, the publication that the disk refuses, and at which points:
#: before anything, after a hard link whose old name still stands, after the first of two moves, after all moves, after
#: the sidecar is written or removed (nothing is left but the transaction). 'mixed': of two, one each.
CASES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("score", "keep", "scored", ("before", "linked", "moved")),
    ("score", "best", "scored", ("before", "moved")),
    ("score", "low", "scored", ("before", "moved")),
    ("score", "twin", "duplicate", ("before", "moved")),
    ("score", "broken", "failed", ("before", "moved", "said")),
    ("score", "noup", "failed", ("before", "said")),
    ("score", "again", "retried", ("before", "moved", "said")),
    ("score", "changed", "retried", ("before", "moved", "said")),
    ("score", "upagain", "retried", ("before", "said")),
    ("score", "reroute", "rerouted", ("before", "moved")),
    ("score", "upof", "upscaled", ("before", "moved")),
    ("generate", "gen", "generated", ("before", "moved")),
    ("generate", "judged", "scored", ("before", "moved")),
    ("generate", "redo", "scored", ("before", "moved")),
    ("generate", "set", "chosen", ("before", "mixed", "moved")),
    ("generate", "undrawn", "failed", ("before",)),
    ("generate", "unjudged", "failed", ("before", "moved", "said")),
    ("generate", "rejudge", "retried", ("before", "moved", "said")),
    ("generate", "partly", "retried", ("before",)),
    ("generate", "done", "finished", ("before", "moved")),
    ("generate", "typo", "finished", ("before", "moved", "said")),
    ("upscale", "large", "upscaled", ("before", "first", "moved")),
    ("upscale", "regress", "regressed", ("before", "moved")),
    ("upscale", "measured", "measured", ("before",)),
)
REFUSED = {f"{what}-{point}": (kind, point) for _, what, kind, points in CASES for point in points}
PROMPTS = {
    "gen": "a {large|small} circle --seed 11 --steps 3 --width 64 --height 64 --upscale 2\n",
    "redo": "a red circle --seed 21\n",
    "set": "a set of circles --seed 41 --best-of 2\n",
    "partly": "one --seed 51\ntwo --seed 52\n",
    "typo": "a circle --stesp 4\n",
}
BEGAN = 1_700_000_000.0


def kind_of(p: Publication) -> str:
    """What a publication is about."""
    if p.requeue or p.supersede:
        return "retried"
    if p.reroute_id is not None:
        return "rerouted"
    if p.state is State.FAILED:
        return "failed"
    if p.error is not None:
        return "duplicate"
    if p.score is not None:
        if not p.placements:
            return "measured" if "set" not in str(p.image and p.image.path) else "judged"
        return "regressed" if p.image and p.image.role is Role.UPSCALED else "scored"
    if p.image is None:
        return "finished"
    if p.job_id is None:
        return "chosen"
    return "generated" if p.image.role is Role.GENERATED else "upscaled"


@dataclass
class Refusals:
    """Lets the disk refuse at the points of CASES."""

    point: str = ""
    moves: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    def begin(self, p: Publication) -> None:
        name = Path(p.source_file).stem
        kind, point = REFUSED.get(name, ("", ""))
        number = self.seen.get(name, 0)
        if kind != kind_of(p):
            point = ""
        elif point == "mixed":
            point = ("moved", "before")[number]
        if point:
            self.seen[name] = number + 1
        self.point, self.moves = point, 0
        self.check("before")

    def check(self, point: str) -> None:
        if self.point == point:
            raise OSError(errno.EIO, os.strerror(errno.EIO), point)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        carry_out, move, rename = Publisher._carry_out, Publisher._move, publisher.rename_noreplace
        write, remove, apply = Publisher._write_sidecar, Publisher._remove_sidecar, Ledger.apply

        def _carry_out(self_: Publisher, entry: int, p: Publication) -> Publication | None:
            try:
                self.begin(p)
            except OSError as error:
                raise explain(error) from error
            return carry_out(self_, entry, p)

        def _move(self_: Publisher, placement: Placement) -> bool:
            done = move(self_, placement)
            self.moves += 1
            if self.moves == 1:
                self.check("first")
            return done

        def _rename(src: Path, dst: Path) -> None:
            if self.point == "linked":
                os.link(src, dst)
                self.check("linked")
            rename(src, dst)

        def _write(self_: Publisher, p: Publication) -> None:
            self.check("moved")
            write(self_, p)

        def _remove(self_: Publisher, p: Publication) -> None:
            remove(self_, p)
            self.check("said")

        def _apply(self_: Ledger, entry: int, p: Publication, now: float) -> None:
            assert not self.point, f"{self.point} was passed"
            apply(self_, entry, p, now)

        with (
            mock.patch.object(Publisher, "_carry_out", _carry_out),
            mock.patch.object(Publisher, "_move", _move),
            mock.patch.object(publisher, "rename_noreplace", _rename),
            mock.patch.object(Publisher, "_write_sidecar", _write),
            mock.patch.object(Publisher, "_remove_sidecar", _remove),
            mock.patch.object(Ledger, "apply", _apply),
        ):
            yield


def troubled(kind: Kind, item: Item) -> float | HotfolderError:
    """The executor while the root is made: some things fail."""
    name = Path(item.source or "").name
    if name.startswith(("broken", "again", "changed")) or (
        kind is Kind.UPSCALE and name.startswith(("noup", "upagain"))
    ):
        return UnsupportedImage(f"{name} is not to be done", "leave it")
    if kind is Kind.SCORE and name.startswith(("unjudged", "rejudge")):
        return UnsupportedImage(f"{name} cannot be judged", "leave it")
    prompt = str(item.params.get("prompt"))
    if kind is Kind.GENERATE and prompt in ("undrawn", "one"):
        return FailedPicture("the picture is black", "change the prompt")
    if kind is Kind.GENERATE and prompt == "two":
        return GenerationFailed("not this time", "wait")
    return by_name(kind, item)


class WithMore(ScriptedExecutor):
    """Of some files it also says what another scorer found, and an encoder."""

    def _work(self, kind: Kind, item: Item, answer: float | HotfolderError) -> Outcome:
        outcome = super()._work(kind, item, answer)
        name = Path(item.source or "").name
        if outcome.score is None or not name.startswith("best") or "_4x" in name:
            return outcome
        part = Score(5.5, "other", "1" * 64, "none", "float32")
        return replace(outcome, parts=(part,), embeddings=(Embedding("some-encoder", "AADAPwAA"),))


class Work:
    """One root, worked by the parts of a daemon whose loop never runs."""

    def __init__(self, root: Path) -> None:
        self.layout, self.now = Layout(root), BEGAN
        self.layout.make()
        (root / "hotfolder.toml").write_text(CONFIG)
        settings = loading.load(root, {**QUICK, "HOTFOLDER_WATCH__MODE": "polling"})
        self.daemon = Daemon(root, settings, WithMore(troubled), clock=lambda: self.now)
        self.daemon._open()
        self.seed = 0

    def drop(self, inbox: str, name: str, prompt: str | None = None, *, seed: int | None = None) -> None:
        path = self.layout.inbox(inbox) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if prompt is not None:
            path.write_text(prompt)
        else:
            self.seed += 1
            picture(path, self.seed if seed is None else seed, (4, 3))
        os.utime(path, ns=(int(BEGAN * 1e9), int(BEGAN * 1e9)))

    def take(self) -> None:
        for _ in range(2):
            self.daemon._intake.scan(self.now, self.daemon._dispatcher.works_on, fresh=False)
            self.now += 1
            self.daemon._intake.take(self.now)
        assert not self.daemon._intake.unsettled

    def work(self) -> None:
        """Until no job may be claimed just now."""
        while self.daemon._ledger.runnable(self.now):
            self.now += 0.01
            self.daemon._dispatcher.feed(self.now)
            self.daemon._dispatcher.hear(0)

    def ask(self, sql: str) -> list[Any]:
        connection = sqlite3.connect(self.layout.database)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def failed_jobs(self, what: Sequence[str]) -> list[int]:
        found = self.ask("SELECT id, source_file FROM jobs WHERE state = 'failed' ORDER BY id")
        return [job for job, source in found if Path(source).name.startswith(tuple(what))]


def live_through(root: Path) -> Work:
    """Everything that happens to the root."""
    work = Work(root)
    for number, name in enumerate(("twin-before", "trip/twin-moved")):  # once before, the same file once more
        work.drop("score", f"{name}.png", seed=900 + number)
    work.take()
    work.work()
    for inbox, what, _, points in CASES:
        for number, point in enumerate(points):
            name = f"{what}-{point}"
            if inbox == "generate":
                work.drop(inbox, f"{name}.txt", PROMPTS.get(what, f"{what} --seed {11 + number}\n"))
            else:
                folder = "trip/" if point == "moved" else ""  # sub-folders are mirrored
                work.drop(inbox, f"{folder}{name}.png", seed=900 + number if what == "twin" else None)
    work.take()
    work.work()
    work.daemon._completion.finish_drops(work.now)
    for number, path in enumerate(sorted((root / "failed").rglob("changed-*.png"))):
        new = picture(path.with_name("new.png"), 950 + number, (4, 3))
        os.utime(new, ns=(int(BEGAN * 1e9) + 10**9, int(BEGAN * 1e9) + 10**9))
        new.replace(path)
    work.daemon._completion.retry(work.failed_jobs([what for _, what, kind, _ in CASES if kind == "retried"]))
    reroute = work.daemon._ledger.add_reroute(7.0, work.now)
    for image, _ in work.ask("SELECT id, path FROM images WHERE path LIKE 'keep/%reroute-%' ORDER BY id"):
        work.daemon._completion.reroute(image, Verdict.REJECT, reroute)
    work.now += 100
    work.daemon._dispatcher.feed(work.now)  # what waited to be tried again is in work, and never heard of again
    return work


def finish(root: Path) -> dict[str, Any]:
    """Starts a daemon on the root, lets it do what is left, and says what there is then."""
    settings = loading.load(root, {**QUICK, "HOTFOLDER_WATCH__MODE": "polling"})
    Daemon(root, settings, ScriptedExecutor(by_name)).run(once=True)
    return facts(root)


def unlike(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The lines that only one of the two has."""
    found = []
    for key in one:
        here, there = ({repr(each) for each in _listed(facts_[key])} for facts_ in (one, other))
        found += [f"{key}: - {each}" for each in sorted(here - there)]
        found += [f"{key}: + {each}" for each in sorted(there - here)]
        if len(_listed(one[key])) != len(_listed(other[key])):
            found.append(f"{key}: {len(_listed(one[key]))} / {len(_listed(other[key]))}")
    return found


def _listed(value: Any) -> list[Any]:
    return list(value.items()) if isinstance(value, dict) else value


def store(root: Path) -> None:
    """Writes the root, as it lies, beside this file."""
    shutil.rmtree(HERE / "tree", ignore_errors=True)
    numbers: dict[int, int] = {}
    stats: dict[str, dict[str, int]] = {}
    for path in files_of(root):
        facts_ = (root / path).lstat()
        number = numbers.setdefault(facts_.st_ino, 101 + len(numbers))
        stats[path] = {"inode": number, "mtime_ns": facts_.st_mtime_ns}
        target = HERE / "tree" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, target)
    shutil.copyfile(root / "hotfolder.toml", HERE / "tree" / "hotfolder.toml")
    (HERE / "files.json").write_text(json.dumps(stats, indent=1) + "\n")
    copy = sqlite3.connect(":memory:")
    with sqlite3.connect(root / "hotfolder.db") as original:
        original.backup(copy)
    for drop, inode in copy.execute("SELECT id, inode FROM drops").fetchall():
        copy.execute("UPDATE drops SET inode = ?, device = 1 WHERE id = ?", (numbers.get(inode, 1), drop))
    for entry, text in copy.execute("SELECT id, publication FROM journal").fetchall():
        publication = json.loads(text)
        for placement in publication["placements"]:
            placement["inode"] = numbers[placement["inode"]]
        compact = json.dumps(publication, separators=(",", ":"), ensure_ascii=False)
        copy.execute("UPDATE journal SET publication = ? WHERE id = ?", (compact, entry))
    copy.commit()
    (HERE / "database.sql").write_text("\n".join(copy.iterdump()) + "\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        smooth, cut = Path(folder, "smooth"), Path(folder, "cut")
        live_through(smooth)
        expected = finish(smooth)
        refusals = Refusals()
        with refusals.at_work():
            work = live_through(cut)
        missed = {name: point for name, (_, point) in REFUSED.items() if name not in refusals.seen}
        assert not missed, missed
        store(cut)
        stored = {sha256(HERE / "tree" / path) for path in files_of(HERE / "tree")}
        del work
        found = finish(cut)
        assert found == expected, "\n".join(unlike(found, expected))
    # What is made anew is made by the version of its time: only its place is known.
    for path, digest in expected["files"].items():
        if digest not in stored:
            expected["files"][path] = None
    for image in expected["images"]:
        if image["sha256"] not in stored:
            image["sha256"] = None
    (HERE / "expected.json").write_text(
        "{\n" + ",\n".join(f"{json.dumps(key)}: {_lines(value)}" for key, value in expected.items()) + "\n}\n"
    )


def _lines(value: Any) -> str:
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "\n}"
    return "[\n" + ",\n".join(json.dumps(each) for each in value) + "\n]"


if __name__ == "__main__":
    main()
