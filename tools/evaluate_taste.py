"""How taste does on simulated persons: `uv run python -m tools.evaluate_taste --persons 200 --parts taste-parts`.

All that it says is simulated: Gaussian embeddings that are like ten real ones in mean, size and spectrum, the real
LAION head where its weights are at hand, and persons whose taste is a formula. The table stands in docs/taste.md.
It may be stopped at any time: with the same `--parts` it goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hotfolder.taste.evidence import Evidence, Floats, Label
from hotfolder.taste.fit import Rows, fit, losses, probability
from hotfolder.taste.learning import SURE, Level, learn
from hotfolder.taste.measures import auc
from hotfolder.taste.space import Space
from tools.taste import persons
from tools.taste.persons import Cell, Person
from tools.taste.world import World, make

SEEN = (200, 400)
#: Persons of one kind who judge the same pictures.
OF_A_WORLD = 25
#: Logloss that the best direction saves a picture, in nats: whether it is on where there is something to gain.
_GAINS = (-math.inf, 0.01, 0.02, 0.04, 0.08, math.inf)


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
    auc: float  # of the direction where it is on; else nan
    auc_of_gate: float  # of the score: the own threshold has the same
    auc_of_best: (
        float  # of the direction that is learnt from this person's chances of keeping each of the pictures
    )
    gain_of_best: float  # logloss that it saves a picture against the own threshold that is learnt so, in nats
    auc_out_of_fold: float  # of the direction, on or not, as it is checked; nan where it is not
    sureness: float  # of its gain, in standard errors; likewise
    brier: float
    brier_of_threshold: float
    saved: float  # moves that taste saves of 100 pictures, against the gate, where it is on
    seconds: float  # of the processor, without those for the library


class Place:
    """A world and all that is the same for everybody in it."""

    def __init__(self, number: int, pool: int) -> None:
        self.world: World = make(1000 + number, pool)
        self.evidence: Evidence = persons.evidence(self.world, 0.0, [])
        self.space: Space = Space.of(self.evidence)

    @cached_property
    def phi(self) -> Floats:
        """(n, k): of all pictures."""
        return self.space.phi(self.world.vectors)

    def rows(self, keep: float, some: slice) -> Floats:
        gate = (self.world.priors[some] - keep) / self.space.spread
        return np.column_stack([gate, np.ones(len(gate)), self.phi[some]])


def part(place: Place, cell: Cell, numbers: Iterable[int], seen: Sequence[int], *, also: bool) -> Iterator[Result]:
    """Persons of one cell in one world. `also`: with moves alone, too."""
    world = place.world
    for number in numbers:
        person = persons.make(world, cell, number)
        best = _best(place, person)
        for many in seen:
            labels = person.labels(world, _shown(world, number, many))
            yield _judged(place, person, cell, cell.kind, many, labels, best)
        if also and cell.kind == "person":
            moved = person.labels(world, _shown(world, number, max(seen)), moves_only=True)
            yield _judged(place, person, cell, "moves only", max(seen), moved, best)


def _shown(world: World, number: int, many: int) -> np.ndarray:
    return np.random.default_rng([number, many]).permutation(world.pool)[:many]


def _best(place: Place, person: Person) -> tuple[float, float]:
    """AUC and gain of what a direction could come to: no label by chance, and one of each picture of the pool."""
    pool = place.world.pool
    known = Rows(place.rows(person.keep, slice(pool)), person.chances[:pool], np.ones(pool))
    out = slice(pool, None)
    rows, chances = place.rows(person.keep, out), person.chances[out]
    plain, z = rows[:, :2] @ fit(known.without_direction(), 0.0), rows @ fit(known, 1.0)
    saved = [chances * losses(np.ones(len(z)), each) + (1 - chances) * losses(np.zeros(len(z)), each)
             for each in (plain, z)]  # fmt: skip
    return auc(z, person.said[out].astype(float), np.ones(len(z))), float((saved[0] - saved[1]).mean())


def _judged(
    place: Place, person: Person, cell: Cell, kind: str, seen: int, labels: list[Label], best: tuple[float, float]
) -> Result:
    evidence = replace(place.evidence, keep=person.keep, labels=tuple(labels))
    began = time.process_time()
    learnt = learn(evidence, place.space)
    seconds = time.process_time() - began
    out = slice(place.world.pool, None)
    rows, said = place.rows(person.keep, out), person.said[out].astype(float)
    ones, gate, plain = np.ones(len(said)), rows[:, 0], rows[:, 0]
    if learnt.threshold is not None:
        plain = learnt.threshold.a * gate + learnt.threshold.c
    on = learnt.level is Level.DIRECTION
    judge = rows @ learnt.parameters if on else gate
    saved = float(((gate >= 0) != said.astype(bool)).mean() - ((judge >= 0) != said.astype(bool)).mean()) * 100
    chances = learnt.calibration.chance(judge) if on and learnt.calibration else probability(plain)
    check = learnt.check
    return Result(
        kind, cell.rho, cell.shape, cell.share, seen, len(evidence.labels), learnt.level.value,
        auc(judge, said, ones) if on else math.nan, auc(gate, said, ones), *best,
        check.auc if check else math.nan, check.sureness if check else math.nan,
        float(((chances - said) ** 2).mean()), float(((probability(plain) - said) ** 2).mean()), saved if on else 0.0,
        seconds,
    )  # fmt: skip


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    lines = [
        "| ρ | taste beyond the score | keeps | seen | persons | on | AUC of the score | of the best direction | "
        "where on | moves saved of 100 | Brier: threshold, where on | on and worse by .01 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key, some in _grouped([each for each in results if each.kind == "person"]):
        on = [each for each in some if each.level == "direction"]
        worse = sum(each.auc < each.auc_of_gate - 0.01 for each in on)
        rho, shape, share, seen = key
        lines.append(
            f"| {rho:g} | {shape} | {share:.0%} | {seen} | {len(some)} | {len(on) / len(some):.0%} | "
            f"{_mean([each.auc_of_gate for each in some])} | {_mean([each.auc_of_best for each in some])} | "
            f"{_mean([each.auc for each in on])} | {_mean([each.saved for each in on], 1)} | "
            f"{_mean([each.brier_of_threshold for each in on])}, {_mean([each.brier for each in on])} | {worse} |"
        )
    return "\n".join(lines)


def by_gain(results: Sequence[Result]) -> str:
    """Markdown: on or not, by what there is to gain for the person. Of tastes beyond the score."""
    people = [each for each in results if each.kind == "person" and each.rho <= 0.7]
    lines = [
        f"| seen | the best direction saves, in nats a picture | {' | '.join(persons.SHAPES)} |",
        f"| --- | --- {'| --- ' * len(persons.SHAPES)}|",
    ]
    for seen in sorted({each.seen for each in people}):
        for low, high in itertools.pairwise(_GAINS):
            some = [each for each in people if each.seen == seen and low <= each.gain_of_best < high]
            name = f"below {high:g}" if low < 0 else f"{low:g} to {high:g}" if high < 1 else f"{low:g} or more"
            shares = [_share([each for each in some if each.shape == shape]) for shape in persons.SHAPES]
            lines.append(f"| {seen} | {name} | {' | '.join(shares)} |")
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
    found.append(f"on at ρ ≤ .7 and 400 seen: {_share(wanted)}")
    for shape in persons.SHAPES:
        some = [each for each in wanted if each.shape == shape]
        found.append(f"on at ρ ≤ .7 and 400 seen, {shape}: {_share(some)}")
        off = [each for each in some if each.level != "direction"]
        unsure = sum(not each.sureness > SURE for each in off)
        found.append(f"  of those off, so many save too little logloss, or not surely: {unsure} of {len(off)}")
    slowest = max((each.seconds for each in results), default=0.0)
    return [*found, f"slowest fit, of a known library: {slowest:.2f} s of a processor"]


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


def collected(folder: Path, count: int, seen: Sequence[int]) -> Iterator[list[Result]]:
    """What lies there, and what is missing: each part is written as soon as it is known."""
    cells = [
        Cell(rho, shape, share)
        for rho in persons.RHOS
        for shape in (persons.SHAPES if rho < 1 else ("linear",))
        for share in persons.SHARES
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, OF_A_WORLD):
        place: Place | None = None
        numbers = range(first, min(count, first + OF_A_WORLD))
        for cell in [*cells, *persons.clickers(cells)]:
            kind = cell.shape.replace(" ", "-")
            path = folder / f"{first:04d}-{len(numbers)}-{kind}-{cell.rho:g}-{cell.share:g}-{max(seen)}.json"
            if not path.exists():
                place = place or Place(first, 2000)
                found = [asdict(each) for each in part(place, cell, numbers, seen, also=True)]
                half = path.with_suffix(".half")
                half.write_text(json.dumps(found), encoding="utf-8")
                half.replace(path)
            yield [Result(**each) for each in json.loads(path.read_text(encoding="utf-8"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=200, help="in each cell")
    parser.add_argument("--seen", type=int, nargs="+", default=list(SEEN))
    parser.add_argument(
        "--parts",
        type=Path,
        required=True,
        help="a folder for results as they come; what lies there is not made anew",
    )
    asked = parser.parse_args()
    results = [each for some in collected(asked.parts, asked.persons, asked.seen) for each in some]
    head = "the real LAION head" if make(1, 8, 8).is_real_head else "NO REAL HEAD: a made-up one"
    out = sys.stdout
    out.write(f"SIMULATED: Gaussian embeddings, {head}, persons that are formulas.\n\n")
    out.write(f"{table(results)}\n\n{by_gain(results)}\n\n")
    out.write("".join(f"- {line}\n" for line in bars(results)))


if __name__ == "__main__":
    main()
