"""The long form of the tests of faults: `python tests/faults/soak.py --minutes 60` prints one table.

Kills are repeated, with other seeds, until the time is over; everything else runs once. It takes 20 minutes at least.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it is run as a script, too

from tests.faults import crowds, kills
from tests.support.roots import new_root

REPOSITORY = Path(__file__).resolve().parents[2]

#: Tests that are as long as they get already.
SUITES = {
    "every step of publishing, a power cut before and after it": "test_publish_crash.py",
    "full, nearly full, read-only and unmounted disks": "test_disks.py",
    "every way that files come": "test_taking.py",
    "hostile files and checkpoints": "test_hostile.py",
    "damaged and older databases, retry, hanging workers": "test_recovery.py",
}


def suite(name: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", f"{Path(__file__).parent / name}"]
    environ = {**os.environ, "HOTFOLDER_TEST_PAUSE": "10"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=REPOSITORY)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
    assert done.returncode == 0, last
    return last.strip("= ")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long kills are repeated, at least once")
    parser.add_argument("--only", choices=("kills", "scale", "suites"), help="one part of it")
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.minutes * 60
    scenarios: list[tuple[str, Callable[[Path], str]]] = []
    if arguments.only in (None, "scale"):
        scenarios += [
            ("a queue that overflows", lambda folder: crowds.while_it_is_stopped(new_root(folder), 20_000)),
            ("a huge inbox", lambda folder: crowds.at_start(new_root(folder), 100_000)),
        ]
    if arguments.only in (None, "suites"):
        scenarios += [(title, lambda _, name=name: suite(name)) for title, name in SUITES.items()]
    table: list[tuple[str, str, str, float]] = []

    def run(title: str, scenario: Callable[[Path], str]) -> None:
        sys.stderr.write(f"{title} …\n")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            try:
                verdict, told = "ok", scenario(Path(folder))
            except Exception as error:  # noqa: BLE001 - a line of the table
                traceback.print_exc()
                verdict, told = "FAILED", f"{type(error).__name__}: {str(error)[:300]}"
        table.append((title, verdict, told, time.monotonic() - started))

    for title, scenario in scenarios:
        run(title, scenario)
    if arguments.only in (None, "kills"):
        seed = 1
        while seed == 1 or time.monotonic() < until:
            run(
                "SIGKILL at random moments, without models",
                lambda folder, seed=seed: kills.of_a_daemon_without_models(new_root(folder), 200, 300, seed),
            )
            run(
                "SIGKILL at random moments, with models",
                lambda folder, seed=seed: kills.of_everything(new_root(folder), 200, 300, seed, 4.0),
            )
            seed += 1
    for title, verdict, told, seconds in table:
        sys.stdout.write(f"{verdict:<6} {seconds:7.0f} s  {title}\n                  {told}\n")
    return int(any(verdict != "ok" for _, verdict, _, _ in table))


if __name__ == "__main__":
    sys.exit(main())
