"""A person who moves, renames, copies, edits and deletes results at random, and what the ledger makes of it.

`python -m tests.faults.hand --files 500 --rounds 20` does it with as many; `--no-inodes` as on a file system whose
inode numbers do not last, such as FAT.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hotfolder.files import identity
from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.support import forks
from tests.support.live import wait_for
from tests.support.roots import QUICK, daemon, new_root, picture, rows
from tests.support.scripted import ScriptedExecutor

_TOPS = ("keep", "keep", "reject", "reject", "keep/best", "keep/a/b", "reject/why", "upscaled")
_ENVIRON = {**os.environ, **QUICK, "HOTFOLDER_WATCH__RESCAN_SECONDS": "0.1"}
#: Of each kind, how often it is done.
_DEEDS = {
    "move": 8,
    "rename": 4,
    "copy": 2,
    "delete": 2,
    "take out": 2,
    "bring back": 3,
    "overwrite": 1,
    "edit": 1,
}


class Person:
    """Does one thing after the other to files of results, and forgets none."""

    def __init__(self, layout: Layout, rng: random.Random) -> None:
        self._layout = layout
        self._rng = rng
        self._away = layout.root.parent / "away"
        self._away.mkdir(exist_ok=True)
        self.done: Counter[str] = Counter()

    def act(self, times: int) -> None:
        for number in range(times):
            deed = self._rng.choices(list(_DEEDS), list(_DEEDS.values()))[0]
            with contextlib.suppress(FileNotFoundError):  # the daemon was quicker
                self.done[deed] += self._do(deed, number)

    def _do(self, deed: str, number: int) -> bool:
        rng, files = self._rng, files_of(self._layout)
        if deed == "bring back":
            away = sorted(self._away.iterdir())
            if away:
                shutil.move(rng.choice(away), self._new_place(f"back{number}-{rng.random()}.png"))
            return bool(away)
        if not files:
            return False
        file = rng.choice(files)
        match deed:
            case "move":
                shutil.move(file, self._new_place(file.name))
            case "rename":
                shutil.move(file, file.with_name(f"r{number}-{rng.random()}.png"))
            case "copy":
                (shutil.copy2 if rng.random() < 0.5 else shutil.copyfile)(
                    file, self._new_place(f"c{rng.random()}.png")
                )
            case "delete":
                file.unlink()
            case "take out":
                shutil.move(file, self._away / f"{rng.random()}.png")
            case "overwrite":
                shutil.move(file, rng.choice(files))
            case "edit":
                with file.open("ab") as opened:
                    opened.write(b"edited")
        return True

    def _new_place(self, name: str) -> Path:
        folder = self._layout.root / self._rng.choice(_TOPS)
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / name
        return place if not place.exists() else folder / f"{self._rng.random()}.png"


def files_of(layout: Layout) -> list[Path]:
    """Every file of the folders of results; one that goes meanwhile may be among them."""
    found = []
    for top in ("keep", "reject", "upscaled"):
        for folder, _, names in os.walk(layout.root / top):
            found += [Path(folder) / name for name in names]
    return sorted(found)


def contents(layout: Layout) -> list[str]:
    return sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files_of(layout))


def fill(layout: Layout, files: int, first: int = 0) -> None:
    for number in range(first, first + files):
        picture(layout.inbox(Kind.SCORE) / f"{number}-{'bad' if number % 3 == 0 else 'good'}.png", number)


def work(layout: Layout) -> None:
    """One run of a daemon in this process."""
    executor = ScriptedExecutor(lambda _, item: 3.0 if "bad" in str(item.source) else 6.6)
    daemon(layout, executor, WATCH__MODE="polling").run(once=True)


Snapshot = dict[int, tuple[str, str | None]]


def snapshot(layout: Layout) -> Snapshot:
    """Where each image is, or was last, and its verdict."""
    return {row[0]: (row[1], row[2]) for row in rows(layout, "SELECT id, path, verdict FROM images")}


def mismatch(layout: Layout) -> str | None:
    """What of `results` is not as it is on the disk."""
    places: dict[str, list[str]] = {}
    for file in files_of(layout):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        places.setdefault(digest, []).append(file.relative_to(layout.root).as_posix())
    taken: Counter[str] = Counter()
    for image_id, path, digest, verdict in rows(layout, "SELECT image_id, path, sha256, verdict FROM results"):
        there = places.get(digest, [])
        if path is None and there:
            return f"image {image_id} is said to be gone, and lies there: {there}"
        if path is not None and path not in there:
            return f"image {image_id} is said to be {path}, and its content is {there}"
        taken[path or ""] += path is not None
        top = (path or "").partition("/")[0]
        if top in ("keep", "reject") and verdict != top:
            return f"image {image_id} is {path}, and its verdict is {verdict}"
    twice = [path for path, count in taken.items() if count > 1]
    return f"of several images: {twice}" if twice else None


def history_is_complete(layout: Layout, before: Snapshot, after: Snapshot, verdicts_before: int) -> None:
    """For each image that is in another folder than before: one verdict more, and no other."""
    new = rows(
        layout,
        "SELECT image_id, verdict FROM verdict_history WHERE id > ? AND given_by = 'person'",
        [verdicts_before],
    )
    tops = {
        image_id: (before[image_id][0].partition("/")[0], after[image_id][0].partition("/")[0])
        for image_id in before
    }
    expected = {
        (image_id, "reject" if now == "reject" else "keep")
        for image_id, (was, now) in tops.items()
        if was != now and (now in ("keep", "reject") or was == "reject")
    }
    assert sorted(new) == sorted(expected)
    first = rows(
        layout,
        "SELECT count(*) FROM images WHERE verdict IS NOT NULL AND id NOT IN (SELECT image_id FROM verdict_history)",
    )
    assert first == [(0,)]


def last_verdict(layout: Layout) -> int:
    return int(rows(layout, "SELECT coalesce(max(id), 0) FROM verdict_history")[0][0])


def while_stopped(layout: Layout, files: int, rounds: int, seed: int) -> str:
    """Nothing runs while the person is at work; then a daemon looks."""
    person = Person(layout, random.Random(seed))
    fill(layout, files)
    work(layout)
    for turn in range(rounds):
        before, verdicts = snapshot(layout), last_verdict(layout)
        person.act(files)
        there = contents(layout)
        work(layout)
        assert contents(layout) == there, "no file is lost, or made"
        assert (wrong := mismatch(layout)) is None, f"round {turn}: {wrong}"
        history_is_complete(layout, before, snapshot(layout), verdicts)
    return _told("stopped", layout, person)


def while_running(layout: Layout, files: int, rounds: int, seed: int, *, kills: bool, inodes: bool = True) -> str:
    """A daemon publishes meanwhile; with `kills`, it is killed and started anew in every round."""
    person = Person(layout, random.Random(seed))
    process = _start(layout, inodes=inodes)
    try:
        for turn in range(rounds):
            fill(layout, files // rounds, first=turn * (files // rounds))
            for _ in range(10):
                person.act(files // 10)
                time.sleep(0.02)
            if kills:
                process.send_signal(signal.SIGKILL)
                process.wait()
                person.act(files // 10)
                process = _start(layout, inodes=inodes)
        wait_for(lambda: not list(layout.inbox(Kind.SCORE).rglob("*.png")), 300, "all are judged")
        wait_for(lambda: mismatch(layout) is None, 120, f"the ledger follows: {mismatch(layout)}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
    work(layout)
    assert (wrong := mismatch(layout)) is None, wrong
    missing = rows(
        layout,
        "SELECT count(*) FROM images WHERE verdict IS NOT NULL AND id NOT IN (SELECT image_id FROM verdict_history)",
    )
    assert missing == [(0,)]
    return _told("killed" if kills else "running", layout, person)


def _start(layout: Layout, *, inodes: bool) -> forks.Fork:
    layout.live_status.unlink(missing_ok=True)
    words = ["tests.support.scripted_daemon", str(layout.root), "0", *([] if inodes else ["--no-inodes"])]
    process = forks.start(*words, env=_ENVIRON)
    wait_for(layout.live_status.exists, 120, "it watches")
    return process


def _told(how: str, layout: Layout, person: Person) -> str:
    images, there = rows(layout, "SELECT count(*), count(path) FROM results")[0]
    verdicts = rows(layout, "SELECT count(*) FROM verdicts WHERE by = 'person'")[0][0]
    deeds = ", ".join(f"{count} × {deed}" for deed, count in person.done.most_common())
    told = f"{how}: {images} images, {there} still there, {verdicts} verdicts by moves; {deeds}"
    return f"{told}: results equals the disk"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-inodes", action="store_true")
    arguments = parser.parse_args()
    inodes = not arguments.no_inodes
    if not inodes:
        identity.has_lasting_inodes = lambda device: False
    for how in ("stopped", "running", "killed"):
        with tempfile.TemporaryDirectory() as folder:
            layout, numbers = new_root(Path(folder)), (arguments.files, arguments.rounds, arguments.seed)
            if how == "stopped":
                told = while_stopped(layout, *numbers)
            else:
                told = while_running(layout, *numbers, kills=how == "killed", inodes=inodes)
            sys.stdout.write(f"{told}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
