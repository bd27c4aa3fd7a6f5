"""The classes of diffusers that draw: from words alone, and from a picture.

A class that is asked for by its name brings its own module alone. The automatic mapping of diffusers imports every
pipeline that there is, which takes as long as everything else together: only for what is not known here is it asked.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers

from hotfolder.core.families import FAMILIES, Family
from hotfolder.engines.imports import without_collection
from hotfolder.errors import BadInput, DeviceTrouble, UsageError

_KNOWN = {family.pipeline: family for family in FAMILIES.values()}


def pipeline_class(name: object) -> Any:
    """What reads a pipeline folder whose `_class_name` this is, and draws from words: a class of diffusers.

    Raises UsageError for one that cannot draw from words, or needs code that diffusers does not have; DeviceTrouble
    where a package is missing.
    """
    with without_collection():
        if not isinstance(name, str) or not hasattr(diffusers, name):
            raise UsageError(
                f"the pipeline {name} is not one of diffusers: it needs code of its own, which is not run",
                "use a model whose model_index.json names a class of diffusers, or update diffusers",
            )
        known = _KNOWN.get(name)
        found = getattr(diffusers, name)
        if lacking := [package for package in _lacking(found) if package not in ("torch", "transformers")]:
            package = known.package if known and known.package else lacking[0]
            raise DeviceTrouble(
                f"{name} needs the package {package}, which is not installed", f"uv pip install {package}"
            )
        if known is None:
            # A folder may name the class of another task, such as inpainting, with the same parts.
            from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING, _get_task_class

            found = _get_task_class(AUTO_TEXT2IMAGE_PIPELINES_MAPPING, name, False) or found
            taken = inspect.signature(found.__call__).parameters
            if "prompt" not in taken or "num_frames" in taken or "audio_end_in_s" in taken:
                raise UsageError(f"{name} does not draw pictures from words", "use a text-to-image model")
        return found


def _lacking(found: Any) -> list[str]:
    """diffusers puts a stand-in, which has these names alone, where a package is missing."""
    return list(found._backends) if type(found).__name__ == "DummyObject" else []


def check_no_code(folder: Path, index: Mapping[str, Any]) -> None:
    """Raises UsageError for a folder some part of which is code that lies in it."""
    for part, named in index.items():
        library = named[0] if isinstance(named, list) and named else None
        if isinstance(library, str) and (folder / part / f"{library.rpartition('.')[2]}.py").is_file():
            raise UsageError(
                f"the {part} of {folder} is code that lies beside it, which is not run",
                "use a model whose parts are of diffusers and transformers",
            )


def from_picture(pipeline: Any, family: Family) -> Any:
    """A pipeline of the same parts that begins from a picture. Raises BadInput where diffusers has none."""
    with without_collection():
        if family.from_picture is None:
            try:
                return diffusers.AutoPipelineForImage2Image.from_pipe(pipeline)
            except ValueError:
                raise BadInput(
                    f"{type(pipeline).__name__} cannot begin from a picture", "leave the init-image out"
                ) from None
        found = getattr(diffusers, family.from_picture)
    # Not by its `from_pipe`: that would also cast the parts, which both pipelines share.
    config = pipeline.config
    known = {**config, **{name.removeprefix("_"): config[name] for name in config}, **pipeline.components}
    return found(**{name: known[name] for name in inspect.signature(found).parameters if name in known})
