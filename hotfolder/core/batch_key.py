"""Which pictures can be drawn together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from hotfolder.core.prompts.fields import FIELDS

_SHARED = tuple(field.name for field in FIELDS if field.in_batch_key)


def batch_key(params: Mapping[str, Any]) -> Hashable:
    """Equal for prompts that differ only in their words and seeds. `params` are fields of PromptSpec.

    One with a negative prompt and one without are not drawn together: some models have another way to leave it out.
    """
    lora = tuple((name, weight) for name, weight in params.get("lora") or ())
    return (*(params.get(key) for key in _SHARED), lora, bool(params.get("negative_prompt")))
