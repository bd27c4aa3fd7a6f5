"""What a prompt asks for and cannot have, let go: where that is allowed, and never without a note."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hotfolder.core.prompts.tags import embeddings_in, with_embeddings
from hotfolder.errors import HotfolderError, PromptSyntax
from hotfolder.types import PromptSpec

#: What a model may have no use for, and how it is called.
_OPTIONAL = {"sampler": "sampler", "negative_prompt": "negative prompt", "guidance": "guidance"}
#: The only sampler of models that have one: asked for by its name, it is no other.
_THE_ONE = "Euler"


class Lookup:
    """How what a prompt names is looked for: each raises HotfolderError for what is not there."""

    def __init__(
        self,
        model: Callable[[str | None], object],
        lora: Callable[[str], object],
        embedding: Callable[[str], object],
        image: Callable[[str], object],
    ) -> None:
        self.model, self.lora, self.embedding, self.image = model, lora, embedding, image


def with_what_is_here(spec: PromptSpec, lookup: Lookup, configured: str) -> PromptSpec:
    """The prompt of another picture without what it names and is not on this machine, each with a note.

    The model `configured` takes the place of one that is not here, or is not the one that it was. Nothing else of
    the prompt changes.
    """
    notes = list(spec.notes)
    if spec.model is not None and (why := _refusal(lookup.model, spec.model)):
        notes.append(f"{why}: {configured} is taken")
        spec = replace(spec, model=None, model_sha256=None)
    elif spec.model is None:
        notes.append(f"it does not say with which model: {configured} is taken")
        spec = replace(spec, model_sha256=None)
    elif spec.model_sha256 is not None:
        notes.append(f"{spec.model} is taken by its name: that it is the same file is not checked")
        spec = replace(spec, model_sha256=None)
    loras = []
    for name, weight in spec.lora:
        if why := _refusal(lookup.lora, name):
            notes.append(f"{why}: left out")
        else:
            loras.append((name, weight))
    texts: dict[str, Any] = {}
    for key in ("prompt", "negative_prompt"):
        text = getattr(spec, key) or ""
        gone = {name: why for name in embeddings_in(text) if (why := _refusal(lookup.embedding, name))}
        notes += [f"{why}: its name is read as words" for why in gone.values()]
        texts[key] = with_embeddings(text, lambda n, gone=gone: n if n in gone else f"<embedding:{n}>")  # type: ignore[misc]
    if spec.init_image is not None and (why := _refusal(lookup.image, spec.init_image)):
        notes.append(f"{why}: drawn from words alone")
        spec = replace(spec, init_image=None, strength=None, init_image_sha256=None)
    return replace(spec, lora=tuple(loras), notes=tuple(dict.fromkeys(notes)), **texts)


def _refusal(look: Callable[[Any], object], name: str) -> str:
    try:
        look(name)
    except HotfolderError as error:
        return error.message
    return ""


def without_unused(spec: PromptSpec, check: Callable[[PromptSpec], object], *, note: bool) -> PromptSpec:
    """The prompt without options that `check` raises PromptSyntax for, with a note of each; or that error.

    Without `note` each is an error, but for a sampler of a picture that is the model's only one. Which option the
    error is about is found by leaving each out.
    """
    while True:  # each time one of _OPTIONAL goes, or the error is raised
        try:
            check(spec)
        except PromptSyntax as error:
            key = next((key for key in _OPTIONAL if getattr(spec, key) and _mends(spec, key, check, error)), None)
            is_the_one = key == "sampler" and spec.exact and spec.sampler == _THE_ONE
            if key is None or not (note or is_the_one):
                raise
            notes = spec.notes
            if not is_the_one:
                notes += (f"its {_OPTIONAL[key]} ({str(getattr(spec, key))[:60]}) has no use here: left out",)
            spec = replace(spec, notes=notes, **_without(key))
        else:
            return spec


def _mends(spec: PromptSpec, key: str, check: Callable[[PromptSpec], object], error: PromptSyntax) -> bool:
    try:
        check(replace(spec, **_without(key)))
    except PromptSyntax as another:
        return another.message != error.message
    return True


def _without(key: str) -> dict[str, Any]:
    return {key: "" if key == "negative_prompt" else None}
