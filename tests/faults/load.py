"""A mixed load, and proof that nothing of it was lost or done twice."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.support.roots import check_consistent, files_in, picture, rows


def fill(
    layout: Layout, files: int, rng: random.Random, size: tuple[int, int] = (16, 12), *, first: int = 0
) -> dict[str, str]:
    """Drops files of every kind, some of them in sub-folders, numbered from `first`; path -> its sha256."""
    dropped = {}
    for number in range(first, first + files):
        kind = rng.choices([Kind.SCORE, Kind.UPSCALE, Kind.GENERATE], [6, 2, 2])[0]
        folder = layout.inbox(kind) / rng.choice(["", "", "a", "a/b"])
        folder.mkdir(parents=True, exist_ok=True)
        if kind is Kind.GENERATE:
            path = folder / f"p{number}.txt"
            lines = [
                f"a red circle on a blue background --seed {number * 10 + n}" for n in range(rng.randint(1, 3))
            ]
            path.write_text("\n".join(lines))
        else:
            path = picture(folder / f"{number}{rng.choice(['', '-bad'])}.png", number, size)
        dropped[path.relative_to(layout.root).as_posix()] = digest(path)
    return dropped


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def accounted_for(layout: Layout, dropped: dict[str, str]) -> str:
    """Fails unless every dropped file was worked once and lies in one place; says what was found."""
    check_consistent(layout)
    assert files_in(layout, "inbox") == []
    found = [digest(layout.root / path) for path in files_in(layout, "keep", "reject", "archive", "failed")]
    for path, sha256 in dropped.items():
        assert found.count(sha256) == 1, f"{path} is there {found.count(sha256)} times"
    # One ended job for each thing that was asked for: no image was scored, enlarged or drawn twice.
    twice = rows(
        layout,
        "SELECT source, kind, count(*) FROM jobs WHERE state = 'done' AND source IS NOT NULL AND image_id IS NULL "
        "GROUP BY source, kind HAVING count(*) > 1",
    )
    assert twice == []
    twice = rows(layout, "SELECT path, count(*) FROM results GROUP BY path HAVING count(*) > 1")
    assert twice == []
    drawn = rows(
        layout, "SELECT seed, count(*) FROM results WHERE role = 'generated' GROUP BY seed HAVING count(*) > 1"
    )
    assert drawn == []
    results = rows(layout, "SELECT count(*) FROM results")[0][0]
    return f"{len(dropped)} dropped, {results} results, 0 lost, 0 twice, 0 in staging"
