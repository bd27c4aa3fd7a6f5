"""The evaluation's own arithmetic, without its simulated persons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools import evaluate_taste
from tools.evaluate_taste import Result, bars, by_gain, collected, table
from tools.taste import persons
from tools.taste.persons import Cell


def result(cell: Cell, seen: int, *, on: bool) -> Result:
    level, auc = ("direction", 0.8) if on else ("gate", float("nan"))
    known = (0.7, 0.82, 0.05, 0.78, 2.0, 0.15, 0.2, 3.0, 0.1)  # from `auc_of_gate` on
    return Result(cell.kind, cell.rho, cell.shape, cell.share, seen, seen, level, auc, *known)


def test_parts_that_lie_there_are_not_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Cell] = []

    def part(place: object, cell: Cell, numbers: range, seen: tuple[int, ...], **also: Any) -> Iterator[Result]:
        if len(made) == 30:
            raise KeyboardInterrupt
        made.append(cell)
        yield from (result(cell, many, on=cell.rho < 1 and number % 2 == 0) for number in numbers for many in seen)

    monkeypatch.setattr(evaluate_taste, "part", part)
    monkeypatch.setattr(evaluate_taste, "Place", lambda number, pool: None)
    with pytest.raises(KeyboardInterrupt):
        list(collected(tmp_path, 30, (200, 400)))
    assert len(list(tmp_path.glob("*.json"))) == 30  # of 22 cells, and 25 and 5 persons of each
    first, made = list(made), made[:0]
    results = [each for some in collected(tmp_path, 30, (200, 400)) for each in some]
    assert len(made) == 2 * 22 - 30 and first[22:] + made == first[:22]
    assert len(results) == 22 * 30 * 2
    assert len(table(results).splitlines()) == 2 + 20 * 2
    assert any(line.startswith("false switch-on, taste = score: 0 of") for line in bars(results))
    assert "| 400 | 0.04 to 0.08 |" in by_gain(results)


def test_chances_have_the_mean_and_the_ceiling_that_are_wanted() -> None:
    liking = np.random.default_rng(0).normal(size=2000)
    for share in persons.SHARES:
        chances = persons._noisy(liking, share)
        assert chances.mean() == pytest.approx(share, abs=1e-9)
        assert persons._expected(np.sort(chances)) == pytest.approx(persons.CEILING, abs=1e-9)
