"""A flag or key with its value, whatever the syntax."""

from __future__ import annotations

import difflib
from typing import Any

from hotfolder.core.prompts.fields import ALIASES, VALUES
from hotfolder.errors import PromptSyntax
from hotfolder.types import Place


def key_of(flag: str) -> str:
    """`--cfg-scale` -> `guidance`."""
    key = flag.removeprefix("--").replace("-", "_")
    return ALIASES.get(key, key)


def option(place: Place | None, written: str, value: Any, prefix: str) -> tuple[str, Any]:
    key = key_of(written) if prefix else ALIASES.get(name := written.replace("-", "_"), name)
    if key not in VALUES:
        known = sorted({*VALUES, *ALIASES, "prompt"})
        near = difflib.get_close_matches(key, known, n=1)
        what = "flag" if prefix else "key"
        raise PromptSyntax(
            f"unknown {what} {shown(written)}",
            f"did you mean '{prefix}{near[0]}'?" if near else f"known are {', '.join(prefix + k for k in known)}",
            at=place,
        )
    try:
        return key, VALUES[key](value)
    except ValueError as wanted:
        raise PromptSyntax(f"{written} is {shown(value)}", f"it takes {wanted}", at=place) from None


def shown(value: Any) -> str:
    """A value as an error message quotes it: short, and never an error itself."""
    try:
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "too long a number"
    return text if len(text) <= 60 else text[:57] + "…"
