"""How long the commands that ask take with many images: `uv run python -m tools.measure_questions [--images N]`.

A database of that size is made of random rows; each command is a process of its own, the best of three counts, and
stands beside what it takes with a hundred images.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from hotfolder.ledger.ledger import Ledger

_TIMES = 3
_YEAR = 300 * 86_400


def fill(path: Path, images: int) -> None:
    """A database with so many judged images, and twice as many jobs."""
    Ledger.open(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    rng, now = random.Random(1), time.time()
    connection.execute(
        "INSERT INTO drops (kind, path, size, mtime_ns, inode, device, seen_at, state, created_at)"
        " VALUES ('generate', 'inbox/generate/p.txt', 1, 1, 1, 1, 1, 'placed', 1)"
    )
    scores = [min(10.0, max(1.0, rng.gauss(6, 1.2))) for _ in range(images)]

    def rows() -> Iterator[tuple[Any, ...]]:
        for number, score in enumerate(scores):
            verdict = "keep" if score >= 6.5 else "reject"
            prompt = f"a {rng.choice(['red', 'blue', 'green'])} cat number {number % 5000}"
            model = rng.choice(["shapes", "sdxl-turbo", "flux-schnell"])
            yield (
                f"{verdict}/{number}.png", f"{number:064x}", verdict, prompt, number, model,
                f"inbox/generate/p{number % 1000}.txt", now - rng.random() * _YEAR,
            )  # fmt: skip

    connection.executemany(
        "INSERT INTO images (path, sha256, role, verdict, width, height, prompt, seed, model, source_file, job_id,"
        " drop_id, created_at) VALUES (?, ?, 'generated', ?, 512, 512, ?, ?, ?, ?, 1, 1, ?)",
        rows(),
    )
    connection.executemany(
        "INSERT INTO scores (image_id, score, scorer, weights_sha256, preprocessing, precision, job_id, created_at)"
        " VALUES (?, ?, 'laion-v2', 'w', 'p', 'float32', 1, ?)",
        ((number, score, now) for number, score in enumerate(scores, 1)),
    )
    connection.executemany(
        "INSERT INTO jobs (kind, state, drop_id, source_file, model, created_at, finished_at)"
        " VALUES (?, 'done', 1, 'inbox/generate/p.txt', 'm', 1, ?)",
        ((kind, now - rng.random() * _YEAR) for _ in range(images) for kind in ("generate", "score")),
    )
    connection.execute("COMMIT")
    connection.close()


def measure(root: Path) -> dict[str, float]:
    """Seconds of each command, started anew."""
    connection = sqlite3.connect(root / "hotfolder.db")
    (image,) = connection.execute("SELECT path FROM images ORDER BY score DESC LIMIT 1 OFFSET 20").fetchone()
    connection.close()
    found = {}
    for words in (
        ["status"], ["top"], ["top", "--by", "prompt"], ["top", "--by", "day"], ["why", image], ["show", image],
        ["search", "red", "4999"], ["search", "nothing"], ["search", "кошка"],
        ["show", "keep/not-there.png"], ["stats"], ["reroute", "--keep", "7", "--dry-run"],
    ):  # fmt: skip
        best = float("inf")
        for _ in range(_TIMES):
            started = time.perf_counter()
            command = [sys.executable, "-m", "hotfolder", *words, "--root", str(root)]
            subprocess.run(command, capture_output=True, check=False, cwd=root)
            best = min(best, time.perf_counter() - started)
        found[" ".join(words).replace(image, "IMAGE")] = round(best, 3)
    return found


def main(images: Annotated[int, typer.Option(min=100, help="how many")] = 1_000_000) -> None:
    """Prints one JSON document."""
    told: dict[str, dict[str, float]] = {}
    for number in (100, images):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "hotfolder.toml").touch()
            fill(Path(folder) / "hotfolder.db", number)
            told[f"{number:,} images"] = measure(Path(folder))
    json.dump(told, sys.stdout, indent=1)


if __name__ == "__main__":
    typer.run(main)
