"""Which of several copies is the best, and why."""

from __future__ import annotations

from hotfolder.core.copies import Candidate, best_of, groups


def of(
    image_id: int, score: float | None = 6.0, side: int = 100, *, is_mine: bool = False, scorer: str | None = "s"
) -> Candidate:
    return Candidate(image_id, is_mine, score, scorer, side, side)


def test_the_best_and_why() -> None:
    def told(*members: Candidate) -> tuple[int, str]:
        best, why = best_of(members)
        return best.id, why

    assert told(of(1, 6.0), of(2, 7.25), of(3, 7.0)) == (2, "its score is the highest: 7.25, the next 7.00")
    assert told(of(1, 7.05, 50), of(2, 7.0, 400)) == (2, "it is the largest: 400×400, and none has a higher score")
    assert told(of(1, 7.05), of(2, 7.0)) == (1, "all are alike, and it came first")
    assert told(of(1, 9.0), of(2, 3.0, is_mine=True)) == (2, "you kept it")
    assert told(of(1, 6.0, is_mine=True), of(2, 7.0, is_mine=True), of(3, 9.0))[0] == 2
    # Scores of different scorers are not compared.
    assert told(of(1, 9.0, scorer="a"), of(2, 3.0, 200, scorer="b"))[0] == 2
    assert told(of(1, None, scorer=None), of(2, None, 200, scorer=None))[0] == 2


def test_copies_of_copies_are_not_enough() -> None:
    """1 and 3 are copies of 2, and not of each other: with 1 the best, 3 stands for itself."""
    found = groups([of(1, 9.0), of(2, 8.0), of(3, 7.0)], {(1, 2): 0.9, (2, 3): 0.95})
    assert [(group.best, dict(group.others)) for group in found] == [(1, {2: 0.9})]
    found = groups([of(1, 7.0), of(2, 9.0), of(3, 8.0), of(4, 5.0)], {(1, 2): 0.9, (2, 3): 0.95})
    assert [(group.best, list(group.others.items())) for group in found] == [(2, [(3, 0.95), (1, 0.9)])]
    assert groups([of(1), of(2)], {}) == []


def test_the_best_may_be_another_than_the_one_of_the_highest_score() -> None:
    (group,) = groups([of(1, 7.05, 50), of(2, 7.0, 400), of(3, 6.0)], {(1, 2): 0.97, (1, 3): 0.9})
    assert (group.best, dict(group.others)) == (2, {1: 0.97, 3: 0.9})
