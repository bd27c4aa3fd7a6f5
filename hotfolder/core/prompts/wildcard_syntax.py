"""The grammar of wildcards in prompts: `{a|b}`, `{2$$a|b|c}`, `{0.3::a|b}`, `__colours__`; that of dynamicprompts.

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

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Lists inside lists, and groups inside groups: more is a mistake, or malice.
_DEEPEST = 20
_COUNT = re.compile(r"\s*(?:(\d{1,3})|(\d{1,3})?-(\d{1,3})?)\$\$")
_WEIGHT = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)::")
_PATH = r"[\w*?-](?:[\w *?-]|\.(?![./]))*?(?:/[\w*?-](?:[\w *?-]|\.(?![./]))*?)*?"
_NAME = re.compile(rf"__([~@!]?)({_PATH})(?:\(([^()]*)\))?__")
_VARIABLE = re.compile(r"\$\{\s*([A-Za-z_-][\w-]*)\s*(\?=|=|:|(?=\}))\s*(!?)")
_ORDER = re.compile(r"\s*([~@!])")


class WildcardError(ValueError):
    """Not understood; `at` is the index of the character."""

    def __init__(self, message: str, at: int, fix: str, text: str = "") -> None:
        super().__init__(message)
        self.at = at
        self.fix = fix
        self.text = text  # that `at` counts in, where that is known


@dataclass(frozen=True, slots=True)
class ListName:
    """`__name__`: a list of texts, of which one is taken."""

    name: str
    at: int
    order: str = ""
    given: tuple[tuple[str, Parts], ...] = ()  # variables for its texts


@dataclass(frozen=True, slots=True)
class SetVariable:
    """`${name=text}`."""

    name: str
    value: Parts
    at_once: bool
    keeps: bool  # what it is already


@dataclass(frozen=True, slots=True)
class Variable:
    """`${name}`."""

    name: str
    default: Parts | None
    at: int


@dataclass(frozen=True, slots=True)
class Group:
    """`{a|b}`: so many of its options, each with its weight."""

    least: int
    most: int
    separator: str
    options: tuple[Parts, ...]
    weights: tuple[float, ...]
    order: str
    at: int


Parts = tuple["str | ListName | Group | SetVariable | Variable", ...]


def read(text: str) -> Parts:
    """The parts of a whole text. Raises WildcardError."""
    parts, end = _read(text, 0, 0)
    if end < len(text):
        raise WildcardError("a '}' closes nothing", end, r"write \} for the character itself")
    return parts


def _read(text: str, at: int, depth: int) -> tuple[Parts, int]:
    """Reads up to the end, or up to a '|' or '}' that belongs to the group around."""
    if depth > _DEEPEST:
        raise WildcardError("groups are nested too deeply", at, "take some of them apart")
    parts: list[str | ListName | Group | SetVariable | Variable] = []
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


def _read_name(found: re.Match[str], depth: int) -> ListName:
    """A list, with what its texts are told."""
    given = []
    for pair in found[3].split(",") if found[3] is not None else ():
        key, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_-][\w-]*", key.strip()):
            raise WildcardError(
                f"'{pair.strip()}' tells the list '{found[2]}' nothing", found.start(), "write __list(key=text)__"
            )
        given.append((key.strip(), _whole(value.strip(), found.start(), depth)))
    return ListName(found[2], found.start(), found[1], tuple(given))


def _whole(text: str, at: int, depth: int) -> Parts:
    parts, end = _read(text, 0, depth + 1)
    if end < len(text):
        raise WildcardError("a '}' or '|' belongs to nothing", at, r"write \} for the character itself")
    return parts


def _read_variable(text: str, start: int, depth: int) -> tuple[SetVariable | Variable, int]:
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
        return SetVariable(name, _stripped(value), bool(at_once), sign == "?="), end + 1
    return Variable(name, _stripped(value) if sign == ":" else None, start), end + 1


def _stripped(parts: Parts) -> Parts:
    """Without spaces at the end, which only part a text from its '}'."""
    if parts and isinstance(parts[-1], str):
        return tuple(part for part in (*parts[:-1], parts[-1].rstrip()) if part != "")
    return parts


def _read_group(text: str, start: int, depth: int) -> tuple[Group, int]:
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
    if most == _ALL and is_list(options):
        raise WildcardError(
            "of a list, so many or more have no end", start, "write how many at most: {2-4$$__list__}"
        )
    most = min(most, len(options)) if most == _ALL else most
    if not is_list(options) and (least > most or most > len(options)):
        raise WildcardError(
            f"{most if most > len(options) else f'{least}-{most}'} of {len(options)} options cannot be taken", start,
            "lower the number before $$",
        )  # fmt: skip
    if not sum(weights) > 0:
        raise WildcardError("every option has the weight 0", start, "give one of them more")
    return Group(least, most, separator, tuple(options), tuple(weights), order, start), at


#: How many of a group, where it says no end.
_ALL = 1000


def is_list(options: Sequence[Parts]) -> bool:
    """Whether a group is of one list alone, whose texts are then its options."""
    return len(options) == 1 and len(options[0]) == 1 and isinstance(options[0][0], ListName)


def go_deeper(name: str, at: int, depth: int) -> None:
    if depth >= _DEEPEST:
        raise WildcardError(f"'{name}' leads to itself", at, "take its own name out of it")
