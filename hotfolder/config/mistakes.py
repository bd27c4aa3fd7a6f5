"""What is wrong with a configuration, in words a person can act on: each mistake with its place and its remedy."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hotfolder.config.lines import Lines, Loc
from hotfolder.config.root import FILE_NAME
from hotfolder.config.sections.inboxes import OVERRIDES
from hotfolder.config.settings import ARRAYS, Settings, as_json, sections
from hotfolder.errors import MOST_MISTAKES, ConfigError

T = TypeVar("T")
_UNKNOWN = "extra_forbidden"
_OF_UNIONS = ("constrained-str", "constrained-float")
#: pydantic's words, and what people say.
_PLAIN = {
    "valid array": "list, such as [\"a\", \"b\"]", "valid string": "text in quotation marks",
    "valid boolean": "true or false, without quotation marks", "valid number": "number, without quotation marks",
    "valid integer": "whole number, without quotation marks", "an object": "a table",
    "Tuple should": "should", " after validation": "",
}  # fmt: skip


def mistake(lines: Lines, loc: Loc, what: str, fix: str) -> ConfigError:
    """One of a file, at this place."""
    return ConfigError(f"{lines.place(loc)}: {what}", fix, where=lines.where, line=lines.at(loc), key=dotted(loc))


def shortened(found: Sequence[ConfigError]) -> list[ConfigError]:
    """Whoever may drop files may write any number of mistakes: the first ones, and a word on the others."""
    if len(found) <= MOST_MISTAKES:
        return list(found)
    where = found[0].where
    more = ConfigError(f"{where}: and more mistakes than are told", "mend those first", where=where)
    return [*found[:MOST_MISTAKES], more]


def understood(
    validate: Callable[[dict[str, Any]], T], document: dict[str, Any]
) -> tuple[T | None, list[ErrorDetails]]:
    """What a document means, and all that is wrong with it; None where something is.

    Whether the values of a table go together is only looked at where each of them is right and known. So where keys
    are not known, it is read once more without them. Raises ValueError for a number with thousands of digits.
    """
    try:
        return validate(document), []
    except ValidationError as error:
        problems = _problems(error)
    unknown = [place(each) for each in problems if each["type"] == _UNKNOWN]
    if 0 < len(unknown) <= MOST_MISTAKES:
        told = {(place(each), each["type"]) for each in problems}
        try:
            validate(_without(document, unknown))
        except ValidationError as error:
            problems += [each for each in _problems(error) if (place(each), each["type"]) not in told]
    return None, problems


def as_far_as_right(document: dict[str, Any], problems: Iterable[ErrorDetails]) -> Settings:
    """The settings without what is wrong: such keys are as delivered, such entries of arrays are left out."""
    document = _without(document, [place(each)[:2] for each in problems])
    try:
        return Settings.model_validate_json(as_json(document), strict=True)
    except ValidationError as error:  # of some sections, what is left does not go together
        document = _without(document, [place(each)[:1] for each in _problems(error)])
    try:
        return Settings.model_validate_json(as_json(document), strict=True)
    except ValidationError:
        return Settings()


def _without(document: dict[str, Any], places: Iterable[Loc]) -> dict[str, Any]:
    copied = deepcopy(document)
    for loc in set(places):
        table: Any = copied
        for part in loc[:-1]:
            table = table.get(part) if isinstance(table, dict) else _entry(table, part)
        if isinstance(table, dict):
            table.pop(loc[-1], None)
        elif isinstance(table, list) and isinstance(loc[-1], int) and loc[-1] < len(table):
            table[loc[-1]] = None  # the others keep their numbers until all is done
    for name in ARRAYS:
        if isinstance(copied.get(name), list):
            copied[name] = [each for each in copied[name] if each is not None]
    return copied


def _entry(table: Any, part: int | str) -> Any:
    return table[part] if isinstance(table, list) and isinstance(part, int) and part < len(table) else None


def _problems(error: ValidationError) -> list[ErrorDetails]:
    """Each problem once; where a value may have several forms, those of the form that was meant: a list is no word."""
    found: list[ErrorDetails] = []
    left = deque(error.errors(include_url=False))
    while left and len(found) <= MOST_MISTAKES:
        same = [left.popleft()]
        at = place(same[0])
        while left and place(left[0])[: len(at)] == at:
            same.append(left.popleft())
        inside = [each for each in same if len(place(each)) > len(at)]
        is_list = isinstance(same[0]["input"], (list, tuple))
        found += inside or [max(same, key=lambda each: is_list and each["type"] != "literal_error")]
    return found


def place(problem: ErrorDetails) -> Loc:
    """Where it is, without the names that pydantic gives to the members of a union."""
    loc = problem["loc"]
    last = len(loc) - 1 if problem["type"] == _UNKNOWN else len(loc)  # a key may be called anything
    return tuple(
        part
        for at, part in enumerate(loc)
        if at == last or not (isinstance(part, str) and ("[" in part or part in _OF_UNIONS))
    )


def explained(problem: ErrorDetails, lines: Lines, variables: Mapping[str, str], inside: Loc = ()) -> ConfigError:
    """A problem in words. `variables` are those that set a key: 'section.key' -> its name.

    `inside` is the table that was looked at.
    """
    loc = (*inside, *place(problem))
    key, type_ = dotted(loc), problem["type"]
    variable = _variable(loc, type_, variables)

    def told(what: str, fix: str) -> ConfigError:
        if variable:
            return ConfigError(f"{variable}: {what}", fix, where=variable, key=key)
        return mistake(lines, loc, what, fix)

    if type_ == _UNKNOWN:
        known = _known_at(loc[:-1])
        near = difflib.get_close_matches(str(loc[-1]), known, n=1)
        what = "key" if len(loc) > 1 else "section"
        return told(
            f"unknown {what} '{key}'", f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        )
    if type_ == "missing":
        return told(f"{key} is missing", _description(loc))
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    for technical, plain in _PLAIN.items():
        message = message.replace(technical, plain)
    hidden = isinstance(problem["input"], (dict, BaseModel)) or _may_hold_secrets(loc)
    given = "" if hidden else f" is {problem['input']!r}"
    if type_ == "value_error" and _section_at(loc) is not None:
        several = "; " in message
        if loc[0] in ARRAYS and len(loc) < 3:
            return told(f"[{key}] {message}", "mend that entry")
        return told(f"[{key}] {message}", "of each pair, change one" if several else "change one of the two")
    if len(loc) == 1 and isinstance(loc[0], str):
        form = f"[[{loc[0]}]]" if loc[0] in ARRAYS else f"[{loc[0]}]"
        return told(f"{key}{given}: it should be a section", f"write {form} and its keys below it")
    return told(f"{key}{given}: {message}", _description(loc) or f"see the comments in {FILE_NAME}")


def _variable(loc: Loc, type_: str, variables: Mapping[str, str]) -> str:
    """The variables that an error may come from: that of the key, or of a section any of its keys."""
    key = ".".join(map(str, loc[:2]))
    if key in variables:
        return variables[key]
    if len(loc) == 1 and type_ in ("value_error", _UNKNOWN):
        return ", ".join(variable for name, variable in variables.items() if name.startswith(f"{loc[0]}."))
    return ""


def dotted(loc: Loc) -> str:
    """'inbox[0].gate.keep'."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")


def keys_of(section: str) -> list[str]:
    """The keys that a section may have; none of one that is not known."""
    return _known_at((section,))


def _section_at(loc: Loc) -> type[BaseModel] | None:
    """The class of the table that a place lies in."""
    found: type[BaseModel] | None = Settings
    for part in loc:
        if found is Settings and isinstance(part, str):
            found = {**dict(sections()), **ARRAYS}.get(part)
        elif isinstance(part, str) and found is not None:
            # What an inbox has of another section.
            found = dict(sections()).get(part) if part in OVERRIDES else getattr(found, "FILES", None)
    return found


def _may_hold_secrets(loc: Loc) -> bool:
    """Whether the value at this place is never to be shown: see `Section`."""
    section = _section_at(loc[:1])
    fields = section.model_fields if section is not None else {}
    return any(not field.repr for name, field in fields.items() if len(loc) == 1 or loc[1] == name)


def _known_at(loc: Loc) -> list[str]:
    found = _section_at(loc)
    return list(found.model_fields) if found is not None else []


def _description(loc: Loc) -> str:
    """What the key at this place means; empty where that is not known."""
    for end in range(len(loc), 0, -1):
        if not isinstance(loc[end - 1], str):
            continue
        table = _section_at(loc[: end - 1])
        described = table.model_fields.get(str(loc[end - 1])) if table is not None else None
        if described is not None and table is not Settings:
            default = described.get_default()
            told = "" if described.is_required() or default in (None, "", ()) else f" Without it: {default}."
            return f"{described.description or ''}{told}"
    return ""
