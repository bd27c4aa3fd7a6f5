"""SwarmUI: `sui_image_params` (its documentation, 'Image Metadata Format'): numbers are often texts there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hotfolder.core.prompts.foreign.settings import table_in, unknown, with_guidance, with_schedule
from hotfolder.core.prompts.recipe import Gap, Recipe, named
from hotfolder.core.prompts.tags import take_loras

PROGRAM = "SwarmUI"
_KNOWN = {
    "prompt", "negativeprompt", "model", "seed", "steps", "cfgscale", "width", "height", "aspectratio", "sampler",
    "scheduler", "loras", "loraweights", "loratencweights", "automaticvae", "images", "batchsize", "sidelength",
    "original_prompt", "original_negativeprompt", "fluxguidancescale", "vae", "clipstopatlayer",
    # What no pixel depends on.
    "swarm_version", "date", "generation_time", "nopreviews", "wildcardseed", "wildcardseedbehavior", "imageformat",
    "used_wildcards", "personalnote", "donotsave", "savepath", "outpathformat", "colordepth", "internalbackendtype",
    "exactbackendid", "resolution", "modelid", "parser_warnings",
}  # fmt: skip
#: Parts of the prompt for a second pass, or for a part of the picture: all that follows belongs to them.
_PASS = re.compile(r"<(?:segment|object|region|refiner|video|videoswap|extend|base|edit)\b[^<>]*>", re.IGNORECASE)
#: Models that flow, by their names: their VAE is named because it is a file of its own.
_FLOW = re.compile(r"flux|z.?image|qwen|sd.?3|chroma", re.IGNORECASE)
_TAG = re.compile(r"<\w+(?:\[[^\]]*\])?(?::[^<>]*)?>")


def settings_in(text: Mapping[str, str]) -> Any:
    told = table_in(text.get("parameters")) or table_in(text.get("comment"))
    return told.get("sui_image_params") or "no table" if told is not None and "sui_image_params" in told else None


def read(told: dict[str, Any]) -> Recipe:
    gaps = list(unknown(told, _KNOWN))
    is_flow = "fluxguidancescale" in told or bool(_FLOW.search(str(told.get("model"))))
    if told.get("vae") not in (None, "", "None", "Automatic") and not is_flow:
        gaps.append(Gap("a VAE of its own", "the model's own"))
    if str(told.get("clipstopatlayer", -1)) not in ("-1", "0"):
        gaps.append(Gap("'clipstopatlayer'"))
    loras = _loras(told, gaps)
    texts = []
    for key in ("prompt", "negativeprompt"):
        text, tags = take_loras(str(told.get(key) or ""))
        loras |= dict(tags)
        texts.append(_without_tags(text, gaps))
    guidance = with_guidance(told.get("cfgscale"), told.get("fluxguidancescale"), texts[1], "cfgscale", gaps)
    return Recipe(
        PROGRAM,
        texts[0],
        {
            **guidance, "seed": told.get("seed"), "steps": told.get("steps"),
            "sampler": with_schedule(told.get("sampler"), told.get("scheduler"), is_flow=is_flow),
            "width": told.get("width"), "height": told.get("height"), "model": named(told.get("model") or ""),
            "lora": loras,
        },
        tuple(gaps),
    )  # fmt: skip


def _loras(told: Mapping[str, Any], gaps: list[Gap]) -> dict[str, Any]:
    names, weights, for_text = (_list(told.get(key)) for key in ("loras", "loraweights", "loratencweights"))
    if weights and len(names) != len(weights):
        gaps.append(Gap("LoRA without a weight each", "1 for those"))
    weights += ["1"] * (len(names) - len(weights))
    if for_text and [str(each) for each in for_text] != [str(each) for each in weights]:
        gaps.append(Gap("a LoRA of two strengths", "the denoiser's"))
    return {named(str(lora)): float(weight) for lora, weight in zip(names, weights, strict=False)}


def _list(value: Any) -> list[Any]:
    """A list, or one written as 'a,b'."""
    return list(value) if isinstance(value, list) else [part for part in str(value or "").split(",") if part]


def _without_tags(text: str, gaps: list[Gap]) -> str:
    if (found := _PASS.search(text)) is not None:
        gaps.append(Gap(f"a <…> in its prompt ('{found[0][:40]}')", "left out, with what follows"))
        text = text[: found.start()]
    if _TAG.search(text):
        gaps.append(Gap("a <…> in its prompt"))
        text = _TAG.sub("", text)
    return text.strip()
