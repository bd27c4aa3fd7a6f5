"""One table of the keys of a prompt: everything that knows their names reads them from here.

A new key is a row here, a field of PromptSpec, and its use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hotfolder.core.prompts.converters import (
    MAX_IMAGES,
    MAX_PRIORITY,
    MAX_SEED,
    loras,
    number,
    one_of,
    sampler,
    seed,
    seeds,
    side,
    text,
    upscale,
    whole,
    words,
)
from hotfolder.core.samplers import SAMPLERS


@dataclass(frozen=True, slots=True)
class Field:
    """A key of a prompt, in every syntax: a flag of a line, a key of TOML and JSON, an option of the command."""

    name: str
    convert: Callable[[Any], Any]  # raises ValueError, saying what is wanted
    schema: Mapping[str, Any]  # of JSON Schema, draft 7
    aliases: tuple[str, ...] = ()  # what the Stable Diffusion web UI calls it
    in_batch_key: bool = False  # images that differ in it are not drawn together
    is_recorded: bool = False  # images say it of themselves, and it is asked for again
    alone: Any = None  # what the flag means without a value, where it may stand so
    again: bool = False  # the flag may be given several times


_SIDE = {"type": "integer", "minimum": 8, "maximum": 8192, "multipleOf": 8}
_SEED = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
FIELDS = (
    Field(
        "negative_prompt",
        text,
        {"type": "string", "description": "What should not be there."},
        aliases=("negative",),
        is_recorded=True,
    ),
    Field(
        "seed",
        seed,
        {
            "type": "integer",
            "minimum": -1,
            "maximum": MAX_SEED,
            "description": "Of the first image; -1 draws one.",
        },
        is_recorded=True,
    ),
    Field(
        "seeds",
        seeds,
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*\d+\s*(-\s*\d+\s*)?(,\s*\d+\s*(-\s*\d+\s*)?)*$"},
                {"type": "array", "items": {"anyOf": [_SEED, {"type": "string"}]}, "minItems": 1},
            ],
            "description": "Each seed by itself: 1,2,5-9.",
        },
    ),
    Field(
        "count",
        whole(1, MAX_IMAGES),
        {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_IMAGES,
            "description": "So many images, seeds in a row.",
        },
        aliases=("n_iter",),
    ),
    Field(
        "steps",
        whole(1, 1000),
        {"type": "integer", "minimum": 1, "maximum": 1000, "description": "Sampling steps."},
        in_batch_key=True,
        is_recorded=True,
    ),
    Field(
        "guidance",
        number(0, 100),
        {"type": "number", "minimum": 0, "maximum": 100, "description": "Guidance scale."},
        aliases=("cfg_scale",),
        in_batch_key=True,
        is_recorded=True,
    ),
    Field("width", side, {**_SIDE, "description": "Pixels."}, in_batch_key=True, is_recorded=True),
    Field("height", side, {**_SIDE, "description": "Pixels."}, in_batch_key=True, is_recorded=True),
    Field(
        "model",
        words,
        {"type": "string", "minLength": 1, "description": "A generator of the registry, or a folder's path."},
        aliases=("sd_model",),
        is_recorded=True,
    ),
    Field(
        "wildcards",
        one_of("sample", "all", "off"),
        {
            "enum": ["sample", "all", "off"],
            "description": "{a|b}, __list__ and <lora:…>: one for each seed, every combination, or as they stand.",
        },
    ),
    Field(
        "sampler",
        sampler,
        {"enum": list(SAMPLERS), "description": "What the Stable Diffusion web UI calls it."},
        aliases=("sampler_name",),
        in_batch_key=True,
        is_recorded=True,
    ),
    Field(
        "batch_size",
        whole(1, MAX_IMAGES),
        {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_IMAGES,
            "description": "Times count: so many images. How many are drawn at once is found by itself.",
        },
    ),
    Field(
        "lora",
        loras,
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}},
                {"type": "object", "additionalProperties": {"type": "number", "minimum": -10, "maximum": 10}},
            ],
            "description": "NAME:WEIGHT, a list of such, or a table of names and weights.",
        },
        aliases=("loras",),
        is_recorded=True,
        again=True,
    ),
    Field(
        "init_image",
        words,
        {"type": "string", "minLength": 1, "description": "A picture to begin from, below the root."},
        in_batch_key=True,
        is_recorded=True,
    ),
    Field(
        "strength",
        number(0.01, 1),
        {
            "type": "number",
            "minimum": 0.01,
            "maximum": 1,
            "description": "How much of the init-image is drawn anew.",
        },
        in_batch_key=True,
        is_recorded=True,
    ),
    Field(
        "best_of",
        whole(2, 1000),
        {"type": "integer", "minimum": 2, "maximum": 1000, "description": "So many tries, seeds in a row."},
    ),
    Field(
        "keep",
        whole(1, 1000),
        {"type": "integer", "minimum": 1, "maximum": 1000, "description": "How many of best_of are kept; 1."},
    ),
    Field(
        "until_kept",
        whole(1, 1000),
        {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
            "description": "New seeds are drawn until so many were kept.",
        },
    ),
    Field(
        "at_most",
        whole(1, MAX_IMAGES),
        {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_IMAGES,
            "description": "Of until_kept: no more seeds than that; twelve times as many without it.",
        },
    ),
    Field(
        "upscale",
        upscale,
        {
            "anyOf": [{"type": "boolean"}, {"type": "number", "minimum": 1, "maximum": 16}],
            "description": "What is kept is enlarged whatever its score (to this scale), or never.",
        },
        alone=True,
    ),
    Field(
        "priority",
        whole(0, MAX_PRIORITY),
        {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_PRIORITY,
            "description": "Above 0: before what waits with a lower one.",
        },
    ),
)
VALUES = {field.name: field.convert for field in FIELDS}
ALIASES = {alias: field.name for field in FIELDS for alias in field.aliases}
#: Flags that may stand without a value, and what they mean then; flags that may be given again.
ALONE = {field.name: field.alone for field in FIELDS if field.alone is not None}
AGAIN = frozenset(field.name for field in FIELDS if field.again)
