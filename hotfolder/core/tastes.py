"""How what is learnt of a person is called in formulas: `taste` by people, `taste:<head>` where it is carried out."""

from __future__ import annotations

from collections.abc import Mapping

from hotfolder.core import formula

#: What people write in gate.score.
TASTE = "taste"
_HEAD = f"{TASTE}:"


def scorer_of(head: str) -> str:
    """The scorer that a head is, by the name of its file without the ending."""
    return _HEAD + head


def head_of(scorer: str) -> str | None:
    """The head that a scorer's name means; None for another scorer."""
    return scorer.removeprefix(_HEAD) if scorer.startswith(_HEAD) else None


def has_head(text: str) -> bool:
    """Whether a formula looks at a head."""
    return _HEAD in text


def mentions(text: str) -> bool:
    """Whether a formula names `taste`, or a head."""
    return any(name == TASTE or name.startswith(_HEAD) for name in formula.parse(text).names)


def is_of_taste(scorer: str) -> bool:
    """Whether a recorded score is by a taste, or by a formula with one."""
    try:
        return TASTE in scorer and mentions(scorer)
    except formula.FormulaError:
        return False  # a path, perhaps


def judging(text: str, prior: str, head: str | None) -> str:
    """What the gate looks at: the formula with `head` as its `taste`, or, without one, with the prior in its place.

    A formula that does not name taste is replaced by it. Raises FormulaError.
    """
    scorer = scorer_of(head) if head is not None else None
    if not mentions(text):
        return formula.of(scorer).text if scorer is not None else text
    return formula.renamed(text, {TASTE: scorer or prior}).text


def told(text: str) -> str:
    """A formula as people are told it, and as it stands in the database."""
    heads: Mapping[str, str] = {name: TASTE for name in formula.parse(text).names if name.startswith(_HEAD)}
    return formula.renamed(text, heads).text if heads else text
