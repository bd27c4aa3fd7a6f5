"""One prompt as it was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt as written: not yet split into seeds, its wildcards not yet resolved. `place` is for messages."""

    prompt: str
    options: Mapping[str, Any]
    line: int
    place: str
    own: frozenset[str] = frozenset()  # the options that it has itself, not from the file
    at: Callable[[int], str] | None = None  # the place of a character of the prompt, where that is known
