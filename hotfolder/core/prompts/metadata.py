"""What an image says of how it was generated, as a prompt again: our JSON, or what another program wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from hotfolder.core.prompts.fields import FIELDS
from hotfolder.core.prompts.foreign import recipe_of
from hotfolder.core.prompts.recipe import exact_spec, spec_of
from hotfolder.core.prompts.values import shown
from hotfolder.core.samplers import sampler_called
from hotfolder.errors import PromptSyntax
from hotfolder.types import Place, PromptSpec

#: The keys of our settings that are asked for again; all else in them is how it went.
_RECORDED = {field.name for field in FIELDS if field.is_recorded}
_ASKED = tuple(field.name for field in fields(PromptSpec) if field.name in _RECORDED)
#: What has to be the same for the same picture to come out.
_PROOFS = ("model_sha256", "init_image_sha256")


def from_metadata(name: str, text: Mapping[str, str], *, adapt: bool = False) -> PromptSpec:
    """The prompt that made an image, from its text chunks; `name` is the file's, for messages.

    Raises PromptSyntax for an image that says nothing of how it was made, or what cannot be done again; with `adapt`
    the nearest to that is taken, and named in the prompt's notes.
    """
    if "hotfolder" in text:
        return _from_ours(name, text["hotfolder"])
    if (found := recipe_of(name, text)) is not None:
        return spec_of(name, found, adapt=adapt)
    raise PromptSyntax(
        f"{name} does not say how it was generated",
        "images to be judged go to inbox/score, to be enlarged to upscale",
    )


def prompt_in(name: str, text: Mapping[str, str]) -> str | None:
    """What an image says that it was to show; None where it says nothing of that, or nothing that is understood."""
    try:
        if "hotfolder" in text:
            said = _ours(name, text["hotfolder"]).get("prompt")
        else:
            found = recipe_of(name, text)
            said = found.prompt if found is not None else None
    except PromptSyntax:
        return None
    return said.strip() or None if isinstance(said, str) else None


def _from_ours(name: str, text: str) -> PromptSpec:
    settings = _ours(name, text)
    asked = {key: settings[key] for key in _ASKED if settings.get(key) not in (None, "", {}, [])}
    if "sampler" in asked and (not isinstance(asked["sampler"], str) or sampler_called(asked["sampler"]) is None):
        del asked["sampler"]  # the model's own, which has no name
    known = {key: settings[key] for key in _PROOFS if isinstance(settings.get(key), str)}
    notes = tuple(f"it was drawn with {how}: with other settings it looks otherwise" for how in _faster(settings))
    return replace(exact_spec(name, settings.get("prompt"), asked), notes=notes, **known)


def _ours(name: str, text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError("it is no table")
    except (ValueError, RecursionError) as error:
        raise PromptSyntax(
            f"its settings cannot be read: {error}", "write a prompt file", at=Place(name)
        ) from None
    return settings


def _faster(settings: Mapping[str, object]) -> list[str]:
    """What changed the picture for speed, as it is set."""
    found = []
    if settings.get("compile"):
        found.append("executor.compile = true")
    if settings.get("attention"):
        found.append(f"generate.attention = {shown(settings['attention'])}")
    if settings.get("cache"):
        found.append(f"generate.cache = {shown(settings['cache'])} ({shown(settings.get('cache_threshold'))})")
    if settings.get("channels_last"):
        found.append("generate.channels_last = 'on'")
    return found
