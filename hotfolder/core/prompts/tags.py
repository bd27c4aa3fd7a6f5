"""`<lora:name:0.8>` in a prompt: how the Stable Diffusion web UI and its readers name LoRA."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hotfolder.core.prompts.values import lora

_TAG = re.compile(r"<lora:([^<>]*)>")


def take_loras(prompt: str) -> tuple[str, tuple[tuple[str, float], ...]]:
    """The prompt without its tags, and what they name. Raises ValueError for one that is not understood."""
    found = tuple(lora(match[1]) for match in _TAG.finditer(prompt))
    return (re.sub(r"\s*" + _TAG.pattern, "", prompt).strip() if found else prompt), found


def with_loras(prompt: str, loras: Iterable[tuple[str, float]]) -> str:
    """The prompt with a tag for each, as the web UI writes it."""
    return " ".join((prompt, *(f"<lora:{name}:{weight:g}>" for name, weight in loras)))
