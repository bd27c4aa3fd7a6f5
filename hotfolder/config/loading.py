"""Reads `hotfolder.toml` and the environment into settings, and says what is wrong with them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import ErrorDetails

from hotfolder.config import environment, mistakes
from hotfolder.config.lines import MOST_BYTES, Lines, Loc
from hotfolder.config.root import FILE_NAME
from hotfolder.config.sections.inboxes import OVERRIDES
from hotfolder.config.settings import ARRAYS, Settings, as_json
from hotfolder.core import toml
from hotfolder.errors import MOST_MISTAKES, ConfigError, HotfolderError, ModelMissing, UsageError, raise_all
from hotfolder.files.regular import Opens, open_regular, read_at_most
from hotfolder.masking import learn_addresses, learn_credentials

#: What the reader of TOML says of a section that is there already: people add one at the end, though `init` wrote all.
_TWICE = re.compile(r"Cannot declare \((?P<table>.*)\) twice(?P<at>.*)", re.DOTALL)

#: How the entries of an array are called.
_MANY = {"inbox": "inboxes", "model": "models"}


@dataclass(frozen=True, slots=True)
class Examined:
    """What a configuration says, as far as it is right, and all that is wrong with it.

    In `doubtful` sections something is wrong: whether values go together cannot be said of them.
    """

    settings: Settings
    mistakes: tuple[ConfigError, ...] = ()
    doubtful: frozenset[str] = frozenset()


def is_certain(error: HotfolderError, doubtful: Collection[str]) -> bool:
    """Whether a model that was not found is not there: it may be the one whose entry, or folder, is wrong."""
    return "models" not in doubtful and ("model" not in doubtful or isinstance(error, ModelMissing))


def load(root: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads `root/hotfolder.toml`, overridden by variables such as HOTFOLDER_GATE__KEEP=7.

    Without a root, the defaults take the file's place. Raises ConfigError, naming the file or variable, the key,
    and what is allowed; all other mistakes are beside the first one.
    """
    found = examine(root, environ)
    raise_all(found.mistakes)
    return found.settings


def examine(root: Path | None, environ: Mapping[str, str] = os.environ) -> Examined:
    """The same, for those who go on where something is wrong. Raises UsageError where there is no file."""
    path = (root or Path()) / FILE_NAME
    document: dict[str, Any] = {}
    wrong: list[ConfigError] = []
    if root is not None:
        try:
            document = read(path)
        except FileNotFoundError:
            raise UsageError(f"{path} does not exist", f"hotfolder init {shlex.quote(str(root))}") from None
        except ConfigError as error:
            wrong.append(error)
    is_read = not wrong
    variables, misnamed = environment.put_into(document, environ)
    wrong += misnamed
    try:
        # As JSON, because only there are lists tuples and yet "7" no number.
        settings, problems = mistakes.understood(
            lambda read: Settings.model_validate_json(as_json(read), strict=True), document
        )
        settings = settings or mistakes.as_far_as_right(document, problems)
    except ValueError as error:  # a number with thousands of digits
        told = ConfigError(f"{path}: not valid: {_short(error)}", "write a smaller number", where=str(path))
        return Examined(Settings(), (*wrong, told), frozenset(Settings.model_fields))
    learn_addresses(settings.notify.urls)
    learn_credentials([settings.models.mirror, *(f.url for entry in settings.model for f in entry.files if f.url)])
    lines = Lines(str(path), path if root is not None else None)
    if not is_read:  # how the variables go with what the file says cannot be known
        problems = [each for each in problems if mistakes.dotted(mistakes.place(each)[:2]) in variables]
    wrong += [mistakes.explained(each, lines, variables) for each in problems[: MOST_MISTAKES + 1]]
    doubtful = frozenset(str(mistakes.place(each)[0]) for each in problems)
    settings, of_arrays = _with_sound_inboxes(settings, document, lines, doubtful)
    found = mistakes.shortened([*wrong, *of_arrays])
    return Examined(settings, tuple(found), doubtful if is_read else frozenset(Settings.model_fields))


def sources(root: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """'section.key' -> where its value comes from, for all that are not as delivered: '$VARIABLE', or file and line.

    Of arrays the name -> the line of the first. Raises what `read` raises.
    """
    path = root / FILE_NAME
    lines = Lines(FILE_NAME, path)
    found = {}
    for section, values in read(path).items():
        if section in ARRAYS:
            found[section] = lines.place((section,))
            continue
        for key in values if isinstance(values, Mapping) else ():
            found[f"{section}.{key}"] = lines.place((section, key))
    variables, _ = environment.put_into({}, environ)
    return {**found, **{key: f"${variable}" for key, variable in variables.items()}}


def read(path: Path, opens: Opens = open_regular, where: str = "") -> dict[str, Any]:
    """A configuration file as it stands; `opens` says how it is reached, `where` how messages call it.

    Raises ConfigError, FileNotFoundError.
    """
    where = where or str(path)
    try:
        data = read_at_most(path, MOST_BYTES, opens)
        if data is None:
            told = f"{where} is larger than {MOST_BYTES >> 20} MiB"
            raise ConfigError(told, "it is no configuration", where=where)
        return toml.loads(data.decode("utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        told = f"{where} cannot be read: {error}".replace(str(path), where)
        raise ConfigError(told, "make it a readable UTF-8 text file", where=where) from None
    except ValueError as error:  # also of a number with thousands of digits
        line = getattr(error, "lineno", None)
        if (twice := _TWICE.match(str(error))) is not None:
            table = twice["table"].strip("',").replace("', '", ".")
            raise ConfigError(
                f"{where}: not valid TOML: [{table}] stands in it twice{twice['at']}",
                f"put the keys under the [{table}] that was there before",
                where=where,
                line=line,
                key=table,
            ) from None
        told = f"{where}: not valid TOML: {_short(error)}"
        raise ConfigError(told, "mend the line it names", where=where, line=line) from None


def overridden(
    settings: Settings,
    document: Mapping[str, Any],
    lines: Lines,
    at: Loc = (),
    doubtful: Collection[str] = (),
) -> Settings:
    """The settings with what an inbox or a sub-folder has otherwise. Raises ConfigError, with all that is wrong.

    Whoever may drop files may write such a file: it changes what becomes of its neighbours, and names no program,
    no folder and no address. What is not in OVERRIDES is refused. Of `doubtful` sections is not said that values do
    not go together: those that they are to go with are not known.
    """
    wrong: list[ConfigError] = []
    of_values: list[ConfigError] = []
    for section, values in document.items():
        if len(wrong) > MOST_MISTAKES:
            break
        if section not in OVERRIDES:
            what = f"[{section}] cannot differ from folder to folder"
            fix = f"only {', '.join(OVERRIDES)} can; the rest belongs into the root's {FILE_NAME}"
            wrong.append(mistakes.mistake(lines, (*at, section), what, fix))
            continue
        if not isinstance(values, Mapping):
            fix = f"write [{section}] and its keys below it"
            wrong.append(mistakes.mistake(lines, (*at, section), f"{section} should be a section", fix))
            continue
        allowed = OVERRIDES[section] or tuple(values)
        refused = [key for key in values if key not in allowed and key in mistakes.keys_of(section)]
        for key in refused:
            loc = (*at, section, key)
            what = f"{mistakes.dotted(loc)} cannot differ from folder to folder"
            wrong.append(mistakes.mistake(lines, loc, what, f"of this section only {', '.join(allowed)} can"))
        changes = {key: value for key, value in values.items() if key not in refused}
        try:
            changed, problems = _with(settings, section, changes)
        except ValueError as error:  # as above
            told = f"{lines.where}: not valid: {_short(error)}"
            of_values.append(ConfigError(told, "write a smaller number", where=lines.where))
            continue
        settings = changed or settings
        of_values += [
            mistakes.explained(each, lines, {}, (*at, section))
            for each in problems[: MOST_MISTAKES + 1]
            if mistakes.place(each) or section not in doubtful
        ]
    raise_all(mistakes.shortened([*wrong, *of_values]))
    return settings


def _with(settings: Settings, section: str, changes: dict[str, Any]) -> tuple[Settings | None, list[ErrorDetails]]:
    """With other values in a section; and what is wrong with them. Raises ValueError as `understood` does."""
    return mistakes.understood(lambda values: settings.overridden({section: values}), changes)


def _with_sound_inboxes(
    settings: Settings, document: Mapping[str, Any], lines: Lines, doubtful: Collection[str]
) -> tuple[Settings, list[ConfigError]]:
    """The settings without the inboxes that something is wrong with, and what that is; also of models' names."""
    wrong: list[ConfigError] = []
    for array in ARRAYS:
        names: set[str] = set()
        entries = document.get(array)
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            name = entry.get("name") if isinstance(entry, Mapping) else None
            if isinstance(name, str):
                same = name.lower() if array == "inbox" else name
                if same in names:
                    what = f"two {_MANY[array]} are called '{name}'"
                    fix = "give one of them another name"
                    wrong.append(mistakes.mistake(lines, (array, number, "name"), what, fix))
                names.add(same)
            if array == "inbox" and isinstance(entry, Mapping):
                changes = {key: entry[key] for key in OVERRIDES if isinstance(entry.get(key), Mapping)}
                try:
                    overridden(settings, changes, lines, (array, number), doubtful)
                    is_sound = not doubtful or _go_together(settings, changes)
                except ConfigError as error:
                    wrong += [each for each in error.each if isinstance(each, ConfigError)]
                    is_sound = False
                if not is_sound:
                    others = tuple(each for each in settings.inbox if each.name != name)
                    settings = settings.model_copy(update={"inbox": others})
    return settings, wrong


def _go_together(settings: Settings, changes: Mapping[str, Mapping[str, Any]]) -> bool:
    """What is not said of doubtful sections."""
    try:
        settings.overridden(changes)
    except ValueError:
        return False
    return True


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) < 200 else f"{text[:200]}…"
