"""The gate's formula: how several scorers' scores become the one that the gate looks at.

    sum     = product (('+' | '-') product)*
    product = factor ('*' factor)*
    factor  = number | scorer | '-' factor | '(' sum ')' | ('min' | 'max') '(' sum (',' sum)* ')'

Scorers' names contain '-', so a minus needs a space before it. A name with other characters, or a path with
spaces, stands in quotation marks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

#: Deeper nesting, and more operators, than people write: a hostile text must not exhaust the stack.
_DEEPEST, _MOST_OPERATORS = 50, 100
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d*)?|\.\d+)(?![\w.])
        |(?P<quoted>"[^"]*"|'[^']*')
        |(?P<name>[A-Za-z_/~][^\s()*+,'"]*)
        |(?P<sign>[-+*(),])
        |(?P<end>$)
        |(?P<wrong>\S))""",
    re.VERBOSE,
)
_Value = Callable[[Mapping[str, float]], float]


class FormulaError(ValueError):
    """The formula was not understood; the message says where."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula. `text` is its one spelling: equal formulas have equal texts."""

    text: str
    names: tuple[str, ...]  # of the scorers it looks at, in order of appearance
    value: _Value

    @property
    def is_plain(self) -> bool:
        """Whether it is one scorer's score as it is."""
        return len(self.names) == 1 and self.text == _quoted(self.names[0])


def parse(text: str) -> Formula:
    """Reads a formula. Raises FormulaError, naming the column (counted from 1)."""
    return _Parser(text).formula()


def renamed(text: str, names: Mapping[str, str]) -> Formula:
    """The same formula of other scorers: `names` says which stand in the place of which. Raises FormulaError."""
    return _Parser(text, names).formula()


def of(name: str) -> Formula:
    """The formula that is one scorer's score, whatever its name holds."""
    return parse(_quoted(name))


class _Parser:
    def __init__(self, text: str, others: Mapping[str, str] | None = None) -> None:
        self._text = text
        self._others = others or {}
        self._names: dict[str, None] = {}
        self._depth = self._operators = 0
        self._next()

    def _next(self) -> None:
        match = _TOKEN.match(self._text, getattr(self, "_end", 0))
        assert match is not None and match.lastgroup is not None
        self._kind, self._token = match.lastgroup, match.group(match.lastgroup)
        self._start, self._end = match.start(match.lastgroup), match.end()

    def _wrong(self, what: str) -> FormulaError:
        found = f"'{self._token}'" if self._token else "the end"
        return FormulaError(f"column {self._start + 1}: {what}, not {found}")

    def _took(self, *signs: str) -> str:
        if self._kind == "sign" and self._token in signs:
            sign = self._token
            self._operators += 1
            if self._operators > _MOST_OPERATORS:
                raise FormulaError(f"column {self._start + 1}: too long: expected something simpler")
            self._next()
            return sign
        return ""

    def _want(self, sign: str) -> None:
        if not self._took(sign):
            raise self._wrong(f"expected '{sign}'")

    def formula(self) -> Formula:
        text, value = self._sum()
        if self._kind != "end":
            raise self._wrong("expected an operator or the end")
        if not self._names:
            raise FormulaError("it names no scorer")
        return Formula(text, tuple(self._names), value)

    def _sum(self) -> tuple[str, _Value]:
        text, value = self._product()
        while sign := self._took("+", "-"):
            more_text, more = self._product()
            text, value = f"{text} {sign} {more_text}", _add(value, more, 1 if sign == "+" else -1)
        return text, value

    def _product(self) -> tuple[str, _Value]:
        text, value = self._factor()
        while self._took("*"):
            more_text, more = self._factor()
            text, value = f"{text}*{more_text}", _multiply(value, more)
        return text, value

    def _factor(self) -> tuple[str, _Value]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong("nested too deeply: expected something simpler")
        try:
            return self._simple()
        finally:
            self._depth -= 1

    def _simple(self) -> tuple[str, _Value]:
        if self._took("-"):
            text, value = self._factor()
            return f"-{text}", lambda scores: -value(scores)
        if self._took("("):
            text, value = self._sum()
            self._want(")")
            return f"({text})", value
        if self._kind == "number":
            number, spelling = float(self._token), format(Decimal(self._token).normalize(), "f")
            self._next()
            return spelling, lambda _: number
        if self._kind in ("name", "quoted"):
            quoted, name = self._kind == "quoted", self._token
            name = name[1:-1] if quoted else name
            if not name:
                raise FormulaError(f"column {self._start + 1}: a scorer's name is empty")
            self._next()
            if not quoted and name in ("min", "max") and self._took("("):
                return self._choice(name)
            name = self._others.get(name, name)
            self._names[name] = None
            return _quoted(name), lambda scores: scores[name]
        raise self._wrong("expected a scorer or a number")

    def _choice(self, name: str) -> tuple[str, _Value]:
        parts = [self._sum()]
        while self._took(","):
            parts.append(self._sum())
        self._want(")")
        values, pick = [value for _, value in parts], min if name == "min" else max
        return f"{name}({', '.join(text for text, _ in parts)})", lambda scores: pick(v(scores) for v in values)


def _add(a: _Value, b: _Value, sign: int) -> _Value:
    return lambda scores: a(scores) + sign * b(scores)


def _multiply(a: _Value, b: _Value) -> _Value:
    return lambda scores: a(scores) * b(scores)


def _quoted(name: str) -> str:
    match = _TOKEN.match(name)
    plain = match is not None and match.lastgroup == "name" and match.group("name") == name
    if plain and name not in ("min", "max"):
        return name
    return f'"{name}"' if '"' not in name else f"'{name}'"


def reachable(formula: Formula, score: float) -> bool:
    """Whether scores from 1 to 10 can bring the formula to `score`; exact for sums, enough for a warning.

    Looks at the corners only: each scorer at its lowest or highest.
    """
    if len(formula.names) > 10:
        return True
    best = -math.inf
    for corner in range(2 ** len(formula.names)):
        scores = {name: 10.0 if corner >> bit & 1 else 1.0 for bit, name in enumerate(formula.names)}
        best = max(best, formula.value(scores))
    return best >= score


def between(formula: Formula, scores: Mapping[str, float], errors: Mapping[str, float]) -> tuple[float, float]:
    """The lowest and the highest value that it may have, where each score may be wrong by its error (0: left out).

    Looks at the corners only, as `reachable` does; with more than ten uncertain scores everything may be.
    """
    uncertain = [name for name in formula.names if errors.get(name)]
    if len(uncertain) > 10:
        return -math.inf, math.inf
    found = []
    for corner in range(2 ** len(uncertain)):
        moved = {n: scores[n] + errors[n] * (1 if corner >> bit & 1 else -1) for bit, n in enumerate(uncertain)}
        found.append(formula.value({**scores, **moved}))
    return min(found), max(found)
