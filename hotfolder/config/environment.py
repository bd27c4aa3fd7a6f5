"""Settings by variables of the environment, such as HOTFOLDER_GATE__KEEP=7."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from hotfolder.config.mistakes import keys_of
from hotfolder.config.root import FILE_NAME
from hotfolder.config.settings import ARRAYS, sections
from hotfolder.core import toml
from hotfolder.errors import ConfigError

PREFIX = "HOTFOLDER_"
#: Variables with our prefix that are not settings.
_RESERVED, _OF_TESTS = {"HOTFOLDER_ROOT"}, "HOTFOLDER_TEST_"


def put_into(document: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, str], list[ConfigError]]:
    """Puts the variables into a document. Gives 'section.key' -> variable, and what is wrong with their names."""
    overridden, wrong = {}, []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        if not key:
            if variable not in _RESERVED and not variable.startswith(_OF_TESTS):
                wrong.append(_unknown(variable))
            continue
        if section in ARRAYS:
            told = f"{variable}: [[{section}]] cannot be set by the environment"
            wrong.append(ConfigError(told, f"write it in {FILE_NAME}", where=variable, key=section))
            continue
        try:
            found = toml.loads(f"value = {text}")
        except ValueError:
            found = {}
        value = found["value"] if len(found) == 1 else text  # a bare word is a text
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value
        overridden[f"{section}.{key}"] = variable
    return overridden, wrong


def _unknown(variable: str) -> ConfigError:
    """HOTFOLDER_GATE_KEEP would do nothing, and nobody would know."""
    known = [f"{PREFIX}{section}__{key}".upper() for section, _ in sections() for key in keys_of(section)]
    near = difflib.get_close_matches(variable, known, n=1, cutoff=0.8)
    fix = f"did you mean {near[0]}, with two underscores?" if near else "unset it, or write HOTFOLDER_SECTION__KEY"
    return ConfigError(f"{variable}: no setting is called so", fix, where=variable)
