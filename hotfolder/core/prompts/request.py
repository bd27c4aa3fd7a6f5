"""One prompt as it was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hotfolder.types import Place


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt as written: not yet split into seeds, its wildcards not yet resolved. Mistakes in it tell `place`."""

    prompt: str
    options: Mapping[str, Any]
    line: int
    place: Place
    own: frozenset[str] = frozenset()  # the options that it has itself, not from the file
    at: Callable[[int], Place] | None = None  # the place of a character of the prompt, where that is known
