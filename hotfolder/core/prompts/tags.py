"""`<lora:name:0.8>` in a prompt: how the Stable Diffusion web UI and its readers name LoRA."""

from __future__ import annotations

import re

from hotfolder.core.prompts.converters import lora

_TAG = re.compile(r"<lora:([^<>]*)>")


def take_loras(prompt: str) -> tuple[str, tuple[tuple[str, float], ...]]:
    """The prompt without its tags, and what they name. Raises ValueError for one that is not understood."""
    pieces, found, at = [], [], 0
    for match in _TAG.finditer(prompt):
        pieces.append(prompt[at : match.start()].rstrip())
        found.append(lora(match[1]))
        at = match.end()
    return ("".join([*pieces, prompt[at:]]).strip() if found else prompt), tuple(found)
