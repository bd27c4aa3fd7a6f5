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


def with_guidance(scale: Any, told: Any, negative: Any, name: str, gaps: list[Gap]) -> dict[str, Any]:
    """Guidance, and the negative prompt as far as it had an effect.

    `scale` is the one of classifier-free guidance, which the program calls `name`; `told` is what a distilled model
    (FLUX) is told instead, None for any other. Beside that, a scale of 1 weighs nothing against a negative prompt; any
    other is a gap.
    """
    if told is None:
        return {"guidance": scale, "negative_prompt": negative}
    if _weighs_nothing(scale):
        return {"guidance": told, "negative_prompt": None}
    gaps.append(Gap(f"a {name} of {scale!s:.20} beside its guidance"))
    return {"guidance": told, "negative_prompt": negative}


def _weighs_nothing(scale: Any) -> bool:
    """None, or 1 however it is written."""
    try:
        return scale in (None, "") or float(scale) == 1
    except (TypeError, ValueError):
        return False


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
