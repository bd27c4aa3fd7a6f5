"""The texts that a template stands for: one by chance or in turn, or all of them."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hotfolder.core.prompts.converters import MOST_CHARACTERS
from hotfolder.core.prompts.wildcard_syntax import (
    Group,
    ListName,
    Parts,
    SetVariable,
    Variable,
    WildcardError,
    go_deeper,
    is_list,
    read,
)

#: Parts that are looked at for one template.
_MOST_STEPS = 200_000
#: Gives the texts of a list by its name, None for one that is not there.
Lists = Callable[[str], Sequence[str] | None]
_Variables = Mapping[str, Parts]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text. `is_plain`: there is nothing to choose in it."""

    parts: Parts
    lists: Lists

    @property
    def is_plain(self) -> bool:
        return all(isinstance(part, str) for part in self.parts)

    def sample(self, rng: random.Random, turn: int = 0) -> str:
        """One of the texts it stands for; `turn` is for what is taken in turn.

        Raises WildcardError for a list that is not there, or without end.
        """
        return _tidy("".join(_Sampler(rng, turn, _Walk(self.lists)).texts(self.parts, {}, 0)))

    def every(self) -> Iterator[str]:
        """All of the texts that it stands for, in order; each option once, weights aside. Raises as `sample`."""
        for text in _every(self.parts, _Walk(self.lists), {}, 0):
            yield _tidy(text)


def parse(text: str, lists: Lists) -> Template:
    """Raises WildcardError."""
    try:
        parts = read(text)
        _check(parts, lists)
    except WildcardError as error:
        error.text = text
        raise
    return Template(parts, lists)


def _of_list(group: Group, walk: _Walk) -> Group:
    """The same group of that list's texts."""
    name = group.options[0][0]
    assert isinstance(name, ListName)
    texts = walk.entries(name)
    options = tuple(
        (*(SetVariable(*each, False, False) for each in name.given), *_parse_entry(t, name)) for t in texts
    )
    if group.least > group.most or group.most > len(options):
        raise WildcardError(
            f"{group.most} of the {len(options)} texts of '{name.name}' cannot be taken",
            group.at,
            "lower the number",
        )
    return Group(
        group.least,
        group.most,
        group.separator,
        options,
        (1.0,) * len(options),
        group.order or name.order,
        group.at,
    )


def _check(parts: Parts, lists: Lists) -> None:
    """Whether every list that is named directly is there."""
    for part in parts:
        if isinstance(part, ListName):
            _entries(part, lists)
        elif isinstance(part, Group):
            for option in part.options:
                _check(option, lists)
        elif isinstance(part, SetVariable):
            _check(part.value, lists)
        elif isinstance(part, Variable) and part.default is not None:
            _check(part.default, lists)


def _entries(name: ListName, lists: Lists) -> Sequence[str]:
    found = lists(name.name)
    if found is None:
        raise WildcardError(
            f"there is no list '{name.name}'", name.at,
            rf"make wildcards/{name.name}.txt with one text a line, or write \__ for the characters themselves",
        )  # fmt: skip
    if not found:
        raise WildcardError(f"the list '{name.name}' is empty", name.at, "write one text a line into it")
    return found


def _parse_entry(entry: str, name: ListName) -> Parts:
    try:
        return read(entry)
    except WildcardError as error:
        raise WildcardError(f"in the list '{name.name}': {error}", name.at, error.fix) from None


class _Walk:
    """One way through a template, or all of them: counted, because lists of lists grow without end."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._steps = 0

    def entries(self, name: ListName) -> Sequence[str]:
        return _entries(name, self._lists)

    def step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise WildcardError("it stands for too much", 0, "take some of its groups or lists away")


class _Sampler:
    """Takes one text of all, by chance or in turn."""

    def __init__(self, rng: random.Random, turn: int, walk: _Walk) -> None:
        self._rng = rng
        self._turn = turn
        self._walk = walk

    def texts(self, parts: Parts, known: _Variables, depth: int) -> Iterator[str]:
        """The pieces of one text."""
        known = self._with_variables(parts, known, depth)
        for part in parts:
            self._walk.step()
            if isinstance(part, str):
                yield part
            elif isinstance(part, ListName):
                go_deeper(part.name, part.at, depth)
                yield from self.texts(self._entry(part), {**known, **dict(part.given)}, depth + 1)
            elif isinstance(part, Variable):
                go_deeper(part.name, part.at, depth)
                yield from self.texts(_value(part, known), known, depth + 1)
            elif isinstance(part, Group):
                group = _of_list(part, self._walk) if is_list(part.options) else part
                chosen = (group.options[index] for index in self._pick(group))
                yield group.separator.join("".join(self.texts(each, known, depth)) for each in chosen)

    def _with_variables(self, parts: Parts, known: _Variables, depth: int) -> _Variables:
        outside = known  # what '?=' asks: as in the library, not what stands beside it
        for part in parts:
            if isinstance(part, SetVariable) and not (part.keeps and part.name in outside):
                value = ("".join(self.texts(part.value, known, depth + 1)),) if part.at_once else part.value
                known = {**known, part.name: value}
        return known

    def _entry(self, name: ListName) -> Parts:
        texts = self._walk.entries(name)
        _check_order(name.order, name.at)
        return _parse_entry(texts[self._turn % len(texts)] if name.order == "@" else self._rng.choice(texts), name)

    def _pick(self, group: Group) -> list[int]:
        """Indices of different options, by weight, or in turn."""
        _check_order(group.order, group.at)
        number = self._rng.randint(group.least, group.most)
        if group.order == "@":
            return [(self._turn + each) % len(group.options) for each in range(number)]
        left, picked = list(range(len(group.options))), []
        for _ in range(number):
            weights = [group.weights[index] for index in left]
            index = self._rng.choices(left, weights if sum(weights) > 0 else None)[0]
            picked.append(index)
            left.remove(index)
        return picked


def _check_order(order: str, at: int) -> None:
    if order == "!":
        raise WildcardError("'!' asks for every one", at, "add --wildcards all, or take the ! away")


def _value(part: Variable, known: _Variables) -> Parts:
    found = known.get(part.name, part.default)
    if found is None:
        raise WildcardError(f"nothing says what '{part.name}' is", part.at, f"write ${{{part.name}=…}} before it")
    return found


def _every(parts: Parts, walk: _Walk, known: _Variables, depth: int) -> Iterator[str]:
    sets = tuple(p for p in parts if isinstance(p, SetVariable) and not (p.keeps and p.name in known))
    for told in _every_variables(sets, walk, known, depth):
        yield from _every_rest(tuple(p for p in parts if not isinstance(p, SetVariable)), walk, told, depth)


def _every_variables(
    sets: tuple[SetVariable, ...], walk: _Walk, known: _Variables, depth: int
) -> Iterator[_Variables]:
    if not sets:
        yield known
        return
    first, rest = sets[0], sets[1:]
    if first.at_once:
        for text in _every(first.value, walk, known, depth + 1):
            yield from _every_variables(rest, walk, {**known, first.name: (text,)}, depth)
    else:
        yield from _every_variables(rest, walk, {**known, first.name: first.value}, depth)


def _every_rest(parts: Parts, walk: _Walk, known: _Variables, depth: int) -> Iterator[str]:
    if not parts:
        yield ""
        return
    first, rest = parts[0], parts[1:]
    walk.step()
    for text in _every_of(first, walk, known, depth):
        for more in _every_rest(rest, walk, known, depth):
            yield text + more


def _every_of(
    part: str | ListName | Group | SetVariable | Variable, walk: _Walk, known: _Variables, depth: int
) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, ListName):
        go_deeper(part.name, part.at, depth)
        for entry in walk.entries(part):
            yield from _every(_parse_entry(entry, part), walk, {**known, **dict(part.given)}, depth + 1)
    elif isinstance(part, Variable):
        go_deeper(part.name, part.at, depth)
        yield from _every(_value(part, known), walk, known, depth + 1)
    elif isinstance(part, Group):
        group = _of_list(part, walk) if is_list(part.options) else part
        for number in range(group.least, group.most + 1):
            for options in itertools.combinations(group.options, number):
                yield from _joined(options, group.separator, walk, known, depth)


def _joined(
    options: tuple[Parts, ...], separator: str, walk: _Walk, known: _Variables, depth: int
) -> Iterator[str]:
    if not options:
        yield ""
        return
    for text in _every(options[0], walk, known, depth):
        for more in _joined(options[1:], separator, walk, known, depth):
            yield text + (separator if len(options) > 1 else "") + more


def _tidy(text: str) -> str:
    """Without the spaces that an empty option leaves."""
    if len(text) > MOST_CHARACTERS:
        raise WildcardError(f"it grows beyond {MOST_CHARACTERS:,} characters", 0, "take some of it away")
    return re.sub(r" {2,}", " ", text).strip()
