"""Families of generators, as data: what neither a pipeline's files nor the signature of its call tell.

A family is one entry of `FAMILIES`; docs/families.md is made from them, and tests/engines/test_families.py runs each.
Defaults are those of the makers' examples: the model cards of stable-diffusion-v1-5/stable-diffusion-v1-5,
stabilityai/stable-diffusion-xl-base-1.0, black-forest-labs/FLUX.1-dev and so on (`source`). The rest is what the code
of diffusers 0.42 does with its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Guidance(StrEnum):
    """What the guidance does."""

    CFG = "cfg"  # weighs the prompt against the negative one, above `off`
    EMBEDDED = "embedded"  # the network takes it as a number; there is nothing to weigh against
    NONE = "none"  # nothing


class Together(StrEnum):
    """Which prompts of one shape may be drawn together, so that each comes out as it does alone."""

    ANY = "any"
    EQUAL_LENGTH = "equal length"  # those with equally many tokens
    ALONE = "alone"  # none


class Picture(StrEnum):
    """What becomes of an init-image."""

    START = "start"  # it is drawn over, as much as `strength` says
    REFERENCE = "reference"  # it is looked at; what is drawn begins from noise, and there is no strength
    NO = "no"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a file of a pipeline folder says in families that share a class with others."""

    file: str
    key: str
    value: Any  # ... for anything that is not null

    def is_on(self, config: Mapping[str, Any]) -> bool:
        found = config.get(self.key)
        return found is not None if self.value is ... else found == self.value


@dataclass(frozen=True, slots=True)
class Family:
    """How a kind of pipeline wants to be asked. Sizes are in pixels, `max_sequence_length` in tokens."""

    name: str
    title: str
    pipeline: str  # the class of diffusers
    source: str  # where the defaults are from
    defaults: Mapping[str, Any] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()  # all of them, or it is another family of this class
    called: str = ""  # what the folder's name holds, where no file tells
    guidance: Guidance = Guidance.CFG
    argument: str = "guidance_scale"  # where the guidance goes
    off: float = 1.0  # CFG is on above it
    negative: bool = True  # whether it takes a negative prompt
    no_negative: str | None = None  # goes in the place of a missing one: without any, CFG would stay off
    grid: int = 16  # both sides are multiples of it
    bins: bool = False  # draws the nearest size that it was trained at, and resizes
    fixed_area: bool = False  # draws about its default number of pixels, whatever is asked
    fixed_steps: bool = False  # draws in its default number of steps, whatever is asked
    together: Together = Together.ANY
    samplers: bool = False  # whether others than its own may be used
    picture: Picture = Picture.NO
    from_picture: str | None = None  # the class that begins from a picture; None for the same
    forced: Mapping[str, Any] = field(default_factory=dict)  # arguments that are always these
    lora: bool = True
    reads_weights: bool = False  # with CLIP alone, so that (red:1.4) can be done; others read plain language
    whole_files: bool = False  # its single files hold all parts, not the denoiser alone
    tokenizer: str = "tokenizer"  # the one that reads the whole prompt
    template: int = 0  # tokens of `max_sequence_length` that are not the prompt's
    package: str | None = None  # what has to be installed beside diffusers

    def is_guided(self, guidance: float | None) -> bool:
        """Whether a negative prompt has an effect with this guidance; None is one that is not known."""
        return self.guidance is Guidance.CFG and self.negative and (guidance is None or guidance > self.off)

    def from_plain_cfg(self, cfg: float) -> float:
        """The guidance that draws as another program does with this CFG scale, which is off at 1.

        Two families weigh the difference of both prompts on top of the prompt (`off` is 0), the others the other way
        round: the same picture, and a number that is less by one. A model that is told its guidance takes it as it is.
        """
        return cfg if self.guidance is Guidance.EMBEDDED else cfg - 1 + self.off

    def near(self, side: int) -> int:
        """The nearest side that it draws."""
        return max(self.grid, round(side / self.grid) * self.grid)

    def takes_guidance(self, guidance: float) -> bool:
        """Whether this number does what it says; one that means 'off' always does."""
        return self.guidance is not Guidance.NONE or guidance in (0, self.off)


def _size(side: int, steps: int, guidance: float, length: int | None = None) -> Mapping[str, Any]:
    plain = {"steps": steps, "guidance": guidance, "width": side, "height": side}
    return plain if length is None else {**plain, "max_sequence_length": length}


_INDEX, _SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"
_DISTILLED = Mark(_INDEX, "is_distilled", True)
_EVERY = (
    Family(
        "sd15", "Stable Diffusion 1.5", "StableDiffusionPipeline", "stable-diffusion-v1-5/stable-diffusion-v1-5",
        _size(512, 30, 7.5), grid=8, samplers=True, picture=Picture.START,
        from_picture="StableDiffusionImg2ImgPipeline", reads_weights=True, whole_files=True,
    ),
    Family(
        "sdxl", "SDXL", "StableDiffusionXLPipeline", "stabilityai/stable-diffusion-xl-base-1.0",
        _size(1024, 30, 5.0), grid=8, samplers=True, picture=Picture.START,
        from_picture="StableDiffusionXLImg2ImgPipeline", reads_weights=True, whole_files=True,
    ),
    Family(
        "flux", "FLUX.1", "FluxPipeline", "black-forest-labs/FLUX.1-dev", _size(1024, 28, 3.5, 512),
        (Mark("transformer/config.json", "guidance_embeds", True),), guidance=Guidance.EMBEDDED, negative=False,
        picture=Picture.START, from_picture="FluxImg2ImgPipeline", tokenizer="tokenizer_2",
    ),
    Family(
        "flux-schnell", "FLUX.1", "FluxPipeline", "black-forest-labs/FLUX.1-schnell", _size(1024, 4, 0.0, 256),
        guidance=Guidance.NONE, negative=False, picture=Picture.START, from_picture="FluxImg2ImgPipeline",
        tokenizer="tokenizer_2",
    ),
    Family(
        "z-image-turbo", "Z-Image-Turbo", "ZImagePipeline", "Tongyi-MAI/Z-Image-Turbo", _size(1024, 9, 0.0, 512),
        (Mark(_SCHEDULER, "shift", 3.0),), off=0.0, picture=Picture.START, from_picture="ZImageImg2ImgPipeline",
        template=8,
    ),
    Family(
        "z-image", "Z-Image", "ZImagePipeline", "Tongyi-MAI/Z-Image", _size(1024, 50, 4.0, 512), off=0.0,
        picture=Picture.START, from_picture="ZImageImg2ImgPipeline", template=8,
    ),
    Family(
        "flux2-klein", "FLUX.2 [klein]", "Flux2KleinPipeline", "black-forest-labs/FLUX.2-klein-4B",
        _size(1024, 4, 1.0, 512), (_DISTILLED,), guidance=Guidance.NONE, negative=False,
        picture=Picture.REFERENCE, template=12,
    ),
    Family(
        "flux2-klein-base", "FLUX.2 [klein] base", "Flux2KleinPipeline",
        "black-forest-labs/FLUX.2-klein-base-4B", _size(1024, 50, 4.0, 512), negative=False,
        picture=Picture.REFERENCE, template=12,
    ),
    Family(
        "flux2-dev", "FLUX.2 [dev]", "Flux2Pipeline", "black-forest-labs/FLUX.2-dev", _size(1024, 50, 4.0, 512),
        guidance=Guidance.EMBEDDED, negative=False, picture=Picture.REFERENCE, template=40,
    ),
    Family(
        "qwen-image", "Qwen-Image", "QwenImagePipeline", "Qwen/Qwen-Image-2512", _size(1328, 50, 4.0, 512),
        argument="true_cfg_scale", no_negative=" ", picture=Picture.START, from_picture="QwenImageImg2ImgPipeline",
        template=5,
    ),
    Family(
        "qwen-image-2.1-turbo", "Qwen-Image-2.1-Turbo", "QwenImage21Pipeline", "Qwen/Qwen-Image-2.1-Turbo",
        _size(1024, 8, 1.0), (Mark(_INDEX, "sample_sigmas", ...),), argument="true_cfg_scale", no_negative=" ",
        grid=32, together=Together.EQUAL_LENGTH, picture=Picture.REFERENCE, tokenizer="processor",
        fixed_steps=True,
    ),
    Family(
        "qwen-image-2.1", "Qwen-Image-2.1", "QwenImage21Pipeline", "Qwen/Qwen-Image-2.1", _size(1024, 40, 1.0),
        argument="true_cfg_scale", no_negative=" ", grid=32, together=Together.EQUAL_LENGTH,
        picture=Picture.REFERENCE, tokenizer="processor",
    ),
    Family(
        "chroma", "Chroma", "ChromaPipeline", "lodestones/Chroma1-HD", _size(1024, 40, 3.0, 512),
        picture=Picture.START, from_picture="ChromaImg2ImgPipeline",
    ),
    Family(
        "sd35-turbo", "Stable Diffusion 3.5 Turbo", "StableDiffusion3Pipeline",
        "stabilityai/stable-diffusion-3.5-large-turbo", _size(1024, 4, 0.0, 256), called="turbo",
        picture=Picture.START, from_picture="StableDiffusion3Img2ImgPipeline", tokenizer="tokenizer_3",
    ),
    Family(
        "sd35-medium", "Stable Diffusion 3.5 Medium", "StableDiffusion3Pipeline",
        "stabilityai/stable-diffusion-3.5-medium", _size(1024, 40, 4.5, 256),
        (Mark("transformer/config.json", "num_layers", 24),), picture=Picture.START,
        from_picture="StableDiffusion3Img2ImgPipeline", tokenizer="tokenizer_3",
    ),
    Family(
        "sd35", "Stable Diffusion 3.5", "StableDiffusion3Pipeline", "stabilityai/stable-diffusion-3.5-large",
        _size(1024, 28, 3.5, 256), picture=Picture.START, from_picture="StableDiffusion3Img2ImgPipeline",
        tokenizer="tokenizer_3",
    ),
    Family(
        "sana", "Sana", "SanaPipeline", "Efficient-Large-Model/Sana_1600M_1024px_diffusers",
        _size(1024, 20, 4.5, 300), grid=32, bins=True, forced={"clean_caption": False},
    ),
    Family(
        "sana-sprint", "Sana-Sprint", "SanaSprintPipeline", "Efficient-Large-Model/Sana_Sprint_1.6B_1024px",
        {**_size(1024, 2, 4.5, 300), "strength": 0.5}, guidance=Guidance.EMBEDDED, negative=False, grid=32, bins=True,
        picture=Picture.START, from_picture="SanaSprintImg2ImgPipeline", forced={"clean_caption": False},
    ),
    Family(
        "lumina2", "Lumina 2", "Lumina2Pipeline", "Alpha-VLLM/Lumina-Image-2.0", _size(1024, 50, 4.0, 256),
        forced={"cfg_trunc_ratio": 0.25},
    ),
    Family(
        "krea2-turbo", "Krea 2 Turbo", "Krea2Pipeline", "krea/Krea-2-Turbo", _size(1024, 8, 0.0, 512),
        (_DISTILLED,), off=0.0,
    ),
    Family("krea2", "Krea 2", "Krea2Pipeline", "krea/Krea-2-Raw", _size(1024, 52, 3.5, 512), off=0.0),
    Family(
        "ernie-image-turbo", "ERNIE-Image-Turbo", "ErnieImagePipeline", "baidu/ERNIE-Image-Turbo",
        _size(1024, 8, 1.0), (Mark(_SCHEDULER, "shift", 1.0),), forced={"use_pe": False},
    ),
    Family(
        "ernie-image", "ERNIE-Image", "ErnieImagePipeline", "baidu/ERNIE-Image", _size(1024, 50, 4.0),
        forced={"use_pe": False},
    ),
    Family(
        "hidream-fast", "HiDream-I1 Fast", "HiDreamImagePipeline", "HiDream-ai/HiDream-I1-Fast",
        _size(1024, 16, 0.0, 128), called="fast", fixed_area=True, tokenizer="tokenizer_4",
    ),
    Family(
        "hidream-dev", "HiDream-I1 Dev", "HiDreamImagePipeline", "HiDream-ai/HiDream-I1-Dev",
        _size(1024, 28, 0.0, 128), called="dev", fixed_area=True, tokenizer="tokenizer_4",
    ),
    Family(
        "hidream", "HiDream-I1", "HiDreamImagePipeline", "HiDream-ai/HiDream-I1-Full", _size(1024, 50, 5.0, 128),
        fixed_area=True, tokenizer="tokenizer_4",
    ),
    Family(
        "pixart-sigma", "PixArt-Sigma", "PixArtSigmaPipeline", "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
        _size(1024, 20, 4.5, 300), bins=True, samplers=True, lora=False, forced={"clean_caption": False},
    ),
    Family(
        "kolors", "Kolors", "KolorsPipeline", "Kwai-Kolors/Kolors-diffusers", _size(1024, 25, 6.5, 256), grid=8,
        samplers=True, picture=Picture.START, from_picture="KolorsImg2ImgPipeline", package="sentencepiece",
    ),
)  # fmt: skip
FAMILIES: Mapping[str, Family] = {family.name: family for family in _EVERY}
#: Of a pipeline that no entry is for: what the signature of its call has is used, and nothing is drawn together.
UNKNOWN = Family("", "", "", "", grid=8, together=Together.ALONE, samplers=True, picture=Picture.START)


def family_called(name: str) -> Family:
    """The family of this name; UNKNOWN where there is none."""
    return FAMILIES.get(name, UNKNOWN)


def family_with(pipeline: str, read: Callable[[str], Mapping[str, Any]], folder: str) -> Family | None:
    """That of a pipeline folder: by its class, by its files (`read` gives what one says), and by its name."""
    for family in _EVERY:
        if (
            family.pipeline == pipeline
            and family.called in folder.lower()
            and all(mark.is_on(read(mark.file)) for mark in family.marks)
        ):
            return family
    return None
