"""How taste does on simulated persons: `uv run python -m tools.evaluate_taste --persons 200 --json taste.json`.

All that it says is simulated: Gaussian embeddings that are like ten real ones in mean, size and spectrum, the real
LAION head where its weights are at hand, and persons whose taste is a formula. The table stands in docs/taste.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hotfolder.taste.evidence import Evidence, Floats, Label
from hotfolder.taste.fit import LEAST_PRIOR, probability
from hotfolder.taste.learning import Learnt, Level, learn
from hotfolder.taste.measures import auc
from hotfolder.taste.space import Space
from tools.taste import persons
from tools.taste.persons import Cell, Person
from tools.taste.world import World, make

SEEN = (100, 200, 400)
_OF_A_WORLD = 25


@dataclass(frozen=True)
class Result:
    """Of one person who has seen so many pictures; on pictures that nobody learnt from."""

    kind: str  # 'person', 'moves only' or 'clicker'
    rho: float
    shape: str
    share: float
    seen: int
    labels: int
    level: str
    auc: float  # of the direction, whether it is on or not; nan where there is none
    auc_of_gate: float  # of the score: the own threshold has the same
    brier: float
    brier_of_threshold: float
    saved: float  # moves that taste saves of 100 pictures, against the gate, where it is on
    seconds: float


def evaluate(
    cells: Sequence[Cell],
    count: int,
    seen: Sequence[int] = SEEN,
    *,
    also: bool = True,
    pool: int = 2000,
    first: int = 0,
) -> Iterator[Result]:
    """`also`: moves alone, and people who say anything. `first`: the number of the first of so many persons."""
    count += first
    for start in range(first, count, _OF_A_WORLD):
        world = make(1000 + start, pool)
        spaces: dict[float, Space] = {}
        for cell in cells:
            for number in range(start, min(count, start + _OF_A_WORLD)):
                person = persons.make(world, cell, number)
                for many in seen:
                    shown = np.random.default_rng([number, many]).permutation(pool)[:many]
                    yield _judged(world, spaces, person, cell, "person", many, person.labels(world, shown))
                if also:
                    shown = np.random.default_rng([number, max(seen)]).permutation(pool)[: max(seen)]
                    moved = person.labels(world, shown, moves_only=True)
                    yield _judged(world, spaces, person, cell, "moves only", max(seen), moved)
        for share in {cell.share for cell in cells} if also else ():
            for number in range(start, min(count, start + _OF_A_WORLD)):
                person = persons.clicker(world, share, number)
                for many in seen:
                    shown = np.random.default_rng([number, many]).permutation(pool)[:many]
                    cell = Cell(float("nan"), "none", share)
                    yield _judged(world, spaces, person, cell, "clicker", many, person.labels(world, shown))


def _judged(
    world: World, spaces: dict[float, Space], person: Person, cell: Cell, kind: str, seen: int, labels: list[Label]
) -> Result:
    evidence = persons.evidence(world, person.keep, labels)
    if person.keep not in spaces:
        spaces[person.keep] = Space.of(evidence)
    began = time.perf_counter()
    learnt = learn(evidence, spaces[person.keep])
    seconds = time.perf_counter() - began
    out = slice(world.pool, None)
    said, ones = person.said[out].astype(float), np.ones(len(world.priors) - world.pool)
    gate = (world.priors[out] - person.keep) / spaces[person.keep].spread
    z, plain = _z(world, evidence, learnt, out), gate
    if learnt.threshold is not None:
        plain = learnt.threshold.a * gate + learnt.threshold.c
    on = learnt.level is Level.DIRECTION
    judge = z if on else gate
    saved = float(((gate >= 0) != said.astype(bool)).mean() - ((judge >= 0) != said.astype(bool)).mean()) * 100
    chances = learnt.calibration.chance(judge) if on and learnt.calibration else probability(plain)
    return Result(
        kind, cell.rho, cell.shape, cell.share, seen, len(evidence.labels), learnt.level.value,
        auc(z, said, ones) if on else float("nan"), auc(gate, said, ones),
        float(((chances - said) ** 2).mean()), float(((probability(plain) - said) ** 2).mean()), saved if on else 0.0,
        seconds,
    )  # fmt: skip


def _z(world: World, evidence: Evidence, learnt: Learnt, out: slice) -> Floats:
    space, parameters = learnt.space, learnt.parameters
    gate = world.priors[out] - evidence.keep
    if space is None or learnt.level is not Level.DIRECTION:
        return gate
    assert parameters[0] >= LEAST_PRIOR - 1e-3
    phi = space.phi(world.vectors[out])
    return parameters[0] * gate / space.spread + parameters[1] + phi @ parameters[2:]


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    lines = [
        "| ρ | taste beyond the score | keeps | seen | persons | on | AUC of the score | AUC where on | "
        "moves saved of 100 | Brier: threshold, where on | on and worse by .01 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key, some in _grouped([each for each in results if each.kind == "person"]):
        on = [each for each in some if each.level == "direction"]
        worse = sum(each.auc < each.auc_of_gate - 0.01 for each in on)
        rho, shape, share, seen = key
        lines.append(
            f"| {rho:g} | {shape} | {share:.0%} | {seen} | {len(some)} | {len(on) / len(some):.0%} | "
            f"{_mean([each.auc_of_gate for each in some])} | {_mean([each.auc for each in on])} | "
            f"{_mean([each.saved for each in on], 1)} | "
            f"{_mean([each.brier_of_threshold for each in on])}, {_mean([each.brier for each in on])} | {worse} |"
        )
    return "\n".join(lines)


def bars(results: Sequence[Result]) -> list[str]:
    """What it has to show, and what it shows."""
    people = [each for each in results if each.kind == "person"]
    like_gate = [each for each in people if each.rho == 1.0]
    found = [f"false switch-on, taste = score: {_share(like_gate)}"]
    found += [
        f"false switch-on, {kind}: {_share([each for each in results if each.kind == kind])}"
        for kind in ("clicker", "moves only")
    ]
    on = [each for each in people if each.level == "direction" and each.seen >= 200]
    good = sum(each.auc >= each.auc_of_gate - 0.01 for each in on)
    found.append(f"on at 200 seen or more, AUC not worse than the threshold's by .01: {good} of {len(on)}")
    wanted = [each for each in people if each.rho <= 0.7 and each.seen >= 400]
    for shape in persons.SHAPES:
        some = [each for each in wanted if each.shape == shape]
        found.append(f"on at ρ ≤ .7 and 400 seen, {shape}: {_share(some)}")
    slowest = max((each.seconds for each in results), default=0.0)
    return [*found, f"slowest fit, of a known library: {slowest:.2f} s"]


def _share(results: Sequence[Result]) -> str:
    on = sum(each.level == "direction" for each in results)
    return f"{on} of {len(results)} ({on / len(results):.1%})" if results else "none"


def _grouped(results: Sequence[Result]) -> Iterator[tuple[tuple[float, str, float, int], list[Result]]]:
    groups: dict[tuple[float, str, float, int], list[Result]] = {}
    for each in results:
        groups.setdefault((each.rho, each.shape, each.share, each.seen), []).append(each)
    yield from sorted(groups.items(), key=lambda each: (-each[0][0], *each[0][1:]))


def _mean(values: Sequence[float], digits: int = 3) -> str:
    return f"{np.mean(values):.{digits}f}" if values else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=200, help="in each cell")
    parser.add_argument(
        "--first", type=int, default=0, help="the number of the first one: to add to an earlier run"
    )
    parser.add_argument(
        "--add", type=Path, nargs="+", default=[], help="results of earlier runs, as --json wrote them"
    )
    parser.add_argument("--seen", type=int, nargs="+", default=list(SEEN))
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="then it ends, and says how many it made"
    )
    parser.add_argument("--json", type=Path, help="every person's result")
    asked = parser.parse_args()
    cells = [
        Cell(rho, shape, share)
        for rho in persons.RHOS
        for shape in (persons.SHAPES if rho < 1 else ("linear",))
        for share in persons.SHARES
    ]
    begin = asked.first * 7 % len(cells)  # so that of runs that are cut off no cell is always the last
    cells = [*cells[begin:], *cells[:begin]]
    ends = time.monotonic() + asked.seconds
    results = [Result(**each) for file in asked.add for each in json.loads(file.read_text())]
    for result in evaluate(cells, asked.persons, asked.seen, first=asked.first):
        results.append(result)
        if time.monotonic() > ends:
            break
    real = make(1, 8, 8).is_real_head
    head = "the real LAION head" if real else "NO REAL HEAD: a made-up one"
    out = sys.stdout
    out.write(f"SIMULATED: Gaussian embeddings, {head}, persons that are formulas.\n\n{table(results)}\n\n")
    out.write("".join(f"- {line}\n" for line in bars(results)))
    if asked.json is not None:
        asked.json.write_text(json.dumps([asdict(each) for each in results]))


if __name__ == "__main__":
    main()
