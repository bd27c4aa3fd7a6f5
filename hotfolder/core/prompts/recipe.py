"""The same picture again, from what a file says of its making: whatever program wrote that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotfolder.core.prompts.converters import MOST_CHARACTERS
from hotfolder.core.prompts.fields import VALUES
from hotfolder.core.prompts.values import option, shown
from hotfolder.errors import PromptSyntax
from hotfolder.types import PromptSpec


def exact_spec(name: str, prompt: Any, asked: Mapping[str, Any]) -> PromptSpec:
    """`asked` has no key without a value. Raises PromptSyntax, which begins with `name`."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise PromptSyntax(f"{name}: its settings hold no prompt ({shown(prompt)})", "write a prompt file")
    if "seed" not in asked:
        raise PromptSyntax(f"{name}: its settings hold no seed", "write a prompt file")
    converted = dict(option(f"{name}:", key, value, "") for key, value in asked.items() if key in VALUES)
    if converted["seed"] is None:
        raise PromptSyntax(f"{name}: its seed is -1, which is none", "write a prompt file")
    for what in (prompt, converted.get("negative_prompt", "")):
        if len(what) > MOST_CHARACTERS:
            raise PromptSyntax(
                f"{name}: its prompt is longer than {MOST_CHARACTERS:,} characters", "write a prompt file"
            )
    return PromptSpec(prompt=prompt.strip(), exact=True, **{"negative_prompt": "", **converted})


def made_with(name: str, what: str, program: str = "") -> PromptSyntax:
    """For what shaped the picture and is not done here, or not known: the error to raise."""
    by = f"by {program} " if program else ""
    return PromptSyntax(
        f"{name} was made {by}with {what}, which is not done here", "write a prompt file without it"
    )


def named(path: str) -> str:
    """The name of a model that another program calls by its file: 'sd\\\\v1-5.safetensors' -> 'v1-5'."""
    file = path.replace("\\", "/").rpartition("/")[2]
    stem, dot, ending = file.rpartition(".")
    return stem if dot and ending.lower() in ("safetensors", "sft", "ckpt", "pt", "gguf") else file
