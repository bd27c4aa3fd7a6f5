"""What an image says of how it was generated, as a prompt again: our JSON, or the web UI's `parameters`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from hotfolder.core.prompts.converters import MOST_CHARACTERS
from hotfolder.core.prompts.fields import FIELDS, VALUES
from hotfolder.core.prompts.tags import take_loras
from hotfolder.core.prompts.values import option, shown
from hotfolder.core.samplers import sampler_called
from hotfolder.errors import PromptSyntax
from hotfolder.types import PromptSpec

_PAIR = re.compile(r'(\w[\w \-/]{1,60}): *("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
#: Characters of `parameters`: a prompt, a negative one, and a line of pairs.
_MOST = 3 * MOST_CHARACTERS
_NEGATIVE = "Negative prompt:"
#: What the web UI writes that changes the picture and cannot be done here.
_BEYOND = re.compile(
    r"Hires .*|ControlNet.*|Variation seed.*|Face restoration|Tiling|Mask blur|Refiner.*|ENSD|Clip skip"
)
#: The keys of our settings that are asked for again; all else in them is how it went.
_RECORDED = {field.name for field in FIELDS if field.is_recorded}
_ASKED = tuple(field.name for field in fields(PromptSpec) if field.name in _RECORDED)
#: What has to be the same for the same picture to come out.
_PROOFS = ("model_sha256", "init_image_sha256")


def from_metadata(name: str, text: Mapping[str, str]) -> PromptSpec:
    """The prompt that made an image, from its text chunks; `name` is the file's, for messages.

    Raises PromptSyntax for an image that says nothing of how it was made, or what cannot be done again.
    """
    if "hotfolder" in text:
        return _from_ours(name, text["hotfolder"])
    if "parameters" in text:
        return _from_web_ui(name, text["parameters"])
    raise PromptSyntax(
        f"{name} does not say how it was generated",
        "images to be judged go to inbox/score, to be enlarged to upscale",
    )


def _from_ours(name: str, text: str) -> PromptSpec:
    try:
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError("it is no table")
    except (ValueError, RecursionError) as error:
        raise PromptSyntax(f"{name}: its settings cannot be read: {error}", "write a prompt file") from None
    asked = {key: settings[key] for key in _ASKED if settings.get(key) not in (None, "", {}, [])}
    if "sampler" in asked and (not isinstance(asked["sampler"], str) or sampler_called(asked["sampler"]) is None):
        del asked["sampler"]  # the model's own, which has no name
    known = {key: settings[key] for key in _PROOFS if isinstance(settings.get(key), str)}
    return replace(_spec(name, settings.get("prompt"), asked), **known)


def _from_web_ui(name: str, text: str) -> PromptSpec:
    """The layout is that of https://github.com/AUTOMATIC1111/stable-diffusion-webui, infotext_utils.py."""
    if len(text) > _MOST:
        raise PromptSyntax(f"{name}: its 'parameters' are longer than {_MOST:,} characters", "write a prompt file")
    *lines, last = text.strip().split("\n")
    pairs = {key.strip(): _unquoted(value.strip()) for key, value in _PAIR.findall(last)}
    if len(pairs) < 3 or "Steps" not in pairs:
        raise PromptSyntax(f"{name}: its 'parameters' are not in the web UI's layout", "write a prompt file")
    at = next((n for n, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    prompt = "\n".join(lines[:at]).strip()
    negative = "\n".join(lines[at:]).removeprefix(_NEGATIVE).strip()
    beyond = next((key for key, value in pairs.items() if _is_beyond(key, value)), None)
    if beyond is not None:
        raise PromptSyntax(
            f"{name} was made with {beyond}, which is not done here", "write a prompt file without it"
        )
    if "Denoising strength" in pairs and "Init image" not in pairs:
        raise PromptSyntax(
            f"{name} was made from another image, and does not say from which",
            "write a prompt file with --init-image and --strength",
        )
    sampler = pairs.get("Sampler")
    if sampler and pairs.get("Schedule type", "Automatic") not in ("Automatic", "Normal"):
        sampler = f"{sampler} {pairs['Schedule type']}"
    size = re.fullmatch(r"(\d+)x(\d+)", pairs.get("Size", ""))
    asked: dict[str, Any] = {
        "negative_prompt": negative, "seed": pairs.get("Seed"), "steps": pairs["Steps"],
        "guidance": pairs.get("CFG scale"), "width": size and size[1], "height": size and size[2],
        "sampler": sampler, "model": pairs.get("Model"), "init_image": pairs.get("Init image"),
        "strength": pairs.get("Denoising strength"),
    }  # fmt: skip
    try:
        prompt, tags = take_loras(prompt)
    except ValueError as wanted:
        raise PromptSyntax(f"{name}: a <lora:…> of its prompt is not understood", f"it takes {wanted}") from None
    if len(dict(tags)) < len(tags):
        raise PromptSyntax(f"{name}: its prompt names a LoRA twice", "write a prompt file")
    if tags:
        asked["lora"] = dict(tags)
    return _spec(name, prompt, {key: value for key, value in asked.items() if value not in (None, "")})


def _is_beyond(key: str, value: str) -> bool:
    return bool(_BEYOND.fullmatch(key)) and not (key == "Clip skip" and value == "1")


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _spec(name: str, prompt: Any, asked: Mapping[str, Any]) -> PromptSpec:
    if not isinstance(prompt, str) or not prompt.strip():
        raise PromptSyntax(f"{name}: its settings hold no prompt ({shown(prompt)})", "write a prompt file")
    if "seed" not in asked:
        raise PromptSyntax(f"{name}: its settings hold no seed", "write a prompt file")
    converted = dict(option(f"{name}:", key, value, "") for key, value in asked.items() if key in VALUES)
    if converted["seed"] is None:
        raise PromptSyntax(f"{name}: its seed is -1, which is none", "write a prompt file")
    for what in (prompt, converted.get("negative_prompt", "")):
        if len(what) > MOST_CHARACTERS:
            raise PromptSyntax(
                f"{name}: its prompt is longer than {MOST_CHARACTERS:,} characters", "write a prompt file"
            )
    return PromptSpec(prompt=prompt.strip(), exact=True, **{"negative_prompt": "", **converted})
