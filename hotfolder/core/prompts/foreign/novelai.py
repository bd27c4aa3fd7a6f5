"""NovelAI: JSON in the text chunk `Comment`, beside `Software` and `Source`, which names the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hotfolder.core.prompts.foreign.settings import says_nothing, table_in, unknown, with_schedule
from hotfolder.core.prompts.recipe import Gap, Recipe
from hotfolder.core.prompts.values import shown

PROGRAM = "NovelAI"
_KNOWN = {
    "prompt", "uc", "steps", "scale", "seed", "sampler", "width", "height", "n_samples", "noise_schedule",
    "request_type", "signed_hash", "legacy", "legacy_v3_extend", "extra_passthrough_testing", "source", "version",
    "strength", "noise", "uncond_scale", "cfg_rescale", "deliberate_euler_ancestral_bug", "prefer_brownian",
    "v4_prompt", "v4_negative_prompt", "stream",
    # These only say how something would be done that is asked for by other keys.
    "controlnet_strength", "dynamic_thresholding_percentile", "dynamic_thresholding_mimic_scale",
    "cfg_sched_eligibility", "uncond_per_vibe", "wonky_vibe_correlation", "explike_fine_detail",
    "minimize_sigma_inf",
}  # fmt: skip
#: What a brace or a bracket around words makes of their weight.
_STRONGER = 1.05
_MARK = re.compile(r"[{}\[\]]")
#: Of version 4: '1.3::words::'.
_NUMBERED = re.compile(r"(-?\d+(?:\.\d+)?)::(.*?)::", re.DOTALL)


def settings_in(text: Mapping[str, str]) -> Any:
    told = table_in(text.get("Comment")) or table_in(text.get("comment"))
    if text.get("Software") != PROGRAM and not (told and "uc" in told and "sampler" in told):
        return None
    return {**told, "source": text.get("Source")} if told else "no table in 'Comment'"


def read(told: dict[str, Any]) -> Recipe:
    gaps = list(unknown(told, _KNOWN))
    if told.get("source"):
        gaps.append(Gap(f"a model of its own ({shown(told['source'])})", "the configured model"))
    for key, usual in (("uncond_scale", 1), ("n_samples", 1), ("cfg_rescale", 0)):
        if told.get(key, usual) != usual:
            gaps.append(Gap(f"'{key}'"))
    if told.get("request_type", "PromptGenerateRequest") != "PromptGenerateRequest":
        gaps.append(Gap(shown(told["request_type"]), "drawn from words alone"))
    prompt, negative = told.get("prompt"), told.get("uc")
    for_each = [
        _captions(told.get(key), gaps if key == "v4_prompt" else []) for key in ("v4_prompt", "v4_negative_prompt")
    ]
    texts = [
        _words(", ".join(filter(None, (base or given, *each))), gaps)
        for given, (base, each) in zip((prompt, negative or ""), for_each, strict=True)
    ]
    return Recipe(
        PROGRAM,
        texts[0],
        {
            "negative_prompt": texts[1], "seed": told.get("seed"), "steps": told.get("steps"),
            "guidance": told.get("scale"), "sampler": with_schedule(told.get("sampler"), told.get("noise_schedule")),
            "width": told.get("width"), "height": told.get("height"),
        },
        tuple(gaps),
    )  # fmt: skip


def _captions(told: Any, gaps: list[Gap]) -> tuple[str, list[str]]:
    """What version 4 is told: of the whole picture, and of each figure in it."""
    caption = told.get("caption") if isinstance(told, dict) else None
    if not isinstance(caption, dict):
        return "", []
    each = [str(one.get("char_caption", "")) for one in caption.get("char_captions") or ()]
    if not says_nothing(each):
        gaps.append(Gap("a prompt for each figure", "behind the picture's prompt"))
    return str(caption.get("base_caption") or ""), each


def _words(text: str, gaps: list[Gap]) -> str:
    """A prompt with its weights as they are written here, which adds up otherwise: a gap.

    Round brackets are words there.
    """
    text = re.sub(r"(?<!\\)([()])", r"\\\1", text)
    written = _NUMBERED.sub(r"(\2:\1)", text)
    if _MARK.search(written):
        written = _with_weights(written)
    if written != text:
        gaps.append(Gap("words made strong or weak by {}, [] and ::", "weights that are near"))
    return written


def _with_weights(text: str) -> str:
    """'{{red}} circle' -> '(red:1.1) circle'; whatever is not closed holds to the end."""
    found: list[str] = []
    depth, words = 0, ""

    def put() -> None:
        nonlocal words
        inside = words.strip()
        if depth and inside:
            begin, end = (" " if words[0].isspace() else ""), (" " if words[-1].isspace() else "")
            found.append(f"{begin}({inside}:{_STRONGER ** max(-40, min(depth, 40)):.3g}){end}")
        else:
            found.append(words)
        words = ""

    for sign in text:
        if sign not in "{}[]":
            words += sign
            continue
        put()
        depth += 1 if sign in "{]" else -1
    put()
    return "".join(found)
