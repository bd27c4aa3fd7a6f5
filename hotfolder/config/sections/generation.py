"""[generate]: how images are drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from hotfolder.config.sections.base import Section
from hotfolder.core.samplers import SAMPLERS, sampler_called

Side = Annotated[int, Field(ge=8, le=8192, multiple_of=8)]


class GenerateSettings(Section):
    """What is used where a prompt file does not say. Without a value here, the model's own default."""

    model: str = Field("shapes", min_length=1, description="A name from the registry, or the path of a folder.")
    negative_prompt: str = Field("", description="Used where a prompt has none of its own.")
    steps: int | None = Field(None, ge=1, le=1000, description="Sampling steps.")
    guidance: float | None = Field(None, ge=0, le=100, description="Classifier-free guidance scale.")
    width: Side | None = Field(None, description="Pixels, a multiple of 8.")
    height: Side | None = Field(None, description="Pixels, a multiple of 8.")
    sampler: str | None = Field(
        None,
        description="As the Stable Diffusion web UI calls it, such as DPM++ 2M Karras. FLUX.1 has its own only.",
    )
    format: Literal["png", "webp", "jpeg"] = Field(
        "png", description="png, webp (lossless) or jpeg. Each says inside how it was made."
    )
    batch_size: int = Field(
        4,
        ge=1,
        le=256,
        description="Prompts of one model and shape that are drawn together, at most; fewer when memory runs out.",
    )
    memory: Literal["auto", "full", "tiled", "offload", "fp8", "int8", "nf4", "group"] = Field(
        "auto",
        description="How a model fits into memory, from fast to frugal: full, tiled (pictures decoded in tiles), "
        "offload (text encoders and denoiser are on the GPU one after the other), fp8 (the denoiser in 8 bits, too), "
        "int8 (text encoders, too), nf4 (both in 4 bits; int8 and nf4 need the extra 'nf4'), group (weights as they "
        "are, one layer at a time on the GPU). auto: by what is free, and one further whenever it runs out.",
    )
    attention: Literal["native", "cudnn", "flash", "flash-3", "sage"] = Field(
        "native",
        description="What reckons attention in diffusion transformers. cudnn, flash (the package flash-attn) and "
        "flash-3 round otherwise than native; sage (the package sageattention) does it in 8 bits. Recorded with the "
        "image. A model that this has no effect on is an error.",
    )
    cache: Literal["off", "first-block"] = Field(
        "off",
        description="first-block: a step whose first block changes little takes the rest from the step before. "
        "Faster with many steps, and another picture; images are then drawn one at a time. FLUX.1 and Qwen-Image.",
    )
    cache_threshold: float = Field(
        0.05, gt=0, le=1, description="How much the first block may change: more is faster, and further off."
    )
    channels_last: Literal["auto", "on", "off"] = Field(
        "auto",
        description="The order in which UNets and VAEs keep their values. auto: both are tried once for each device, "
        "model and shape, and the other one is taken where it is faster and pixels stay within a grey level. on: "
        "always, recorded with the image; an error where nothing has convolutions.",
    )
    unused_options: Literal["error", "ignore"] = Field(
        "error",
        description="A negative prompt, a sampler or a guidance that the model cannot use: error, or ignore, with a "
        "note in the image's row.",
    )
    adapt: bool = Field(
        False,
        description="Pictures of other programs, dropped to be generated again: what they were made with and is not "
        "done here becomes the nearest that is, with notes in the image's row, and not an error.",
    )
    init_folders: tuple[str, ...] = Field(
        (), description="Folders beside the root that prompt files may name init-images of."
    )

    @field_validator("sampler")
    @classmethod
    def _usual_spelling(cls, sampler: str | None) -> str | None:
        if sampler is None:
            return None
        found = sampler_called(sampler)
        if found is None:
            raise ValueError(f"should be one of {', '.join(SAMPLERS)}")
        return found
