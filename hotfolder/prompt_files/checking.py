"""Whether what a prompt asks for can be had: its model, its LoRA, its init-image. Before any device is touched."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hotfolder.config.settings import Settings
from hotfolder.core.families import Guidance, Picture, family_called
from hotfolder.core.prompts.emphasis import editing_in
from hotfolder.core.prompts.tags import embeddings_in
from hotfolder.errors import (
    MOST_MISTAKES,
    HotfolderError,
    ModelDamaged,
    ModelMissing,
    PromptSyntax,
    UsageError,
    together,
)
from hotfolder.folders.layout import INBOX, Layout
from hotfolder.models.entry import slug
from hotfolder.models.registry import EMBEDDING, LORA, Catalogue, ModelSpec
from hotfolder.prompt_files.adapting import Lookup, with_what_is_here, without_unused
from hotfolder.types import Kind, Place, PromptSpec


class PromptCheck:
    """For the prompts of one dropped file, which may name nothing outside of the root and the folders for models.

    Without a `layout` they are a person's own at a command line, who may name any file.
    """

    def __init__(self, layout: Layout | None, catalogue: Catalogue, settings: Settings) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._settings = settings
        self._models: dict[str | None, ModelSpec | None] = {}
        self._added: set[tuple[str, str]] = set()
        self._images: dict[str, str] = {}

    def all_completed(self, specs: Iterable[tuple[Place, PromptSpec]]) -> list[PromptSpec]:
        """Each with its place, as `completed`. Raises PromptSyntax for all mistakes together."""
        found: list[PromptSpec] = []
        mistakes: list[PromptSyntax] = []
        for place, spec in specs:
            try:
                found.append(self.completed(place, spec))
            except PromptSyntax as error:
                mistakes.append(error)
                if len(mistakes) >= MOST_MISTAKES:
                    break
        if mistakes:
            raise together(mistakes)
        return found

    def completed(self, place: Place, spec: PromptSpec) -> PromptSpec:
        """The prompt with the configuration's defaults. Raises PromptSyntax, which tells its `place`."""
        defaults = self._settings.generate
        try:
            spec = self._adapted(self._known(spec))
            model = self._model(spec.model)
            family = family_called(model.family if model else "")
            for name, _ in spec.lora:
                self._added_file(name, LORA)
            for name in embeddings_in(f"{spec.prompt} {spec.negative_prompt or ''}"):
                if model is not None and not family.reads_weights:
                    raise UsageError(
                        f"{model.name} cannot use the textual inversion '{name}'",
                        "leave it out, or use a model of Stable Diffusion 1.5 or SDXL",
                    )
                self._added_file(name, EMBEDDING)
            image = self._image(spec.init_image) if spec.init_image is not None else None
        except HotfolderError as error:
            if self._layout is None and isinstance(error, ModelMissing):
                raise
            raise PromptSyntax(error.message, error.fix, at=place) from None
        if spec.is_plain_cfg:
            cfg = spec.guidance
            guidance = None if cfg is None else family.from_plain_cfg(cfg)
            spec = replace(spec, guidance=guidance, is_plain_cfg=False)
        if model is not None:
            spec = self._fitting(place, spec, model)
        if spec.exact:
            return replace(spec, init_image=image)
        whole = spec.init_image is None  # an init-image brings its own size
        usual = defaults.guidance if family.guidance is not Guidance.NONE else None
        guidance = usual if spec.guidance is None else spec.guidance
        unwanted = defaults.negative_prompt if _is_guided(guidance, model) else ""
        completed = replace(
            spec,
            init_image=image,
            negative_prompt=spec.negative_prompt or unwanted,
            steps=defaults.steps if spec.steps is None else spec.steps,
            guidance=guidance,
            width=defaults.width if spec.width is None and whole else spec.width,
            height=defaults.height if spec.height is None and whole else spec.height,
            sampler=defaults.sampler if spec.sampler is None and family.samplers else spec.sampler,
        )
        if model is not None:
            _check_size(place, completed, model)
        return completed

    def _adapted(self, spec: PromptSpec) -> PromptSpec:
        """That of a picture with what is here in the place of what is not, where the settings want it so."""
        if not spec.exact or not self._settings.generate.adapt:
            return spec
        lookup = Lookup(
            self._model,
            lambda name: self._added_file(name, LORA),
            lambda name: self._added_file(name, EMBEDDING),
            self._image,
        )
        return with_what_is_here(spec, lookup, self._settings.generate.model)

    def _fitting(self, place: Place, spec: PromptSpec, model: ModelSpec) -> PromptSpec:
        """Without what this model would leave out: an error, or a note. Raises PromptSyntax.

        A negative prompt that had no effect on a picture has none on the same picture.
        """
        generate = self._settings.generate
        usual = None if spec.exact else generate.guidance
        is_idle = spec.exact and not _is_guided(spec.guidance, model)

        def check(asked: PromptSpec) -> None:
            asked = replace(asked, negative_prompt="") if is_idle else asked
            _check_fits(place, asked, model, usual)

        note = generate.unused_options == "ignore" or (spec.exact and generate.adapt)
        return without_unused(spec, check, note=note)

    def _known(self, spec: PromptSpec) -> PromptSpec:
        """Another program calls a model by its file's name, or by its hash alone: the name that it has here."""
        if not spec.exact or (spec.model is not None and self._is_here(spec.model)):
            return spec
        digest = spec.model_sha256 or ""
        found = self._catalogue.named_by(digest, Kind.GENERATE) if len(digest) >= _TELLING else None
        linked = slug(spec.model) if spec.model and os.sep not in spec.model else None
        if found is None and linked is not None and self._catalogue.entry(linked) is not None:
            found = linked
        return replace(spec, model=found) if found else spec

    def _is_here(self, name: str) -> bool:
        try:
            self._model(name)
        except HotfolderError:
            return False
        return True

    def _model(self, name: str | None) -> ModelSpec | None:
        """None for the configured one when it is not here, or not whole: then its jobs wait for it."""
        if name not in self._models:
            if name is not None and self._layout is not None:
                self._catalogue.check_confined(name)
            try:
                self._models[name] = self._catalogue.resolve(name or self._settings.generate.model, Kind.GENERATE)
            except (ModelMissing, ModelDamaged):
                if name is not None:
                    raise
                self._models[name] = None
        return self._models[name]

    def _added_file(self, name: str, kind: str) -> None:
        if (name, kind) not in self._added:
            if self._layout is not None:
                self._catalogue.check_confined(name)
            self._catalogue.resolve(name, kind)
            self._added.add((name, kind))

    def _image(self, text: str) -> str:
        """Its path relative to the root, or absolute in one of the configured folders."""
        if text not in self._images:
            found = self._find_image(self._layout, text) if self._layout else os.path.abspath(text)  # noqa: PTH100
            if not os.path.isfile(os.path.join(self._layout.root, found) if self._layout else found):  # noqa: PTH113, PTH118
                begin = f"; paths begin at {self._layout.root}" if self._layout else ""
                raise UsageError(f"there is no init-image {text!r}", f"check the name{begin}")
            self._images[text] = found
        return self._images[text]

    def _find_image(self, layout: Layout, text: str) -> str:
        root = os.path.realpath(layout.root)
        real = os.path.realpath(layout.root / text) if text.isprintable() else ""
        below = real.startswith(root + os.sep)
        parts = Path(real).relative_to(root).parts if below else ()
        others = [os.path.realpath(os.path.expanduser(f)) for f in self._settings.generate.init_folders]  # noqa: PTH111
        if not (below or any(real.startswith(folder + os.sep) for folder in others)):
            raise UsageError(
                f"the init-image {text!r} is not below the root",
                "put it into a folder there, or add its folder to generate.init_folders",
            )
        if parts and (parts[0].startswith(".") or parts[0] == INBOX):
            raise UsageError(
                f"the init-image {text!r} lies where files come and go",
                "put it into a folder of your own in the root",
            )
        return os.path.join(*parts) if parts else real  # noqa: PTH118


def _is_guided(guidance: float | None, model: ModelSpec | None) -> bool:
    """Whether a negative prompt has any effect: the guidance is what weighs it against the prompt."""
    usual = model.defaults.get("guidance") if model else None
    return family_called(model.family if model else "").is_guided(usual if guidance is None else guidance)


def _check_fits(place: Place, spec: PromptSpec, model: ModelSpec, guidance: float | None) -> None:
    """What this model would take and leave out is an error."""
    family = family_called(model.family)
    kind = f"{model.name} is a {family.title} model"
    if spec.sampler and not family.samplers:
        raise PromptSyntax(f"{kind}, which has one sampler", "leave the sampler out", at=place)
    if spec.negative_prompt and not family.negative:
        raise PromptSyntax(f"{kind}, which takes no negative prompt", "leave the negative prompt out", at=place)
    if spec.guidance is not None and not family.takes_guidance(spec.guidance):
        raise PromptSyntax(f"{kind} of the sort that takes no guidance", "leave the guidance out", at=place)
    if spec.init_image is not None and family.picture is Picture.NO:
        raise PromptSyntax(f"{kind}, which cannot begin from a picture", "leave the init-image out", at=place)
    if spec.strength is not None and family.picture is Picture.REFERENCE:
        raise PromptSyntax(
            f"{kind}, which looks at the init-image and draws from noise: there is no strength",
            "leave the strength out",
            at=place,
        )
    editing = editing_in(spec.prompt) or editing_in(spec.negative_prompt) if family.reads_weights else None
    if editing:
        raise PromptSyntax(
            f"{editing[:60]} would change the prompt while the picture is drawn, which is not done here",
            "write \\[ for the bracket itself, or leave it out",
            at=place,
        )
    if spec.negative_prompt and not _is_guided(guidance if spec.guidance is None else spec.guidance, model):
        raise PromptSyntax(
            f"a negative prompt has no effect on {model.name} with a guidance of {family.off:g} or less",
            "leave it out, or raise the guidance",
            at=place,
        )


def _check_size(place: Place, spec: PromptSpec, model: ModelSpec) -> None:
    family = family_called(model.family)
    for what, side in (("width", spec.width), ("height", spec.height)):
        if side is not None and side % family.grid:
            raise PromptSyntax(
                f"{model.name} is a {family.title} model, whose {what} is a multiple of {family.grid}",
                f"use {family.near(side)}",
                at=place,
            )


#: Digits of a sha256 by which a model is looked for.
_TELLING = 10
