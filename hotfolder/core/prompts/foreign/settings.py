"""Tables of settings, as programs write them in JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hotfolder.core.prompts.recipe import Gap

#: Texts with which a setting does nothing.
_NOTHING = ("", "none", "false", "[]", "{}", "null")


def table_in(text: str | None) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    if not text or not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def says_nothing(value: Any) -> bool:
    """Whether a setting with this value did nothing: null, 0, false, empty, or a table or list of such."""
    if isinstance(value, str):
        return value.strip().lower() in _NOTHING
    if isinstance(value, Mapping):
        return all(map(says_nothing, value.values()))
    if isinstance(value, list):
        return all(map(says_nothing, value))
    return not value


def unknown(told: Mapping[str, Any], known: Collection[str]) -> Iterator[Gap]:
    """A gap for each setting that says something and is not known."""
    for key, value in told.items():
        if key not in known and not says_nothing(value):
            yield Gap(f"'{key[:60]}'")


def with_schedule(sampler: Any, schedule: Any, *, is_flow: bool = False) -> str | None:
    """How a sampler and its steps' schedule are called together; None for the only one that flow models have here.

    Flow models (FLUX and its like) are drawn by Euler's steps, evenly apart before they are shifted: what others call
    'normal' and 'simple'.
    """
    if sampler is None or not str(sampler).strip():
        return None
    name, steps = str(sampler).strip(), str(schedule or "").strip()
    is_plain = steps.lower() in ("", "none", "normal", "automatic", "native")
    if is_flow and name.lower() in ("euler", "k_euler") and (is_plain or steps.lower() == "simple"):
        return None
    return name if is_plain else f"{name} {steps}"
