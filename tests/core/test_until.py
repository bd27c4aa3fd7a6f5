"""How many more seeds are begun, and why it ends."""

from __future__ import annotations

import pytest

from hotfolder.core.prompts import images_of, parse
from hotfolder.core.until import Next, Run, following
from hotfolder.errors import PromptSyntax


@pytest.mark.parametrize(
    ("kept", "drawn", "in_work", "more"),
    [
        (0, 5, 4, 1),  # one was rejected: another one takes its place
        (1, 5, 4, 0),  # one was kept
        (4, 9, 0, 1),
        (0, 60, 4, 0),  # as many as there may be
        (3, 58, 0, 2),
        (0, 58, 0, 2),  # one that failed is made up for
    ],
)
def test_never_more_are_in_work_than_are_missing(kept: int, drawn: int, in_work: int, more: int) -> None:
    assert following(Run(kept, drawn, in_work), 5, 60) == Next(more)


def test_why_it_ends() -> None:
    assert following(Run(5, 12, 0), 5, 60).stopped == "5 of 12 were kept, as many as --until-kept asks for"
    ends = "60 seeds are as many as --at-most allows: 2 of 5 were kept"
    assert following(Run(2, 60, 0), 5, 60) == Next(0, ends)


def test_as_a_flag() -> None:
    (spec,) = parse("p.txt", "a star --until-kept 3 --at-most 10 --seed 7", lambda: 0)
    assert (spec.until_kept, spec.at_most, spec.seed) == (3, 10, 7)
    assert [image.seed for image in images_of(spec)] == [7, 8, 9]
    first, second = parse("p.txt", "a star --until-kept 2 --seed 7 --count 2", lambda: 0)
    assert second.seed - first.seed == 24


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x --at-most 5", "at_most without until_kept"),
        ("x --until-kept 9 --at-most 5", "of 5 seeds 9 cannot be kept"),
        ("x --until-kept 2 --best-of 4", "until_kept beside best_of"),
        ("x --until-kept 2 --at-most 5 --seeds 1,3", "these overlap"),
    ],
)
def test_what_makes_no_sense_is_a_mistake(line: str, message: str) -> None:
    with pytest.raises(PromptSyntax, match=message):
        parse("p.txt", line, lambda: 0)
