"""What other programs write into their images of how they were made, a module for each.

Of each the plain picture from words is understood: prompt, seed, steps, guidance, size, sampler, model, LoRA. What
else shaped it is a gap; a setting that says nothing (null, 0, false, empty) did nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hotfolder.core.prompts.foreign import comfyui, draw_things, fooocus, invokeai, novelai, swarmui, web_ui
from hotfolder.core.prompts.recipe import Recipe
from hotfolder.core.prompts.values import shown
from hotfolder.errors import PromptSyntax

#: The program's name; what finds its settings among an image's texts: a table, or a word why there is none, or None
#: where it did not make the image; and what reads them. Those come first that write other programs' texts as well.
_PROGRAMS: tuple[
    tuple[str, Callable[[Mapping[str, str]], Any], Callable[[dict[str, Any]], Recipe]], ...
] = (
    (swarmui.PROGRAM, swarmui.settings_in, swarmui.read),
    (fooocus.PROGRAM, fooocus.settings_in, fooocus.read),
    (invokeai.PROGRAM, invokeai.settings_in, invokeai.read),
    (draw_things.PROGRAM, draw_things.settings_in, draw_things.read),
    (novelai.PROGRAM, novelai.settings_in, novelai.read),
    (comfyui.PROGRAM, comfyui.settings_in, comfyui.read),
)  # fmt: skip


def recipe_of(name: str, text: Mapping[str, str]) -> Recipe | None:
    """How an image was made, from its texts by their keywords; None where nothing says it.

    `name` is the file's, for messages. Raises PromptSyntax where a program's settings cannot be read at all.
    """
    for program, says, reads in _PROGRAMS:
        found = says(text)
        if found is None:
            continue
        if not isinstance(found, dict):
            raise PromptSyntax(
                f"{name} was made by {program}, and its settings ({shown(found)}) are not read",
                "write a prompt file",
            )
        try:
            return reads(found)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError):
            raise PromptSyntax(
                f"{name} was made by {program}, and its settings are not as usual", "write a prompt file"
            ) from None
    return web_ui.read(name, text["parameters"]) if "parameters" in text else None
