"""The same picture again, from what a file says of its making: whatever program wrote that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hotfolder.core.prompts.converters import MOST_CHARACTERS
from hotfolder.core.prompts.fields import VALUES
from hotfolder.core.prompts.nearest import nearest
from hotfolder.core.prompts.values import option, shown
from hotfolder.errors import PromptSyntax, together
from hotfolder.types import Place, PromptSpec

#: Gaps that an error, or an image's notes, name one by one.
_MOST_NAMED = 20
_FIX = "write a prompt file without it, or have the nearest taken: --adapt, or generate.adapt = true"


@dataclass(frozen=True, slots=True)
class Gap:
    """What shaped a picture in another program and is not done here, or is not known."""

    what: str  # follows 'was made with'
    instead: str = "left out"  # what is done where the nearest is enough


@dataclass(frozen=True, slots=True)
class Recipe:
    """What another program wrote of a picture: as much of it as is understood, and what is not."""

    program: str  # its name; empty where many write so
    prompt: Any
    asked: Mapping[str, Any]  # by the names of FIELDS, as they stand there; None and empty values say nothing
    gaps: tuple[Gap, ...] = ()  # one for each time that it was asked for
    model_sha256: str | None = None  # or its beginning


def spec_of(name: str, recipe: Recipe, *, adapt: bool) -> PromptSpec:
    """The prompt that a recipe is; `name` is the file's, for messages.

    Raises PromptSyntax, which names all that cannot be done; with `adapt`, the nearest is taken, and stands in the
    prompt's notes. Without a prompt there is none in either case.
    """
    asked = {key: value for key, value in recipe.asked.items() if value not in (None, "", {}, ())}
    gaps = list(dict.fromkeys(recipe.gaps))
    if not adapt:
        mistakes = [_made_with(name, gaps, recipe.program)] if gaps else []
        try:
            spec = exact_spec(name, recipe.prompt, asked)
        except PromptSyntax as error:
            mistakes.append(error)
        if mistakes:
            raise together(mistakes)
        return replace(spec, model_sha256=recipe.model_sha256, is_plain_cfg=True)
    by = f"made by {recipe.program} with" if recipe.program else "made with"
    notes = [f"{by} {gap.what}: {gap.instead}" for gap in gaps]
    values, more = nearest(asked)
    spec = exact_spec(name, recipe.prompt, values)
    told = _shortened([*notes, *more])
    return replace(spec, model_sha256=recipe.model_sha256, notes=told, is_plain_cfg=True)


def _shortened(notes: Sequence[str]) -> tuple[str, ...]:
    left = len(notes) - _MOST_NAMED
    return tuple(notes) if left <= 0 else (*notes[:_MOST_NAMED], f"and {left} more that are not done here")


def exact_spec(name: str, prompt: Any, asked: Mapping[str, Any]) -> PromptSpec:
    """`asked` has no key without a value. Raises PromptSyntax, which begins with `name`."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise PromptSyntax(f"its settings hold no prompt ({shown(prompt)})", "write a prompt file", at=Place(name))
    if "seed" not in asked:
        raise PromptSyntax("its settings hold no seed", "write a prompt file", at=Place(name))
    converted: dict[str, Any] = {}
    mistakes = []
    for key, value in asked.items():
        try:
            converted |= [option(Place(name), key, value, "")] if key in VALUES else []
        except PromptSyntax as error:
            mistakes.append(error)
    if mistakes:
        raise together(mistakes)
    if converted["seed"] is None:
        raise PromptSyntax("its seed is -1, which is none", "write a prompt file", at=Place(name))
    for what in (prompt, converted.get("negative_prompt", "")):
        if len(what) > MOST_CHARACTERS:
            raise PromptSyntax(
                f"its prompt is longer than {MOST_CHARACTERS:,} characters", "write a prompt file", at=Place(name)
            )
    return PromptSpec(prompt=prompt.strip(), exact=True, **{"negative_prompt": "", **converted})


def _made_with(name: str, gaps: Sequence[Gap], program: str) -> PromptSyntax:
    by = f"by {program} " if program else ""
    whats = _shortened([gap.what for gap in gaps])
    return PromptSyntax(f"{name} was made {by}with {'; '.join(whats)}, which is not done here", _FIX)


def named(path: str) -> str:
    """The name of a model that another program calls by its file: 'sd\\\\v1-5.safetensors' -> 'v1-5'."""
    file = path.replace("\\", "/").rpartition("/")[2]
    stem, dot, ending = file.rpartition(".")
    return stem if dot and ending.lower() in ("safetensors", "sft", "ckpt", "pt", "pth", "gguf") else file
