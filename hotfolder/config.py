"""Reads `hotfolder.toml` and the environment into settings, and says what is wrong with them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli
from pydantic import BaseModel, ValidationError

from hotfolder.errors import ConfigError, UsageError
from hotfolder.root import FILE_NAME
from hotfolder.settings import Settings, describe, keys

ENV_PREFIX = "HOTFOLDER_"
#: Environment variables with our prefix that are not settings.
_ENV_RESERVED = {"HOTFOLDER_ROOT"}


def load(root: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads `root/hotfolder.toml`, overridden by variables such as HOTFOLDER_GATE__KEEP=7.

    Without a root, the defaults take the file's place. Raises ConfigError, naming the file or variable, the key,
    and what is allowed.
    """
    path = (root or Path()) / FILE_NAME
    document: dict[str, Any] = {} if root is None else _read(root, path)
    overridden = _apply_environment(document, environ)
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise _explain(error, path, overridden) from None


def _read(root: Path, path: Path) -> dict[str, Any]:
    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", f"hotfolder init {root}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "make it a readable UTF-8 text file") from None
    except tomli.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}", "mend the line it names") from None


def _apply_environment(document: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Puts HOTFOLDER_SECTION__KEY into the document; gives back 'section.key' -> variable."""
    overridden = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable in _ENV_RESERVED or "__" not in variable:
            continue
        section, _, key = variable.removeprefix(ENV_PREFIX).lower().partition("__")
        try:
            value = tomli.loads(f"value = {text}")["value"]
        except tomli.TOMLDecodeError:
            value = text  # a bare word is a text
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value
        overridden[f"{section}.{key}"] = variable
    return overridden


def _explain(error: ValidationError, path: Path, overridden: Mapping[str, str]) -> ConfigError:
    """The first problem in words a person can act on."""
    problem = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    where = overridden.get(key, str(path))
    section = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        known = keys(section) if len(problem["loc"]) > 1 else list(Settings.model_fields)
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        what = "key" if len(problem["loc"]) > 1 else "section"
        fix = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return ConfigError(f"{where}: unknown {what} '{key}'", fix)
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], (dict, BaseModel)) else f" is {problem['input']!r}"
    described = describe(section, str(problem["loc"][1])) if len(problem["loc"]) > 1 else ""
    if not key or problem["type"] == "value_error":
        return ConfigError(f"{where}: [{section}] {message}", "change one of the two")
    return ConfigError(f"{where}: {key}{given}: {message}", described or "see the comments in the file")
