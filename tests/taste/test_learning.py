"""What is learnt from evidence, on simulated persons: small worlds of the evaluation's own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from hotfolder.taste import evidence as facts
from hotfolder.taste.evidence import Evidence, Label, Pair, joined_groups
from hotfolder.taste.fit import LEAST_PRIOR, Rows, fit, fits, losses
from hotfolder.taste.learning import Learnt, Level, learn
from hotfolder.taste.measures import auc, auc_error, calibrated
from hotfolder.taste.space import Space
from tools.evaluate_taste import Place, part
from tools.taste import persons
from tools.taste.persons import Cell
from tools.taste.world import World, make


@cache
def world() -> World:
    return make(7, pool=600, held_out=400)


@cache
def place() -> Place:
    return Place(0, 600)


def seen(count: int) -> np.ndarray:
    return np.random.default_rng(5).permutation(600)[:count]


def learnt_of(cell: Cell, count: int, *, moves_only: bool = False, number: int = 0) -> Learnt:
    person = persons.make(world(), cell, number)
    labels = person.labels(world(), seen(count), moves_only=moves_only)
    return learn(persons.evidence(world(), person.keep, labels))


def test_too_few_verdicts_say_how_many_more() -> None:
    learnt = learnt_of(Cell(0.4, "linear", 0.5), 12)
    assert learnt.level is Level.GATE and learnt.threshold is None
    assert learnt.more is not None and learnt.more >= 8
    assert "20 are wanted" in learnt.why_not_more


def test_a_taste_beyond_the_score_is_found_and_does_better_on_other_pictures() -> None:
    (result,) = part(place(), Cell(0.0, "linear", 0.5), range(1), (400,), also=False)
    assert result.level == "direction"
    assert result.auc > result.auc_of_gate + 0.1
    assert result.brier < result.brier_of_threshold
    assert result.saved > 5


def test_whoever_sees_it_as_the_score_does_stays_with_the_gate() -> None:
    found = [each.level for each in part(place(), Cell(1.0, "linear", 0.5), range(4), (200,), also=False)]
    assert "direction" not in found


def test_moves_alone_are_never_learnt_from() -> None:
    """They are the gate's errors: what is learnt from nothing but them is the opposite."""
    for rho in (1.0, 0.4):
        learnt = learnt_of(Cell(rho, "linear", 0.5), 400, moves_only=True)
        assert learnt.level is Level.GATE
        assert "corrections" in learnt.why_not_more


def test_who_says_anything_gets_no_direction() -> None:
    for number in range(4):
        person = persons.clicker(world(), 0.5, number)
        learnt = learn(persons.evidence(world(), person.keep, person.labels(world(), seen(200))))
        assert learnt.level is not Level.DIRECTION


def test_the_order_of_labels_changes_no_byte() -> None:
    person = persons.make(world(), Cell(0.4, "linear", 0.5), 1)
    labels = person.labels(world(), seen(200))
    contents = world().contents
    pairs = [
        Pair(contents[number], contents[number + 1], f"prompt {number}", 300.0 + number) for number in range(8)
    ]
    library = {
        content: (world().vectors[number], float(world().priors[number]))
        for number, content in enumerate(contents[:600])
    }
    one = Evidence.of(library, person.keep, labels, pairs)
    mixed, shuffled = list(library.items()), list(labels)
    random.Random(1).shuffle(mixed)
    random.Random(2).shuffle(shuffled)
    other = Evidence.of(dict(mixed), person.keep, shuffled, reversed(pairs))
    assert one.digest == other.digest
    first, second = learn(one), learn(other)
    assert first.parameters.tobytes() == second.parameters.tobytes()
    assert first.check == second.check and first.threshold == second.threshold


def test_the_own_threshold_is_found_with_its_interval() -> None:
    """Somebody who keeps from half a point above the gate on."""
    priors = world().priors[:600]
    keep = float(np.quantile(priors, 0.5))
    own = keep + 0.4 * float(priors.std())
    chances = 1 / (1 + np.exp(-4 * (priors - own) / priors.std()))
    said = np.random.default_rng(3).random(600) < chances
    labels = [
        Label(world().contents[n], bool(said[n]), 1.0, f"prompt {world().prompts[n]}", float(n + 1),
              bool(said[n]) == bool(priors[n] >= keep))
        for n in seen(300)
    ]  # fmt: skip
    learnt = learn(persons.evidence(world(), keep, labels))
    assert learnt.threshold is not None and learnt.level is Level.THRESHOLD
    assert learnt.threshold.lowest < own < learnt.threshold.highest
    assert learnt.threshold.excludes(keep)


def test_pairs_teach_as_verdicts_do() -> None:
    """Verdicts of who is hard to read, and pairs by what the person likes."""
    person = persons.make(world(), Cell(0.0, "linear", 0.5), 3)
    contents, liked = world().contents, person.chances
    pairs = []
    for n in range(0, 596, 4):
        better, worse = (n, n + 2) if liked[n] > liked[n + 2] else (n + 2, n)
        pairs.append(Pair(contents[better], contents[worse], f"prompt {n // 4}", 500.0 + n))
    labels = person.labels(world(), seen(60))
    library = {c: (world().vectors[n], float(world().priors[n])) for n, c in enumerate(contents[:600])}

    def on_others(learnt: Learnt) -> float:
        space = learnt.space
        assert space is not None
        strength = learnt.check.strength if learnt.check else 10.0
        rows = space.rows(space.evidence.labels, space.evidence.pairs)
        parameters = fit(rows, strength)
        phi = space.phi(world().vectors[600:])
        z = parameters[0] * (world().priors[600:] - person.keep) / space.spread + phi @ parameters[2:]
        return auc(z, person.said[600:].astype(float), np.ones(400))

    alone = on_others(learn(Evidence.of(library, person.keep, labels)))
    together = on_others(learn(Evidence.of(library, person.keep, labels, pairs)))
    assert together > alone + 0.05


def test_the_newest_word_on_a_picture_counts() -> None:
    vector = np.ones(4, np.float32)
    labels = [Label("a", True, 1.0, "g", 1.0, True), Label("a", False, 1.0, "g", 2.0, False)]
    found = Evidence.of({"a": (vector, 5.0)}, 6.5, labels)
    assert [label.keep for label in found.labels] == [False]
    assert Evidence.of({}, 6.5, labels).labels == ()


def test_nearly_the_same_pictures_are_never_on_both_sides() -> None:
    rows = np.array([[1.0, 0.0], [0.999, 0.01], [0.0, 1.0]])
    assert joined_groups(["b", "a", "c"], rows) == ["a", "a", "c"]
    assert joined_groups(["b", "c"], np.array([[1.0, 0.0], [0.0, 1.0]]), [(0, 1)]) == ["b", "b"]
    assert {facts.fold_of(str(n)) for n in range(60)} == {0, 1, 2, 3, 4}
    alike = np.ones((3000, 8))
    alike[1500:] = -1  # past those that are compared at a time
    began = time.process_time()
    joined = joined_groups([f"{number:04d}" for number in range(3000)], alike)
    assert joined == ["0000"] * 1500 + ["1500"] * 1500
    assert time.process_time() - began < 5


def test_what_all_pictures_have_in_common_makes_none_of_them_alike() -> None:
    """Embeddings of CLIP lie close together: by their plain cosine all prompts would be one."""
    person = persons.make(world(), Cell(0.4, "linear", 0.5), 0)
    evidence = persons.evidence(world(), person.keep, person.labels(world(), seen(200)))
    names = [label.group for label in evidence.labels]
    contents = [label.content for label in evidence.labels]
    assert joined_groups(names, Space.of(evidence).apart(contents)) == names
    plain = world().vectors[[int(content, 16) for content in contents]]
    assert len(set(joined_groups(names, plain))) < len(set(names)) / 5


def test_the_fit_is_the_minimum() -> None:
    rng = np.random.default_rng(0)
    rows = Rows(np.c_[rng.normal(size=(200, 1)), np.ones((200, 1)), rng.normal(size=(200, 3))],
                (rng.random(200) < 0.4).astype(float), rng.uniform(0.2, 1, 200))  # fmt: skip
    rows = replace(rows, answers=(rows.rows[:, 0] + rng.normal(size=200) > 0).astype(float))

    def cost(p: np.ndarray) -> float:
        own = float((rows.weights * losses(rows.answers, rows.rows @ p)).sum())
        return own + 0.5 * (p[0] - 1) ** 2 + 0.5 * 2.0 * float(p[2:] @ p[2:])

    found = fit(rows, 2.0)
    for step in np.eye(5) * 1e-3:
        assert cost(found) < cost(found + step) and cost(found) < cost(found - step)


def test_folds_that_are_fitted_together_are_as_if_fitted_alone() -> None:
    rng = np.random.default_rng(1)
    rows = Rows(np.c_[rng.normal(size=(120, 1)), np.ones((120, 1)), rng.normal(size=(120, 4))],
                np.zeros(120), rng.uniform(0.2, 1, 120))  # fmt: skip
    # In one of the folds the score says the opposite: its share is the least there.
    liked = np.where(np.arange(120) % 3 == 0, 3, -1) * rows.rows[:, 0] + rows.rows[:, 3]
    rows = replace(rows, answers=(liked + rng.normal(size=120) > 0).astype(float))
    inside = np.arange(120) % 3 == np.arange(3)[:, None]
    together = fits(rows, rows.weights * ~inside, 2.0)
    again = fits(rows, rows.weights * ~inside, 2.0, together + 0.3)
    for fold, found, warm in zip(inside, together, again, strict=True):
        assert found == pytest.approx(fit(rows.some(~fold), 2.0), abs=1e-6)
        assert warm == pytest.approx(found, abs=1e-6)
    assert together[0, 0] == pytest.approx(LEAST_PRIOR, abs=1e-3) and (together[1:, 0] > LEAST_PRIOR + 0.01).all()


def test_measures() -> None:
    ones = np.ones(4)
    answers = np.array([0.0, 1.0, 0.0, 1.0])
    assert auc(np.array([0.1, 0.9, 0.2, 0.8]), answers, ones) == 1.0
    assert auc(np.array([1.0, 1.0, 1.0, 1.0]), answers, ones) == 0.5
    assert auc(np.array([0.1, 0.1, 0.2, 0.8]), answers, ones) == pytest.approx(0.625)
    # The figures of the reference: 10 and 10 at .75 give .11, 50 and 50 .048, 100 and 100 .034.
    assert auc_error(0.75, 10, 10) == pytest.approx(0.11, abs=0.005)
    assert auc_error(0.75, 50, 50) == pytest.approx(0.048, abs=0.002)
    assert auc_error(0.75, 100, 100) == pytest.approx(0.034, abs=0.001)
    rng = np.random.default_rng(0)
    z = rng.normal(size=2000)
    said = (rng.random(2000) < 1 / (1 + np.exp(-(0.5 * z + 1)))).astype(float)
    calibration = calibrated(z, said, np.ones(2000))
    assert calibration.slope == pytest.approx(0.5, abs=0.1) and calibration.offset == pytest.approx(1, abs=0.1)
    assert sum(count for count, _, _ in calibration.table) == 2000


@pytest.mark.slow
@pytest.mark.alone
def test_ten_thousand_pictures_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(10_000, 768)).astype(np.float32)
    priors = rng.normal(6, 0.5, 10_000)
    contents = [f"{n:064x}" for n in range(10_000)]
    library = {c: (vectors[n], float(priors[n])) for n, c in enumerate(contents)}
    labels = [
        Label(contents[n], bool(priors[n] + rng.normal(0, 0.5) > 6), 1.0, f"p{n // 4}", float(n + 1), n % 3 > 0)
        for n in range(1000)
    ]
    evidence = Evidence.of(library, 6.0, labels)
    learn(evidence)  # warm
    slowness = max(1.0, least(lambda: vectors.T @ vectors) / 0.05)  # than the machine of docs/taste.md
    assert least(lambda: learn(evidence)) < 1.5 * slowness  # there it is below 1 s


def least(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three times."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def test_a_library_without_any_difference_is_no_trouble() -> None:
    vector = np.ones(8, np.float32)
    library = {f"{n:04d}": (vector, 6.0) for n in range(40)}
    labels = [Label(f"{n:04d}", n % 2 == 0, 1.0, f"g{n}", float(n + 1), True) for n in range(40)]
    learnt = learn(Evidence.of(library, 6.5, labels))
    assert learnt.level is not Level.DIRECTION
    assert np.isfinite(learnt.parameters).all()
    assert Space.of(Evidence.of({}, 6.5, [])).scale == 1.0
