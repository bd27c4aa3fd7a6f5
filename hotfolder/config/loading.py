"""Reads `hotfolder.toml` and the environment into settings, and says what is wrong with them."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hotfolder.config.root import FILE_NAME
from hotfolder.config.sections.inboxes import OVERRIDES
from hotfolder.config.settings import ARRAYS, Settings, as_json, sections
from hotfolder.core import toml
from hotfolder.errors import ConfigError, UsageError
from hotfolder.files.regular import Opens, open_regular, read_at_most
from hotfolder.masking import learn_addresses, learn_credentials

ENV_PREFIX = "HOTFOLDER_"
#: Environment variables with our prefix that are not settings.
_ENV_RESERVED, _ENV_OF_TESTS = {"HOTFOLDER_ROOT"}, "HOTFOLDER_TEST_"
#: A configuration is text that people write: more than this is something else.
_MOST_BYTES = 1 << 20
Loc = tuple[int | str, ...]
_OF_UNIONS = ("constrained-str", "constrained-float")
#: What the reader of TOML says of a section that is there already: people add one at the end, though `init` wrote all.
_TWICE = re.compile(r"Cannot declare \((?P<table>.*)\) twice(?P<at>.*)", re.DOTALL)
#: pydantic's words, and what people say.
_PLAIN = {
    "valid array": "list, such as [\"a\", \"b\"]", "valid string": "text in quotation marks",
    "valid boolean": "true or false, without quotation marks", "valid number": "number, without quotation marks",
    "valid integer": "whole number, without quotation marks", "an object": "a table",
    "Tuple should": "should", " after validation": "",
}  # fmt: skip


def load(root: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads `root/hotfolder.toml`, overridden by variables such as HOTFOLDER_GATE__KEEP=7.

    Without a root, the defaults take the file's place. Raises ConfigError, naming the file or variable, the key,
    and what is allowed.
    """
    path = (root or Path()) / FILE_NAME
    document: dict[str, Any] = {}
    if root is not None:
        try:
            document = read(path)
        except FileNotFoundError:
            raise UsageError(f"{path} does not exist", f"hotfolder init {shlex.quote(str(root))}") from None
    overridden = _apply_environment(document, environ)
    try:
        # As JSON, because only there are lists tuples and yet "7" no number.
        settings = Settings.model_validate_json(as_json(document), strict=True)
    except ValidationError as error:
        raise _explain(_first(error), str(path), overridden) from None
    except ValueError as error:  # a number with thousands of digits
        raise ConfigError(f"{path}: not valid: {_short(error)}", "write a smaller number") from None
    learn_addresses(settings.notify.urls)
    learn_credentials([settings.models.mirror, *(f.url for entry in settings.model for f in entry.files if f.url)])
    _check_inboxes(settings, str(path))
    return settings


def sources(root: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """'section.key' -> where its value comes from, for all that are not as delivered: '$VARIABLE', or file and line.

    Of arrays the name -> the line of the first. Raises what `read` raises.
    """
    path = root / FILE_NAME
    found = {}
    for section, values in read(path).items():
        if section in ARRAYS:
            found[section] = _line(FILE_NAME, path, section)
            continue
        for key in values if isinstance(values, Mapping) else ():
            found[f"{section}.{key}"] = _line(FILE_NAME, path, section, key)
    return {**found, **{key: f"${variable}" for key, variable in _apply_environment({}, environ).items()}}


def read(path: Path, opens: Opens = open_regular) -> dict[str, Any]:
    """A configuration file as it stands; `opens` says how it is reached. Raises ConfigError, FileNotFoundError."""
    try:
        data = read_at_most(path, _MOST_BYTES, opens)
        if data is None:
            raise ConfigError(f"{path} is larger than {_MOST_BYTES >> 20} MiB", "it is no configuration")
        return toml.loads(data.decode("utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "make it a readable UTF-8 text file") from None
    except ValueError as error:  # also of a number with thousands of digits
        if (twice := _TWICE.match(str(error))) is not None:
            table = twice["table"].strip("',").replace("', '", ".")
            raise ConfigError(
                f"{path}: not valid TOML: [{table}] stands in it twice{twice['at']}",
                f"put the keys under the [{table}] that was there before",
            ) from None
        raise ConfigError(f"{path}: not valid TOML: {_short(error)}", "mend the line it names") from None


def overridden(
    settings: Settings, document: Mapping[str, Any], where: str, at: Loc = (), file: Path | None = None
) -> Settings:
    """The settings with what an inbox or a sub-folder has otherwise. Raises ConfigError, naming them.

    Whoever may drop files may write such a `file`: it changes what becomes of its neighbours, and names no program,
    no folder and no address. What is not in OVERRIDES is refused.
    """
    inside = f"{dotted(at)}." if at else ""
    for section, values in document.items():
        if section not in OVERRIDES:
            raise ConfigError(
                f"{_line(where, file, section)}: [{section}] cannot differ from folder to folder",
                f"only {', '.join(OVERRIDES)} can; the rest belongs into the root's {FILE_NAME}",
            )
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{_line(where, file, section)}: {section} should be a section",
                f"write [{section}] and its keys below it",
            )
        allowed = OVERRIDES[section]
        for key in values:
            if allowed is not None and key not in allowed and key in _keys(section):
                raise ConfigError(
                    f"{_line(where, file, section, key)}: {inside}{section}.{key} cannot differ from folder to folder",
                    f"of this section only {', '.join(allowed)} can",
                )
    try:
        return settings.overridden(document)
    except ValidationError as error:
        problem = _first(error)
        section = next(name for name, kind in sections() if kind.__name__ == error.title)
        named = _line(where, file, section, *map(str, problem["loc"][:1]))
        raise _explain({**problem, "loc": (*at, section, *problem["loc"])}, named, {}) from None
    except ValueError as error:  # as above
        raise ConfigError(f"{where}: not valid: {_short(error)}", "write a smaller number") from None


def _line(where: str, file: Path | None, section: str, key: str = "") -> str:
    """The place with the line of a key, or of its section, where that can be found: '…/hotfolder.toml:3'."""
    try:
        data = read_at_most(file, _MOST_BYTES) if file is not None else None
    except OSError:
        data = None
    within, best = "", 0
    for number, line in enumerate((data or b"").decode(errors="replace").splitlines(), 1):
        table = re.match(r"\s*\[+\s*([^\[\]]+?)\s*\]", line)
        within = table[1] if table else within
        words = [word.strip(" \t\"'") for word in line.partition("=")[0].split(".")]
        if (within == section and key and words[0] == key) or (not within and key and words[:2] == [section, key]):
            return f"{where}:{number}"
        if not best and (within == section or (not within and words[0] == section)):
            best = number
    return f"{where}:{best}" if best else where


def _check_inboxes(settings: Settings, where: str) -> None:
    names: set[str] = set()
    for number, inbox in enumerate(settings.inbox):
        if inbox.name.lower() in names:
            raise ConfigError(f"{where}: two inboxes are called '{inbox.name}'", "give one of them another name")
        names.add(inbox.name.lower())
        overridden(settings, inbox.changes, where, ("inbox", number))
    known: set[str] = set()
    for entry in settings.model:
        if entry.name in known:
            raise ConfigError(f"{where}: two models are called '{entry.name}'", "give one of them another name")
        known.add(entry.name)


def _apply_environment(document: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Puts HOTFOLDER_SECTION__KEY into the document; gives back 'section.key' -> variable."""
    overridden = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX):
            continue
        section, _, key = variable.removeprefix(ENV_PREFIX).lower().partition("__")
        if not key:
            if variable not in _ENV_RESERVED and not variable.startswith(_ENV_OF_TESTS):
                _refuse(variable)
            continue
        if section in ARRAYS:
            raise ConfigError(
                f"{variable}: [[{section}]] cannot be set by the environment", f"write it in {FILE_NAME}"
            )
        try:
            found = toml.loads(f"value = {text}")
        except ValueError:
            found = {}
        value = found["value"] if len(found) == 1 else text  # a bare word is a text
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value
        overridden[f"{section}.{key}"] = variable
    return overridden


def _refuse(variable: str) -> NoReturn:
    """HOTFOLDER_GATE_KEEP would do nothing, and nobody would know."""
    known = [f"{ENV_PREFIX}{section}__{key}".upper() for section, _ in sections() for key in _keys(section)]
    near = difflib.get_close_matches(variable, known, n=1, cutoff=0.8)
    fix = f"did you mean {near[0]}, with two underscores?" if near else "unset it, or write HOTFOLDER_SECTION__KEY"
    raise ConfigError(f"{variable}: no setting is called so", fix)


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) < 200 else f"{text[:200]}…"


def _first(error: ValidationError) -> ErrorDetails:
    """The first problem; where a value may have several forms, that of the form that was meant: a list is no word."""
    problems = error.errors(include_url=False)
    place = _named(problems[0]["loc"])
    same = [each for each in problems if _named(each["loc"])[: len(place)] == place]
    is_list = isinstance(problems[0]["input"], (list, tuple))
    return max(same, key=lambda each: (len(_named(each["loc"])), is_list and each["type"] != "literal_error"))


def _named(loc: Loc) -> Loc:
    """Without the names that pydantic gives to the members of a union."""
    return tuple(p for p in loc if not (isinstance(p, str) and ("[" in p or p in _OF_UNIONS)))


def _explain(problem: ErrorDetails, path: str, overridden: Mapping[str, str]) -> ConfigError:
    """A problem in words a person can act on."""
    loc = _named(problem["loc"])
    key = dotted(loc)
    where = _source(loc, problem["type"], overridden) or path
    if problem["type"] == "extra_forbidden":
        known = _known_at(loc[:-1])
        near = difflib.get_close_matches(str(loc[-1]), known, n=1)
        what = "key" if len(loc) > 1 else "section"
        fix = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return ConfigError(f"{where}: unknown {what} '{key}'", fix)
    if problem["type"] == "missing":
        return ConfigError(f"{where}: {key} is missing", _description(loc))
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    for technical, plain in _PLAIN.items():
        message = message.replace(technical, plain)
    described = _description(loc)
    hidden = isinstance(problem["input"], (dict, BaseModel)) or _may_hold_secrets(loc)
    given = "" if hidden else f" is {problem['input']!r}"
    if problem["type"] == "value_error" and _section_at(loc) is not None:
        fix = "mend that entry" if loc[0] in ARRAYS and len(loc) < 3 else "change one of the two"
        return ConfigError(f"{where}: [{key}] {message}", fix)
    if len(loc) == 1 and isinstance(loc[0], str):
        form = f"[[{loc[0]}]]" if loc[0] in ARRAYS else f"[{loc[0]}]"
        return ConfigError(f"{where}: {key}{given}: it should be a section", f"write {form} and its keys below it")
    return ConfigError(f"{where}: {key}{given}: {message}", described or f"see the comments in {FILE_NAME}")


def _source(loc: Loc, type_: str, overridden: Mapping[str, str]) -> str:
    """The variables that an error may come from: that of the key, or of a section any of its keys."""
    key = ".".join(map(str, loc[:2]))
    if key in overridden:
        return overridden[key]
    if len(loc) == 1 and type_ in ("value_error", "extra_forbidden"):
        return ", ".join(variable for name, variable in overridden.items() if name.startswith(f"{loc[0]}."))
    return ""


def dotted(loc: Loc) -> str:
    """'inbox[0].gate.keep'."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")


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


def _keys(section: str) -> list[str]:
    return _known_at((section,))
