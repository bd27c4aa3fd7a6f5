"""Fooocus: its own layout, JSON; the other that it knows is the web UI's (modules/meta_parser.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hotfolder.core.prompts.foreign.settings import says_nothing, table_in, unknown, with_schedule
from hotfolder.core.prompts.recipe import Gap, Recipe, named

PROGRAM = "Fooocus"
_KNOWN = {
    "prompt", "negative_prompt", "seed", "steps", "guidance_scale", "sampler", "scheduler", "resolution",
    "base_model", "base_model_hash", "version", "created_by", "metadata_scheme", "performance", "full_prompt",
    "full_negative_prompt", "refiner_switch", "vae", "clip_skip", "loras", "styles",
}  # fmt: skip
_LORA = re.compile(r"lora_combined_\d+")
#: Values with which they do nothing.
_NOTHING = {"vae": ("Default (model)",), "clip_skip": (1, "1"), "performance": ("Speed", "Quality")}


def settings_in(text: Mapping[str, str]) -> Any:
    told = table_in(text.get("parameters")) or table_in(text.get("comment"))
    if told is not None and ("base_model" in told or str(told.get("version", "")).startswith(PROGRAM)):
        return told
    return "they are not in its layout" if text.get("fooocus_scheme") == "fooocus" else None


def read(told: dict[str, Any]) -> Recipe:
    gaps = list(unknown({key: value for key, value in told.items() if not _LORA.fullmatch(key)}, _KNOWN))
    gaps += [
        Gap(f"'{key}'")
        for key, nothing in _NOTHING.items()
        if not says_nothing(told.get(key)) and told[key] not in nothing
    ]
    texts = {}
    for key in ("prompt", "negative_prompt"):
        texts[key], full = told.get(key), told.get(f"full_{key}")
        if not says_nothing(full) and full not in (texts[key], [texts[key]]):
            # What its styles made of the prompt: each of these was read by itself.
            gaps.append(Gap(f"styles ('full_{key}')", "what they made of it, as one prompt"))
            listed = full if isinstance(full, list) else [full]
            texts[key] = ", ".join(dict.fromkeys(map(str, listed)))
    size = re.fullmatch(r"\((\d+), (\d+)\)", str(told.get("resolution", "")))
    return Recipe(
        PROGRAM,
        texts["prompt"],
        {
            "negative_prompt": texts["negative_prompt"], "seed": told.get("seed"), "steps": told.get("steps"),
            "guidance": told.get("guidance_scale"),
            "sampler": with_schedule(told.get("sampler"), told.get("scheduler")),
            "width": size and size[1], "height": size and size[2], "model": named(told.get("base_model") or ""),
            "lora": _loras(told),
        },
        tuple(gaps),
    )  # fmt: skip


def _loras(told: Mapping[str, Any]) -> dict[str, Any]:
    """'name : weight', or 'True : name : weight'; and a list of names, weights and hashes."""
    found: dict[str, Any] = {}
    for key, value in told.items():
        if _LORA.fullmatch(key):
            *before, name, weight = str(value).split(" : ")
            if name != "None" and before[:1] != ["False"]:
                found[named(name)] = weight
    for each in told.get("loras") or ():
        if each[0] != "None":
            found.setdefault(named(each[0]), each[1])
    return found
