"""Draw Things: JSON as the UserComment of XMP, in PNG; of EXIF, in JPEG."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hotfolder.core.prompts.foreign.settings import table_in, unknown
from hotfolder.core.prompts.recipe import Gap, Recipe, named

PROGRAM = "Draw Things"
_KNOWN = {
    "c", "uc", "seed", "seed_mode", "steps", "scale", "sampler", "size", "model", "strength", "lora", "v2", "version",
    "guidance", "aesthetic_score", "negative_aesthetic_score", "original_size", "target_size", "crop_top_left",
    "negative_original_size", "shift", "mask_blur", "mask_blur_outset", "preserve_original_after_inpaint",
    "profile", "clip_skip",
}  # fmt: skip
#: Of its whole configuration, 'v2': what would change the picture, and the value with which it does not.
_OF_V2 = {
    "hiresFix": False, "refinerModel": None, "upscaler": None, "faceRestoration": None, "controls": None,
    "clipSkip": 1, "zeroNegativePrompt": False, "sharpness": 0, "batchSize": 1,
}  # fmt: skip
#: It keeps models in formats of its own, and says so in their names.
_FORMAT = re.compile(r"_(?:f16|f32|q\dp|i8x)(?:_(?:q\dp|i8x))*$")


def settings_in(text: Mapping[str, str]) -> Any:
    for key in ("xmp_comment", "comment"):
        told = table_in(text.get(key))
        if told is not None and isinstance(told.get("c"), str) and "sampler" in told:
            return told
    return None


def read(told: dict[str, Any]) -> Recipe:
    gaps = list(unknown(told, _KNOWN))
    found = told.get("v2")
    whole: dict[str, Any] = found if isinstance(found, dict) else {}
    gaps += [Gap(f"'{key}'") for key, usual in _OF_V2.items() if whole.get(key) not in (None, "", 0, [], usual)]
    if told.get("clip_skip") not in (None, 0, 1):
        gaps.append(Gap("'clip_skip'"))
    if told.get("strength", 1) != 1:
        gaps.append(Gap("a 'strength' below 1", "drawn from words alone"))
    size = re.fullmatch(r"(\d+)x(\d+)", str(told.get("size", "")))
    sampler = str(told.get("sampler") or "")
    return Recipe(
        PROGRAM,
        told["c"],
        {
            "negative_prompt": told.get("uc"), "seed": told.get("seed"), "steps": told.get("steps"),
            "guidance": told.get("scale"), "sampler": {"Euler Ancestral": "Euler a"}.get(sampler, sampler),
            "width": size and size[1], "height": size and size[2], "model": _model(told.get("model")),
            "lora": _loras(told.get("lora") or whole.get("loras") or ()),
        },
        tuple(gaps),
    )  # fmt: skip


def _model(file: Any) -> str:
    return _FORMAT.sub("", named(str(file or "")))


def _loras(listed: Any) -> dict[str, Any]:
    """By the file, whatever its key is called."""
    return {_model(each.get("model") or each.get("file") or each["name"]): each["weight"] for each in listed}
