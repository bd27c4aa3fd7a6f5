"""The JSON Schema of prompt files in `.toml` and `.json`, and of the settings at the top of a `.txt`."""

from __future__ import annotations

from typing import Any

from hotfolder.core.prompts.values import ALIASES, MAX_IMAGES, MAX_SEED
from hotfolder.core.samplers import SAMPLERS

_SIDE = {"type": "integer", "minimum": 8, "maximum": 8192, "multipleOf": 8}
_SEED = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
#: What each key may be, and what it means.
KEYS: dict[str, dict[str, Any]] = {
    "negative_prompt": {"type": "string", "description": "What should not be there."},
    "seed": {
        "type": "integer",
        "minimum": -1,
        "maximum": MAX_SEED,
        "description": "Of the first image; -1 draws one.",
    },
    "seeds": {
        "anyOf": [
            {"type": "string", "pattern": r"^\s*\d+\s*(-\s*\d+\s*)?(,\s*\d+\s*(-\s*\d+\s*)?)*$"},
            {"type": "array", "items": {"anyOf": [_SEED, {"type": "string"}]}, "minItems": 1},
        ],
        "description": "Each seed by itself: 1,2,5-9.",
    },
    "count": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_IMAGES,
        "description": "So many images, seeds in a row.",
    },
    "steps": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "Sampling steps."},
    "guidance": {"type": "number", "minimum": 0, "maximum": 100, "description": "Guidance scale."},
    "width": {**_SIDE, "description": "Pixels."},
    "height": {**_SIDE, "description": "Pixels."},
    "model": {"type": "string", "minLength": 1, "description": "A generator of the registry, or a folder's path."},
    "wildcards": {
        "enum": ["sample", "all", "off"],
        "description": "{a|b}, __list__ and <lora:…>: one for each seed, every combination, or as they stand.",
    },
    "sampler": {"enum": list(SAMPLERS), "description": "What the Stable Diffusion web UI calls it."},
    "batch_size": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_IMAGES,
        "description": "Times count: so many images. How many are drawn at once is found by itself.",
    },
    "lora": {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}},
            {"type": "object", "additionalProperties": {"type": "number", "minimum": -10, "maximum": 10}},
        ],
        "description": "NAME:WEIGHT, a list of such, or a table of names and weights.",
    },
    "init_image": {"type": "string", "minLength": 1, "description": "A picture to begin from, below the root."},
    "strength": {
        "type": "number",
        "minimum": 0.01,
        "maximum": 1,
        "description": "How much of the init-image is drawn anew.",
    },
    "best_of": {"type": "integer", "minimum": 2, "maximum": 1000, "description": "So many tries, seeds in a row."},
    "keep": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "How many of best_of are kept; 1."},
    "upscale": {
        "anyOf": [{"type": "boolean"}, {"type": "number", "minimum": 1, "maximum": 16}],
        "description": "What is kept is enlarged whatever its score (to this scale), or never.",
    },
}


def schema() -> dict[str, Any]:
    """Draft 7."""
    prompt = {"type": "string", "minLength": 1, "description": "What is to be drawn."}
    keys = {**KEYS, **{alias: KEYS[key] for alias, key in ALIASES.items()}}
    reference = {"type": "string", "description": "The address of this schema."}
    entries = {"type": "array", "minItems": 1, "items": {"anyOf": [prompt, {"$ref": "#/definitions/prompt"}]}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "prompts for hotfolder",
        "definitions": {"prompt": _table({"prompt": prompt, **keys}, "prompt")},
        "anyOf": [
            _table({"$schema": reference, "prompt": prompt, **keys}, "prompt"),
            _table({"$schema": reference, "prompts": entries, **keys}, "prompts"),
            entries,
        ],
    }


def _table(properties: dict[str, Any], required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [required], "additionalProperties": False}
