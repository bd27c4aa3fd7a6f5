"""Reads `.toml` and `.json`: one prompt with its keys, or several with what they share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hotfolder.core import toml
from hotfolder.core.prompts.fields import ALIASES
from hotfolder.core.prompts.request import Request
from hotfolder.core.prompts.values import option
from hotfolder.errors import PromptSyntax, together
from hotfolder.types import Place


def read_toml(name: str, text: str) -> Iterator[Request | PromptSyntax]:
    return _read(name, text, toml.loads, "TOML", "mend the line it names")


def read_json(name: str, text: str) -> Iterator[Request | PromptSyntax]:
    return _read(name, text, json.loads, "JSON", "mend the place it names")


def _read(
    name: str, text: str, read: Callable[[str], Any], syntax: str, fix: str
) -> Iterator[Request | PromptSyntax]:
    try:
        document = read(text)
    except (ValueError, RecursionError) as error:
        raise PromptSyntax(f"not valid {syntax}: {error}", fix, at=Place(name)) from None
    yield from _read_document(name, document)


def _read_document(name: str, document: Any) -> Iterator[Request | PromptSyntax]:
    """One table with `prompt` and options; or `prompts`, a list of such, with shared options beside it."""
    if isinstance(document, list):
        document = {"prompts": document}
    if not isinstance(document, dict):
        raise PromptSyntax("it holds no table", 'write {"prompt": "…"}', at=Place(name))
    shared = {key: value for key, value in document.items() if key != "$schema"}
    entries = shared.pop("prompts", None)
    if entries is None:
        entries, shared = [shared], {}
    if not isinstance(entries, list):
        raise PromptSyntax("'prompts' is not a list", 'write prompts = ["…", "…"]', at=Place(name))
    if "prompt" in shared:
        raise PromptSyntax("both 'prompt' and 'prompts' are given", "use one of them", at=Place(name))
    for number, entry in enumerate(entries, 1):
        try:
            yield _read_entry(Place(name, prompt=number), number, entry, shared)
        except PromptSyntax as error:
            yield error


def _read_entry(place: Place, number: int, entry: Any, shared: Mapping[str, Any]) -> Request:
    table = {"prompt": entry} if isinstance(entry, str) else entry
    if not isinstance(table, dict):
        raise PromptSyntax("it is neither a text nor a table", 'write "a red circle"', at=place)
    own = frozenset(ALIASES.get(key, key) for key in map(str, table))
    table = {**shared, **table}
    prompt = table.pop("prompt", None)
    if not isinstance(prompt, str) or not prompt.strip():
        raise PromptSyntax("it has no text", 'give it as prompt = "…"', at=place)
    options: dict[str, Any] = {}
    mistakes = []
    for written, value in table.items():
        try:
            key, converted = option(place, str(written), value, "")
            if key in options:
                raise PromptSyntax(f"{key} is given twice, once as '{written}'", "give it once", at=place)
            options[key] = converted
        except PromptSyntax as error:
            mistakes.append(error)
    if mistakes:
        raise together(mistakes)
    return Request(prompt.strip(), options, number, place, own)
