"""Wildcards in prompts: `{a|b}`, `{2$$a|b|c}`, `{0.3::a|b}`, `__colours__`; the syntax of the dynamicprompts library.

    text    = (character | '\\' character | group | name)*
    group   = '{' [count '$$' [separator '$$']] option ('|' option)* '}'      count: '2' or '1-3'
    option  = [weight '::'] text                                              weight: a number
    name    = '__' path '__'                                                  a list of texts, one of them is taken

A backslash takes its meaning from the character after it. A list's entries may hold groups and names themselves.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hotfolder.core.prompts.converters import MOST_CHARACTERS

#: Lists inside lists, and groups inside groups: more is a mistake, or malice.
_DEEPEST = 20
#: Parts that are looked at for one template.
_MOST_STEPS = 200_000
_COUNT = re.compile(r"\s*(\d{1,3})(?:-(\d{1,3}))?\$\$")
_WEIGHT = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)::")
_NAME = re.compile(r"__([\w-][\w -]*?(?:/[\w -]+?)*?)__")
#: Gives the texts of a list by its name, None for one that is not there.
Lists = Callable[[str], Sequence[str] | None]


class WildcardError(ValueError):
    """Not understood; `at` is the index of the character."""

    def __init__(self, message: str, at: int, fix: str, text: str = "") -> None:
        super().__init__(message)
        self.at = at
        self.fix = fix
        self.text = text  # that `at` counts in, where that is known


@dataclass(frozen=True, slots=True)
class _Name:
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class _Group:
    least: int
    most: int
    separator: str
    options: tuple[_Parts, ...]
    weights: tuple[float, ...]


_Parts = tuple["str | _Name | _Group", ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text. `is_plain`: there is nothing to choose in it."""

    parts: _Parts
    lists: Lists

    @property
    def is_plain(self) -> bool:
        return all(isinstance(part, str) for part in self.parts)

    def sample(self, rng: random.Random) -> str:
        """One of the texts it stands for. Raises WildcardError for a list that is not there, or without end."""
        return _tidy("".join(_sample(self.parts, rng, _Walk(self.lists), 0)))

    def every(self) -> Iterator[str]:
        """All of the texts that it stands for, in order; each option once, weights aside. Raises as `sample`."""
        for text in _every(self.parts, _Walk(self.lists), 0):
            yield _tidy(text)


def parse(text: str, lists: Lists) -> Template:
    """Raises WildcardError."""
    try:
        parts, end = _read(text, 0, 0)
        if end < len(text):
            raise WildcardError("a '}' closes nothing", end, r"write \} for the character itself")
        _check(parts, lists)
    except WildcardError as error:
        error.text = text
        raise
    return Template(parts, lists)


def _read(text: str, at: int, depth: int) -> tuple[_Parts, int]:
    """Reads up to the end, or up to a '|' or '}' that belongs to the group around."""
    if depth > _DEEPEST:
        raise WildcardError("groups are nested too deeply", at, "take some of them apart")
    parts: list[str | _Name | _Group] = []
    plain = ""
    while at < len(text):
        character = text[at]
        name = _NAME.match(text, at) if character == "_" else None
        if character == "\\" and at + 1 < len(text) and text[at + 1] in "\\{}|_":
            plain += text[at + 1]
            at += 2
            if text[at - 1] == "_" and text.startswith("_", at):  # '\__' stands for '__'
                plain += "_"
                at += 1
        elif name is not None:
            parts += [plain, _Name(name[1], at)]
            plain, at = "", name.end()
        elif character == "{":
            group, at = _read_group(text, at, depth)
            parts += [plain, group]
            plain = ""
        elif character == "}" or (character == "|" and depth > 0):
            break
        else:
            plain += character
            at += 1
    return tuple(part for part in (*parts, plain) if part != ""), at


def _read_group(text: str, start: int, depth: int) -> tuple[_Group, int]:
    at, least, most, separator = start + 1, 1, 1, ", "
    if count := _COUNT.match(text, at):
        least, most, at = int(count[1]), int(count[2] or count[1]), count.end()
        marker = text.find("$$", at)
        inside = re.search(r"[{}|]", text[at:])
        if marker >= 0 and (inside is None or marker < at + inside.start()):
            separator, at = text[at:marker], marker + 2
    options, weights = [], []
    while True:
        weight = _WEIGHT.match(text, at)
        option, end = _read(text, weight.end() if weight else at, depth + 1)
        options.append(option)
        weights.append(float(weight[1]) if weight else 1.0)
        if end >= len(text):
            raise WildcardError(
                "a '{' is never closed", start, r"write } where it ends, or \{ for the character itself"
            )
        at = end + 1
        if text[end] == "}":
            break
    if least > most or most > len(options):
        raise WildcardError(
            f"{most if most > len(options) else f'{least}-{most}'} of {len(options)} options cannot be taken", start,
            "lower the number before $$",
        )  # fmt: skip
    if not sum(weights) > 0:
        raise WildcardError("every option has the weight 0", start, "give one of them more")
    return _Group(least, most, separator, tuple(options), tuple(weights)), at


def _check(parts: _Parts, lists: Lists) -> None:
    """Whether every list that is named directly is there."""
    for part in parts:
        if isinstance(part, _Name):
            _entries(part, lists)
        elif isinstance(part, _Group):
            for option in part.options:
                _check(option, lists)


def _entries(name: _Name, lists: Lists) -> Sequence[str]:
    found = lists(name.name)
    if found is None:
        raise WildcardError(
            f"there is no list '{name.name}'", name.at,
            rf"make wildcards/{name.name}.txt with one text a line, or write \__ for the characters themselves",
        )  # fmt: skip
    if not found:
        raise WildcardError(f"the list '{name.name}' is empty", name.at, "write one text a line into it")
    return found


def _parse_entry(entry: str, name: _Name) -> _Parts:
    try:
        parts, end = _read(entry, 0, 0)
        if end < len(entry):
            raise WildcardError("a '}' closes nothing", end, r"write \}")
    except WildcardError as error:
        raise WildcardError(f"in the list '{name.name}': {error}", name.at, error.fix) from None
    return parts


class _Walk:
    """One way through a template, or all of them: counted, because lists of lists grow without end."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._steps = 0

    def entries(self, name: _Name) -> Sequence[str]:
        return _entries(name, self._lists)

    def step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise WildcardError("it stands for too much", 0, "take some of its groups or lists away")


def _sample(parts: _Parts, rng: random.Random, walk: _Walk, depth: int) -> Iterator[str]:
    for part in parts:
        walk.step()
        if isinstance(part, str):
            yield part
        elif isinstance(part, _Name):
            _go_deeper(part.name, part.at, depth)
            entry = rng.choice(walk.entries(part))
            yield from _sample(_parse_entry(entry, part), rng, walk, depth + 1)
        else:
            yield part.separator.join(
                "".join(_sample(part.options[index], rng, walk, depth)) for index in _pick(part, rng)
            )


def _pick(group: _Group, rng: random.Random) -> list[int]:
    """Indices of different options, by weight."""
    left, picked = list(range(len(group.options))), []
    for _ in range(rng.randint(group.least, group.most)):
        weights = [group.weights[index] for index in left]
        index = rng.choices(left, weights if sum(weights) > 0 else None)[0]
        picked.append(index)
        left.remove(index)
    return picked


def _every(parts: _Parts, walk: _Walk, depth: int) -> Iterator[str]:
    if not parts:
        yield ""
        return
    first, rest = parts[0], parts[1:]
    walk.step()
    for text in _every_of(first, walk, depth):
        for more in _every(rest, walk, depth):
            yield text + more


def _every_of(part: str | _Name | _Group, walk: _Walk, depth: int) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, _Name):
        _go_deeper(part.name, part.at, depth)
        for entry in walk.entries(part):
            yield from _every(_parse_entry(entry, part), walk, depth + 1)
    else:
        for number in range(part.least, part.most + 1):
            for options in itertools.combinations(part.options, number):
                yield from _joined(options, part.separator, walk, depth)


def _joined(options: tuple[_Parts, ...], separator: str, walk: _Walk, depth: int) -> Iterator[str]:
    if not options:
        yield ""
        return
    for text in _every(options[0], walk, depth):
        for more in _joined(options[1:], separator, walk, depth):
            yield text + (separator if len(options) > 1 else "") + more


def _go_deeper(name: str, at: int, depth: int) -> None:
    if depth >= _DEEPEST:
        raise WildcardError(f"the list '{name}' leads to itself", at, "take its own name out of it")


def _tidy(text: str) -> str:
    """Without the spaces that an empty option leaves."""
    if len(text) > MOST_CHARACTERS:
        raise WildcardError(f"it grows beyond {MOST_CHARACTERS:,} characters", 0, "take some of it away")
    return re.sub(r" {2,}", " ", text).strip()
