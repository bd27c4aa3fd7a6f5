"""InvokeAI: `invokeai_metadata` since version 3; `sd-metadata` of version 2.

The keys are those of invokeai/app/invocations/metadata.py (CoreMetadataInvocation) and, for version 2, of
ldm/invoke/server (the description of `sd-metadata` in its documentation).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hotfolder.core.prompts.foreign.settings import table_in, unknown, with_guidance, with_schedule
from hotfolder.core.prompts.recipe import Gap, Recipe, named

PROGRAM = "InvokeAI"
_KNOWN = {
    "generation_mode", "positive_prompt", "negative_prompt", "width", "height", "seed", "cfg_scale", "guidance",
    "steps", "scheduler", "model", "loras", "app_version", "rand_device", "created_by", "strength", "vae",
    "positive_style_prompt", "negative_style_prompt", "_canvas_objects",
}  # fmt: skip
#: Parts that newer models consist of.
_PARTS = {
    "t5_encoder", "clip_embed_model", "clip_l_embed_model", "clip_g_embed_model", "clip_l_model", "clip_g_model",
    "qwen3_encoder", "qwen_vl_encoder", "qwen3_encoder_model",
}  # fmt: skip
_OLD = {"prompt", "steps", "cfg_scale", "seed", "width", "height", "sampler", "type", "threshold", "perlin"}
#: Words made strong or weak as only its parser understands: (word)1.2, (word)++, word--, .and(), .blend(), .swap().
_ROUND = re.compile(r"\(([^()]*)\)(?:(\d+(?:\.\d+)?)|([+-]+))")
_WORD = re.compile(r"(?<![\w(])([\w']+)(\++|-{2,})(?=[\s,.;]|$)")
_CALL = re.compile(r"\.(?:and|blend|swap)\(")


def settings_in(text: Mapping[str, str]) -> Any:
    if (found := text.get("invokeai_metadata")) is not None:
        return table_in(found) or "no table"
    if (found := text.get("sd-metadata")) is not None:
        return table_in(found) or "no table"
    old = next((key for key in ("Dream", "invokeai_graph") if key in text), None)
    return None if old is None else f"those of an old version, '{old}'"


def read(told: dict[str, Any]) -> Recipe:
    if "image" in told or "model_weights" in told:
        return _read_old(told)
    mode = str(told.get("generation_mode") or "txt2img")
    is_flow = (
        "guidance" in told or any(key in told for key in _PARTS) or mode.startswith(("flux", "z_image", "sd3"))
    )
    gaps = [] if mode.endswith("txt2img") else [Gap(f"the mode '{mode[:40]}'", "drawn from words alone")]
    gaps += unknown(told, _KNOWN | _PARTS)
    if told.get("vae") and not is_flow:
        gaps.append(Gap("a VAE of its own", "the model's own"))
    for key, which in (("positive_style_prompt", "positive_prompt"), ("negative_style_prompt", "negative_prompt")):
        if told.get(key) and told[key] != told.get(which):
            gaps.append(Gap(f"a '{key}' for the second text encoder"))
    model = told.get("model") or {}
    texts = [_words(told.get(key), gaps) for key in ("positive_prompt", "negative_prompt")]
    guidance = with_guidance(told.get("cfg_scale"), told.get("guidance"), texts[1], "cfg_scale", gaps)
    return Recipe(
        PROGRAM,
        texts[0],
        {
            **guidance, "seed": told.get("seed"), "steps": told.get("steps"),
            "sampler": with_schedule(told.get("scheduler"), None, is_flow=is_flow), "width": told.get("width"),
            "height": told.get("height"), "model": named(model.get("name") or model.get("model_name") or ""),
            "lora": _loras(told.get("loras") or ()),
        },
        tuple(gaps),
    )  # fmt: skip


def _loras(listed: Any) -> dict[str, Any]:
    found = {}
    for each in listed:
        model = each.get("model") or each["lora"]
        found[named(model.get("name") or model["model_name"])] = each["weight"]
    return found


def _read_old(told: Mapping[str, Any]) -> Recipe:
    image = told["image"]
    gaps = list(unknown(image, _OLD))
    if (kind := image.get("type", "txt2img")) != "txt2img":
        gaps.append(Gap(f"the mode '{kind!s:.40}'", "drawn from words alone"))
    gaps += [Gap(f"'{key}'") for key in ("threshold", "perlin") if image.get(key)]
    prompt = image["prompt"]
    if isinstance(prompt, list):
        if len(prompt) > 1:
            gaps.append(Gap("several prompts put together", "the first one"))
        prompt = prompt[0]["prompt"]
    unwanted = re.findall(r"\[([^\[\]]*)\]", prompt)
    wanted = re.sub(r"\s*\[[^\[\]]*\]", "", prompt)
    texts = [_words(text, gaps) for text in (wanted, ", ".join(unwanted))]
    return Recipe(
        PROGRAM,
        texts[0],
        {
            "negative_prompt": texts[1], "seed": image.get("seed"), "steps": image.get("steps"),
            "guidance": image.get("cfg_scale"), "sampler": image.get("sampler"), "width": image.get("width"),
            "height": image.get("height"), "model": named(told.get("model_weights") or ""),
        },
        tuple(gaps),
    )  # fmt: skip


def _words(text: Any, gaps: list[Gap]) -> Any:
    """A prompt with its weights as they are written here, which adds up otherwise: a gap."""
    if not isinstance(text, str):
        return text
    if _CALL.search(text):
        gaps.append(Gap("prompts put together by .and(), .blend() or .swap()", "read as words"))
    written = _WORD.sub(lambda found: f"({found[1]}:{_weight(found[2])})", _ROUND.sub(_weighted, text))
    if written != text:
        gaps.append(Gap("words made strong or weak by + and -", "weights that are near"))
    return written


def _weighted(found: re.Match[str]) -> str:
    return f"({found[1]}:{found[2] or _weight(found[3])})"


def _weight(signs: str) -> str:
    """Each '+' is a tenth more, each '-' a tenth less."""
    return f"{(1.1 if signs[0] == '+' else 0.9) ** min(len(signs), 10):.3g}"
