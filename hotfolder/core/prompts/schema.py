"""The JSON Schema of prompt files in `.toml` and `.json`, and of the settings at the top of a `.txt`."""

from __future__ import annotations

from typing import Any

from hotfolder.core.prompts.fields import ALIASES, FIELDS

#: What each key may be, and what it means.
KEYS = {field.name: dict(field.schema) for field in FIELDS}


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
