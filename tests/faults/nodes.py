"""Machines that fail while a cluster works: `python -m tests.faults.nodes --jobs 200`.

The daemon, the head of a Ray cluster and two machines that work are on this machine, in namespaces of their own (see
tests/support/machines.py; root, or a user who may make them). Files of every kind are dropped, the built-in models
work them, and while the machine that is meant has work, it happens:

- `node`: a machine is switched off, and another one joins instead;
- `cut`: nothing reaches a machine for 60 s; it goes on with what it has, and its cable is put in again;
- `actor`: the process of Ray that holds a device is killed; `frozen`: it is stopped for 75 s, and goes on;
- `head`: all processes of the head are killed, those of the daemon's own node with them; another one begins there;
- `daemon`: the daemon is killed, and started again.

In the end every file was worked once and lies in one place, each job has one result however often it was claimed,
nothing is in staging, no host has left a folder on a machine, and all results are byte for byte what one worker
without Ray makes of the same files. With `--no-shared-root` the machines that work do not see the root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from hotfolder.executors.limits import die_with_parent
from hotfolder.folders.layout import Layout
from hotfolder.status.live import read
from tests.faults.load import accounted_for, digest, fill
from tests.support.clusters import AS_OTHERS, SOON_NOTICED
from tests.support.live import REPOSITORY, LiveDaemon, wait_for
from tests.support.machines import ADDRESS, Machine, Machines, inside, stopped, why_not
from tests.support.roots import files_in, is_done, new_root, rows

FAULTS = ("node", "cut", "actor", "frozen", "head", "daemon")
#: Seconds: how long the network is cut, and a process is stopped.
CUT_SECONDS, FROZEN_SECONDS = 60.0, 75.0
#: Seconds that anything may take, on a machine with other work.
_PATIENCE = 600.0
_LOOK_EVERY = 0.2
_SIZE = (320, 240)
#: Images are drawn one at a time, so that they are the same whatever is drawn with them.
_SETTINGS = {
    "HOTFOLDER_GATE__MAX_ATTEMPTS": "1",
    "HOTFOLDER_GENERATE__BATCH_SIZE": "1",
    "HOTFOLDER_SCORE__BATCH_SIZE": "16",
    "HOTFOLDER_EXECUTOR__SET_ASIDE_SECONDS": "2",
}
_ON_RAY = {"HOTFOLDER_EXECUTOR__KIND": "ray", "HOTFOLDER_EXECUTOR__ADDRESS": ADDRESS}
_RESULTS = ("keep", "reject", "upscaled", "archive", "failed")


class Trial:
    """One cluster, one root, and another root with the same files."""

    def __init__(self, folder: Path, seed: int, *, shared: bool, soon: bool) -> None:
        self._seed = seed
        self.layout = new_root(folder / "line")
        self._beside = new_root(folder / "beside")
        self._dropped: dict[str, str] = {}
        hidden = None if shared else self.layout.root
        self.machines = Machines(folder, hidden=hidden, **AS_OTHERS, **(SOON_NOTICED if soon else {}))
        self.nodes = [self.machines.add(), self.machines.add()]
        self.daemon = self.start_daemon()

    def start_daemon(self, *arguments: str) -> LiveDaemon:
        return LiveDaemon(self.layout, *arguments, **_SETTINGS, **_ON_RAY, **self._environ())

    def _environ(self) -> dict[str, str]:
        known = self.machines.environment
        return {name: known[name] for name in known if name == "PYTHONPATH" or name.startswith("RAY_")}

    def drop(self, count: int) -> None:
        """So many files, in both roots."""
        first = len(self._dropped)
        seed = self._seed * 1000 + first
        self._dropped |= fill(self.layout, count, random.Random(seed), _SIZE, first=first)
        fill(self._beside, count, random.Random(seed), _SIZE, first=first)

    def devices(self) -> Mapping[str, Mapping[str, Any]]:
        """By their machines, as the daemon tells them."""
        live = read(self.layout.live_status)
        return {each["machine"]: each for each in live.devices} if live else {}

    def is_fit(self, machine: Machine) -> bool:
        return self._state(machine) not in (None, "unfit", "set aside")

    def is_at_work(self, machine: Machine) -> bool:
        """On what takes so long that it does not end by itself just now."""
        found = self.devices().get(machine.name)
        return found is not None and found["jobs"] > 0 and found["kind"] in ("generate", "upscale")

    def _state(self, machine: Machine) -> str | None:
        found = self.devices().get(machine.name)
        return str(found["state"]) if found is not None else None

    def wait(self, condition: Callable[[], bool], what: str) -> float:
        """Looks seldom: others need the processor. Raises AssertionError."""
        try:
            return wait_for(condition, _PATIENCE, what, every=_LOOK_EVERY)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{dict(self.devices())}\n{self.daemon.text()[-6000:]}") from None

    def all_fit(self) -> None:
        self.wait(lambda: all(map(self.is_fit, self.nodes)), "all machines can be given work")

    def all_worked(self) -> None:
        self.wait(lambda: is_done(self.layout), "all is worked")

    def count(self) -> str:
        """Stops the daemon in order, and proves that all was worked once, as one worker would have done it."""
        assert self.daemon.stop() == 0, self.daemon.text()[-3000:]
        with self.start_daemon("--once") as last:  # it finds nothing to do
            assert last.process.wait(_PATIENCE) == 0, last.text()[-3000:]
        told = accounted_for(self.layout, self._dropped)
        left = [path for node in self.nodes for path in node.left()]
        assert left == [], f"folders were left on machines: {left}"
        jobs, claims = rows(self.layout, "SELECT count(*), sum(claim) FROM jobs WHERE state = 'done'")[0]
        deaths = rows(self.layout, "SELECT coalesce(sum(deaths), 0) FROM jobs")[0][0]
        once = {**os.environ, **_SETTINGS, "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
        command = [sys.executable, "-m", "hotfolder", "run", "--once", "--root", str(self._beside.root)]
        subprocess.run(command, env=once, check=True, capture_output=True, cwd=REPOSITORY, timeout=_PATIENCE)
        made, expected = (_digests(layout) for layout in (self.layout, self._beside))
        assert made.keys() == expected.keys(), sorted(made.keys() ^ expected.keys())
        others = [path for path, sha256 in made.items() if expected[path] != sha256]
        assert others == [], f"not what one worker makes: {others}"
        return (
            f"{told}; {claims} claims of {jobs} jobs, of {claims - jobs} older ones nothing came; {deaths} deaths of "
            f"files; {len(made)} files byte for byte as without Ray"
        )

    def close(self) -> None:
        if self.daemon.process.poll() is None:
            self.daemon.kill()


def _digests(layout: Layout) -> dict[str, str]:
    return {path: digest(layout.root / path) for path in files_in(layout, *_RESULTS)}


def _node(trial: Trial, victim: Machine) -> tuple[float, float]:
    victim.switch_off()
    began = time.monotonic()
    trial.nodes[trial.nodes.index(victim)] = trial.machines.add()
    noticed = trial.wait(lambda: not trial.is_fit(victim), "it is noticed")
    trial.all_fit()
    return noticed, time.monotonic() - began


def _cut(trial: Trial, victim: Machine) -> tuple[float, float]:
    began = time.monotonic()
    victim.cut()
    noticed = None
    while (since := time.monotonic() - began) < CUT_SECONDS:
        if noticed is None and not trial.is_fit(victim):
            noticed = since
        time.sleep(_LOOK_EVERY)
    victim.mend()
    mended = time.monotonic()
    if noticed is None:
        trial.wait(lambda: not trial.is_fit(victim), "it is noticed")
        noticed = time.monotonic() - began
    trial.all_fit()
    return noticed, time.monotonic() - mended


def _actor(trial: Trial, victim: Machine) -> tuple[float, float]:
    host = victim.host()
    assert host is not None
    host.kill()
    noticed = trial.wait(lambda: not trial.is_fit(victim), "it is noticed")
    return noticed, noticed + trial.wait(lambda: trial.is_fit(victim), "another host has begun")


def _frozen(trial: Trial, victim: Machine) -> tuple[float, float]:
    host = victim.host()
    assert host is not None
    began = time.monotonic()
    stopped(host, FROZEN_SECONDS)
    trial.wait(lambda: _is_over(host), "the old host is ended")
    ended = time.monotonic() - began
    trial.all_fit()
    return ended, time.monotonic() - began


def _is_over(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _head(trial: Trial, _: Machine) -> tuple[float, float]:
    trial.machines.kill_head()
    noticed = trial.wait(lambda: not any(map(trial.is_fit, trial.nodes)), "it is noticed")
    trial.machines.start_head()
    began = time.monotonic()
    trial.all_fit()
    return noticed, time.monotonic() - began


def _daemon(trial: Trial, _: Machine) -> tuple[float, float]:
    hosts = [host for node in trial.nodes if (host := node.host()) is not None]
    trial.daemon.kill()
    began = time.monotonic()
    ended = trial.wait(lambda: all(map(_is_over, hosts)), "no host works for nobody")
    trial.layout.live_status.unlink(missing_ok=True)
    trial.daemon = trial.start_daemon()
    trial.all_fit()
    return ended, time.monotonic() - began


_DO: Mapping[str, Callable[[Trial, Machine], tuple[float, float]]] = {
    "node": _node, "cut": _cut, "actor": _actor, "frozen": _frozen, "head": _head, "daemon": _daemon,
}  # fmt: skip


def run(folder: Path, files: int, seed: int, faults: Sequence[str], *, shared: bool, soon: bool) -> str:
    """All faults, one after the other, each while the machine that is meant has work. Raises AssertionError."""
    began, figures = time.monotonic(), []
    trial = Trial(folder, seed, shared=shared, soon=soon)
    rng = random.Random(seed)
    try:
        trial.all_fit()
        figures.append(f"two machines at work {time.monotonic() - began:.0f} s after the start")
        for number, fault in enumerate(faults):
            trial.drop(files * (number + 1) // len(faults) - files * number // len(faults))
            victim = rng.choice(trial.nodes)
            _see_to_work(trial, victim)
            sys.stderr.write(f"{fault}: {victim.name} …\n")
            noticed, again = _DO[fault](trial, victim)
            figures.append(f"{fault}: noticed after {noticed:.0f} s, at work again after {again:.0f} s")
            sys.stderr.write(f"{figures[-1]}\n")
        trial.all_worked()
        figures.append(trial.count())
        return "; ".join(figures)
    finally:
        trial.close()


def _see_to_work(trial: Trial, victim: Machine) -> None:
    """Until the machine has something to do that lasts; drops more where all is done before that."""

    def is_at_work() -> bool:
        if is_done(trial.layout):
            trial.drop(4)
        return trial.is_at_work(victim)

    trial.wait(is_at_work, f"{victim.name} has work")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="files that are dropped; most come to several jobs")
    parser.add_argument("--no-shared-root", action="store_true", help="the machines that work do not see the root")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default=",".join(FAULTS), help="which, in order")
    parser.add_argument("--soon", action="store_true", help="Ray notices in seconds what it else does in a minute")
    parser.add_argument("--keep", type=Path, help="an empty folder that is not removed in the end")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    faults = arguments.faults.split(",")
    if unknown := [name for name in faults if name not in FAULTS]:
        parser.error(f"there is no fault '{unknown[0]}'")
    if not arguments.inside:
        if reason := why_not():
            parser.error(reason)
        command = inside("-m", "tests.faults.nodes", *sys.argv[1:], "--inside")
        return subprocess.run(command, cwd=REPOSITORY, preexec_fn=die_with_parent).returncode
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nodes-")))
        shared = not arguments.no_shared_root
        sys.stdout.write(
            run(folder, arguments.jobs, arguments.seed, faults, shared=shared, soon=arguments.soon) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
