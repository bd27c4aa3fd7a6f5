"""The gate's formula, and the search for the size of micro-batches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotfolder.core import formula
from hotfolder.core.formula import FormulaError, parse
from hotfolder.core.microbatch import Sizing, halved, timed

SCORES = {"laion-v2": 6.0, "technical": 8.0, "/a/my head.pth": 3.0}


@pytest.mark.parametrize(
    ("text", "spelling", "names", "value"),
    [
        ("technical", "technical", ("technical",), 8.0),
        ("0.8*laion-v2 + 0.2*technical", "0.8*laion-v2 + 0.2*technical", ("laion-v2", "technical"), 6.4),
        ("  0.80 * laion-v2+.2*technical", "0.8*laion-v2 + 0.2*technical", ("laion-v2", "technical"), 6.4),
        ("laion-v2 -technical", "laion-v2 - technical", ("laion-v2", "technical"), -2.0),
        ("2*(technical - laion-v2)", "2*(technical - laion-v2)", ("technical", "laion-v2"), 4.0),
        ("-laion-v2 + 10", "-laion-v2 + 10", ("laion-v2",), 4.0),
        ("min(laion-v2, technical)", "min(laion-v2, technical)", ("laion-v2", "technical"), 6.0),
        ("max(laion-v2, technical - 3, 1)", "max(laion-v2, technical - 3, 1)", ("laion-v2", "technical"), 6.0),
        ("'/a/my head.pth'", '"/a/my head.pth"', ("/a/my head.pth",), 3.0),
        ("0.00001*technical + 1000000", "0.00001*technical + 1000000", ("technical",), 1000000.00008),
        ("0.12345678*technical", "0.12345678*technical", ("technical",), 0.98765424),
        ("technical - laion-v2 - 1", "technical - laion-v2 - 1", ("technical", "laion-v2"), 1.0),
    ],
)
def test_formulas_mean_what_they_say(text: str, spelling: str, names: tuple[str, ...], value: float) -> None:
    parsed = parse(text)
    assert (parsed.text, parsed.names) == (spelling, names)
    assert parsed.value(SCORES) == pytest.approx(value)
    assert parse(parsed.text).text == parsed.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "column 1: expected a scorer or a number, not the end"),
        ("1 + 2", "it names no scorer"),
        ("technical +", "column 12: expected a scorer or a number, not the end"),
        ("technical laion-v2", "column 11: expected an operator or the end, not 'laion-v2'"),
        ("(technical", "column 11: expected ')', not the end"),
        ("0.5laion-v2", "column 1: expected a scorer or a number, not '0'"),
        ("technical ** 2", "column 12: expected a scorer or a number, not '*'"),
        ("__import__('os')", "column 11: expected an operator or the end, not '('"),
        ("technical; drop", "column 12"),
        ('""', "column 1: a scorer's name is empty"),
        ("(" * 1000 + "technical", "nested too deeply"),
        ("-" * 1000 + "technical", "nested too deeply"),
    ],
)
def test_what_is_not_understood_is_said_with_its_place(text: str, says: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert says in str(caught.value)


@given(st.text(alphabet="ab-1.5*+ (),'\"/_min", max_size=40))
def test_no_text_crashes_the_parser(text: str) -> None:
    try:
        parsed = parse(text)
    except FormulaError:
        return
    again = parse(parsed.text)
    assert (again.text, again.names) == (parsed.text, parsed.names)
    scores = dict.fromkeys(parsed.names, 5.0)
    assert again.value(scores) == pytest.approx(parsed.value(scores), nan_ok=True)


def test_whether_a_threshold_can_be_reached() -> None:
    assert formula.reachable(parse("0.8*a + 0.2*b"), 10)
    assert not formula.reachable(parse("0.5*a"), 6.5)
    assert formula.reachable(parse("a - b"), 9)
    assert not formula.reachable(parse("a - b"), 9.5)


def find_size(each: dict[int, float], largest: int = 64) -> Sizing:
    """The search on a device that needs `each[size]` seconds an image at a size."""
    sizing = Sizing(1, largest)
    for _ in range(40):
        sizing = timed(sizing, sizing.size, each[sizing.size] * sizing.size)
    return sizing


@pytest.mark.parametrize(
    ("text", "errors", "lowest", "highest"),
    [
        ("laion-v2", {"laion-v2": 0.5}, 5.5, 6.5),
        ("0.8*laion-v2 + 0.2*technical", {"laion-v2": 0.5}, 6.0, 6.8),
        ("laion-v2 - technical", {"laion-v2": 0.5, "technical": 0.25}, -2.75, -1.25),
        ("min(laion-v2, technical)", {"technical": 1.0}, 6.0, 6.0),
        ("min(laion-v2, technical)", {"technical": 3.0}, 5.0, 6.0),
        ("laion-v2*technical", {"laion-v2": 1.0, "technical": 1.0}, 35.0, 63.0),
        ("technical", {"technical": 0.0}, 8.0, 8.0),
    ],
)
def test_what_a_formula_may_be_when_its_scores_are_uncertain(
    text: str, errors: dict[str, float], lowest: float, highest: float
) -> None:
    assert formula.between(parse(text), SCORES, errors) == pytest.approx((lowest, highest))


def test_of_very_many_uncertain_scores_the_formula_may_be_anything() -> None:
    names = [f"s{number}" for number in range(11)]
    many = parse(" + ".join(names))
    found = formula.between(many, dict.fromkeys(names, 1.0), dict.fromkeys(names, 0.1))
    assert found == (-float("inf"), float("inf"))


def test_sizes_grow_while_that_pays() -> None:
    assert find_size({1: 1.0, 2: 0.6, 4: 0.4, 8: 0.35, 16: 0.345, 32: 0.34, 64: 0.3}).size == 8
    assert find_size({n: 1 / n for n in (1, 2, 4, 8, 16, 32, 64)}).size == 64
    assert find_size({1: 1.0, 2: 1.1}).size == 1
    assert find_size({n: 1 / n for n in (1, 2, 4, 8)}, largest=10).size == 8


def test_a_batch_that_is_not_full_says_nothing() -> None:
    sizing = Sizing(8, 64)
    assert timed(sizing, 3, 100.0) == sizing


def test_after_running_out_of_memory_the_half_is_kept() -> None:
    half = halved(Sizing(16, 64))
    assert half is not None
    assert (half.size, half.settled) == (8, True)
    assert timed(half, 8, 0.001).size == 8
    assert halved(Sizing(1, 64)) is None
