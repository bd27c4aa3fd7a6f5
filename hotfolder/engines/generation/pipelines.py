"""The classes of diffusers that draw: from words alone, and from a picture.

A class that is asked for by its name brings its own module alone. The automatic mapping of diffusers imports every
pipeline that there is, which takes as long as everything else together: only for what is not known here is it asked.
"""

from __future__ import annotations

import inspect
from typing import Any

import diffusers

from hotfolder.engines.imports import without_collection

#: What draws from words -> what draws from a picture with the same parts.
_FROM_PICTURE = {
    "StableDiffusionPipeline": "StableDiffusionImg2ImgPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLImg2ImgPipeline",
    "FluxPipeline": "FluxImg2ImgPipeline",
}


def pipeline_class(name: object) -> Any:
    """What reads a pipeline folder whose `_class_name` this is, and draws from words: a class of diffusers.

    Raises ValueError, when it reads a folder, for a pipeline that cannot draw from words.
    """
    with without_collection():
        return getattr(diffusers, str(name) if name in _FROM_PICTURE else "AutoPipelineForText2Image")


def from_picture(pipeline: Any) -> Any:
    """A pipeline of the same parts that begins from a picture. Raises ValueError where diffusers has none."""
    twin = _FROM_PICTURE.get(type(pipeline).__name__)
    with without_collection():
        found = getattr(diffusers, twin or "AutoPipelineForImage2Image")
    if twin is None:
        return found.from_pipe(pipeline)
    # Not by its `from_pipe`: that would also cast the parts, which both pipelines share.
    config = pipeline.config
    known = {**config, **{name.removeprefix("_"): config[name] for name in config}, **pipeline.components}
    return found(**{name: known[name] for name in inspect.signature(found).parameters if name in known})
