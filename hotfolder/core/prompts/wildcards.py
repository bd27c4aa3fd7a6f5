"""Wildcards in prompts: `{a|b}`, `{2$$a|b|c}`, `{0.3::a|b}`, `__colours__`; the syntax of the dynamicprompts library.

    text    = (character | '\\' character | group | name | variable)*
    group   = '{' [order] [count '$$' [separator '$$']] option ('|' option)* '}'   count: '2', '1-3', '2-' or '-3'
    option  = [weight '::'] text                                              weight: a number
    name    = '__' [order] path ['(' key '=' text (',' key '=' text)* ')'] '__'   a list of texts, one of them is taken
    order   = '~' (by chance, as without it) | '@' (in turn, by the seed) | '!' (every one: only where all are wanted)
    variable = '${' key ['?'] '=' ['!'] text '}' | '${' key [':' text] '}'     '!': chosen once, for all its uses

A path may have the signs of a shell: `__clothes/*__` is all lists of that folder. A group that counts and holds one
list alone takes so many of its texts.

A backslash takes its meaning from the character after it. A list's entries may hold groups and names themselves.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hotfolder.core.prompts.converters import MOST_CHARACTERS

#: Lists inside lists, and groups inside groups: more is a mistake, or malice.
_DEEPEST = 20
#: Parts that are looked at for one template.
_MOST_STEPS = 200_000
_COUNT = re.compile(r"\s*(?:(\d{1,3})|(\d{1,3})?-(\d{1,3})?)\$\$")
_WEIGHT = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)::")
_PATH = r"[\w*?-](?:[\w *?-]|\.(?![./]))*?(?:/[\w*?-](?:[\w *?-]|\.(?![./]))*?)*?"
_NAME = re.compile(rf"__([~@!]?)({_PATH})(?:\(([^()]*)\))?__")
_VARIABLE = re.compile(r"\$\{\s*([A-Za-z_-][\w-]*)\s*(\?=|=|:|(?=\}))\s*(!?)")
_ORDER = re.compile(r"\s*([~@!])")
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
    order: str = ""
    given: tuple[tuple[str, _Parts], ...] = ()  # variables for its texts


@dataclass(frozen=True, slots=True)
class _Set:
    name: str
    value: _Parts
    at_once: bool
    keeps: bool  # what it is already


@dataclass(frozen=True, slots=True)
class _Get:
    name: str
    default: _Parts | None
    at: int


@dataclass(frozen=True, slots=True)
class _Group:
    least: int
    most: int
    separator: str
    options: tuple[_Parts, ...]
    weights: tuple[float, ...]
    order: str
    at: int


_Parts = tuple["str | _Name | _Group | _Set | _Get", ...]
_Variables = Mapping[str, "_Parts"]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text. `is_plain`: there is nothing to choose in it."""

    parts: _Parts
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
    parts: list[str | _Name | _Group | _Set | _Get] = []
    plain = ""
    while at < len(text):
        character = text[at]
        name = _NAME.match(text, at) if character == "_" else None
        if character == "\\" and at + 1 < len(text) and text[at + 1] in "\\{}|_$%":
            plain += text[at + 1]
            at += 2
            if text[at - 1] == "_" and text.startswith("_", at):  # '\__' stands for '__'
                plain += "_"
                at += 1
            elif text[at - 1] in "$%" and text.startswith("{", at):  # '\\${' for '${'
                plain += "{"
                at += 1
        elif name is not None:
            parts += [plain, _read_name(name, depth)]
            plain, at = "", name.end()
        elif text.startswith("${", at):
            variable, at = _read_variable(text, at, depth)
            parts += [plain, variable]
            plain = ""
        elif text.startswith(("%{", "__${"), at):
            raise WildcardError(
                f"'{text[at : at + 4]}' is not done here",
                at,
                "write a backslash before it for the signs themselves",
            )
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


def _read_name(found: re.Match[str], depth: int) -> _Name:
    """A list, with what its texts are told."""
    given = []
    for pair in found[3].split(",") if found[3] is not None else ():
        key, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_-][\w-]*", key.strip()):
            raise WildcardError(
                f"'{pair.strip()}' tells the list '{found[2]}' nothing", found.start(), "write __list(key=text)__"
            )
        given.append((key.strip(), _whole(value.strip(), found.start(), depth)))
    return _Name(found[2], found.start(), found[1], tuple(given))


def _whole(text: str, at: int, depth: int) -> _Parts:
    parts, end = _read(text, 0, depth + 1)
    if end < len(text):
        raise WildcardError("a '}' or '|' belongs to nothing", at, r"write \} for the character itself")
    return parts


def _read_variable(text: str, start: int, depth: int) -> tuple[_Set | _Get, int]:
    found = _VARIABLE.match(text, start)
    if found is None:
        raise WildcardError(
            "'${' begins no variable", start, r"write ${name} or ${name=text}, or \${ for the signs"
        )
    name, sign, at_once = found[1], found[2], found[3]
    value, end = _read(text, found.end() if "=" in sign else found.end(2), depth + 1)
    if end >= len(text) or text[end] != "}":
        raise WildcardError("a '${' is never closed", start, r"write } where it ends, or \${ and \} for the signs")
    if "=" in sign:
        return _Set(name, _stripped(value), bool(at_once), sign == "?="), end + 1
    return _Get(name, _stripped(value) if sign == ":" else None, start), end + 1


def _stripped(parts: _Parts) -> _Parts:
    """Without spaces at the end, which only part a text from its '}'."""
    if parts and isinstance(parts[-1], str):
        return tuple(part for part in (*parts[:-1], parts[-1].rstrip()) if part != "")
    return parts


def _read_group(text: str, start: int, depth: int) -> tuple[_Group, int]:
    at, least, most, separator = start + 1, 1, 1, ", "
    order = ""
    if sign := _ORDER.match(text, at):
        order, at = sign[1], sign.end()
    counted = _COUNT.match(text, at)
    if counted and counted[0].strip() != "-$$":
        least = int(counted[1] or counted[2] or 1)
        most, at = int(counted[1] or counted[3] or _ALL), counted.end()
        marker = text.find("$$", at)
        inside = re.search(r"[{}]", text[at:])
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
    if most == _ALL and _is_list(options):
        raise WildcardError(
            "of a list, so many or more have no end", start, "write how many at most: {2-4$$__list__}"
        )
    most = min(most, len(options)) if most == _ALL else most
    if not _is_list(options) and (least > most or most > len(options)):
        raise WildcardError(
            f"{most if most > len(options) else f'{least}-{most}'} of {len(options)} options cannot be taken", start,
            "lower the number before $$",
        )  # fmt: skip
    if not sum(weights) > 0:
        raise WildcardError("every option has the weight 0", start, "give one of them more")
    return _Group(least, most, separator, tuple(options), tuple(weights), order, start), at


#: How many of a group, where it says no end.
_ALL = 1000


def _is_list(options: Sequence[_Parts]) -> bool:
    """Whether a group is of one list alone, whose texts are then its options."""
    return len(options) == 1 and len(options[0]) == 1 and isinstance(options[0][0], _Name)


def _of_list(group: _Group, walk: _Walk) -> _Group:
    """The same group of that list's texts."""
    name = group.options[0][0]
    assert isinstance(name, _Name)
    texts = walk.entries(name)
    options = tuple((*(_Set(*each, False, False) for each in name.given), *_parse_entry(t, name)) for t in texts)
    if group.least > group.most or group.most > len(options):
        raise WildcardError(
            f"{group.most} of the {len(options)} texts of '{name.name}' cannot be taken",
            group.at,
            "lower the number",
        )
    return _Group(
        group.least,
        group.most,
        group.separator,
        options,
        (1.0,) * len(options),
        group.order or name.order,
        group.at,
    )


def _check(parts: _Parts, lists: Lists) -> None:
    """Whether every list that is named directly is there."""
    for part in parts:
        if isinstance(part, _Name):
            _entries(part, lists)
        elif isinstance(part, _Group):
            for option in part.options:
                _check(option, lists)
        elif isinstance(part, _Set):
            _check(part.value, lists)
        elif isinstance(part, _Get) and part.default is not None:
            _check(part.default, lists)


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


class _Sampler:
    """Takes one text of all, by chance or in turn."""

    def __init__(self, rng: random.Random, turn: int, walk: _Walk) -> None:
        self._rng = rng
        self._turn = turn
        self._walk = walk

    def texts(self, parts: _Parts, known: _Variables, depth: int) -> Iterator[str]:
        """The pieces of one text."""
        known = self._with_variables(parts, known, depth)
        for part in parts:
            self._walk.step()
            if isinstance(part, str):
                yield part
            elif isinstance(part, _Name):
                _go_deeper(part.name, part.at, depth)
                yield from self.texts(self._entry(part), {**known, **dict(part.given)}, depth + 1)
            elif isinstance(part, _Get):
                _go_deeper(part.name, part.at, depth)
                yield from self.texts(_value(part, known), known, depth + 1)
            elif isinstance(part, _Group):
                group = _of_list(part, self._walk) if _is_list(part.options) else part
                chosen = (group.options[index] for index in self._pick(group))
                yield group.separator.join("".join(self.texts(each, known, depth)) for each in chosen)

    def _with_variables(self, parts: _Parts, known: _Variables, depth: int) -> _Variables:
        outside = known  # what '?=' asks: as in the library, not what stands beside it
        for part in parts:
            if isinstance(part, _Set) and not (part.keeps and part.name in outside):
                value = ("".join(self.texts(part.value, known, depth + 1)),) if part.at_once else part.value
                known = {**known, part.name: value}
        return known

    def _entry(self, name: _Name) -> _Parts:
        texts = self._walk.entries(name)
        _check_order(name.order, name.at)
        return _parse_entry(texts[self._turn % len(texts)] if name.order == "@" else self._rng.choice(texts), name)

    def _pick(self, group: _Group) -> list[int]:
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


def _value(part: _Get, known: _Variables) -> _Parts:
    found = known.get(part.name, part.default)
    if found is None:
        raise WildcardError(f"nothing says what '{part.name}' is", part.at, f"write ${{{part.name}=…}} before it")
    return found


def _every(parts: _Parts, walk: _Walk, known: _Variables, depth: int) -> Iterator[str]:
    sets = tuple(p for p in parts if isinstance(p, _Set) and not (p.keeps and p.name in known))
    for told in _every_variables(sets, walk, known, depth):
        yield from _every_rest(tuple(p for p in parts if not isinstance(p, _Set)), walk, told, depth)


def _every_variables(sets: tuple[_Set, ...], walk: _Walk, known: _Variables, depth: int) -> Iterator[_Variables]:
    if not sets:
        yield known
        return
    first, rest = sets[0], sets[1:]
    if first.at_once:
        for text in _every(first.value, walk, known, depth + 1):
            yield from _every_variables(rest, walk, {**known, first.name: (text,)}, depth)
    else:
        yield from _every_variables(rest, walk, {**known, first.name: first.value}, depth)


def _every_rest(parts: _Parts, walk: _Walk, known: _Variables, depth: int) -> Iterator[str]:
    if not parts:
        yield ""
        return
    first, rest = parts[0], parts[1:]
    walk.step()
    for text in _every_of(first, walk, known, depth):
        for more in _every_rest(rest, walk, known, depth):
            yield text + more


def _every_of(
    part: str | _Name | _Group | _Set | _Get, walk: _Walk, known: _Variables, depth: int
) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, _Name):
        _go_deeper(part.name, part.at, depth)
        for entry in walk.entries(part):
            yield from _every(_parse_entry(entry, part), walk, {**known, **dict(part.given)}, depth + 1)
    elif isinstance(part, _Get):
        _go_deeper(part.name, part.at, depth)
        yield from _every(_value(part, known), walk, known, depth + 1)
    elif isinstance(part, _Group):
        group = _of_list(part, walk) if _is_list(part.options) else part
        for number in range(group.least, group.most + 1):
            for options in itertools.combinations(group.options, number):
                yield from _joined(options, group.separator, walk, known, depth)


def _joined(
    options: tuple[_Parts, ...], separator: str, walk: _Walk, known: _Variables, depth: int
) -> Iterator[str]:
    if not options:
        yield ""
        return
    for text in _every(options[0], walk, known, depth):
        for more in _joined(options[1:], separator, walk, known, depth):
            yield text + (separator if len(options) > 1 else "") + more


def _go_deeper(name: str, at: int, depth: int) -> None:
    if depth >= _DEEPEST:
        raise WildcardError(f"'{name}' leads to itself", at, "take its own name out of it")


def _tidy(text: str) -> str:
    """Without the spaces that an empty option leaves."""
    if len(text) > MOST_CHARACTERS:
        raise WildcardError(f"it grows beyond {MOST_CHARACTERS:,} characters", 0, "take some of it away")
    return re.sub(r" {2,}", " ", text).strip()
