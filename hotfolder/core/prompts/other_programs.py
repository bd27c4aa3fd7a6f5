"""What ComfyUI, InvokeAI, NovelAI, Fooocus and SwarmUI write into their images, as a prompt again.

Of each the plain picture from words is understood: prompt, seed, steps, guidance, size, sampler, model, LoRA. Whatever
else shaped it is an error that names the program and the setting; a setting that says nothing (null, 0, false, empty)
did nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from hotfolder.core.prompts.recipe import exact_spec, made_with, named
from hotfolder.core.prompts.values import shown
from hotfolder.errors import PromptSyntax
from hotfolder.types import PromptSpec

_EMPTY: tuple[Any, ...] = (None, "", 0, False, [], {}, "None", "[]", "null")


def read(name: str, text: Mapping[str, str]) -> PromptSpec | None:
    """The prompt of an image; None where none of these programs wrote it. Raises PromptSyntax."""
    for program, says, reads in _PROGRAMS:
        found = says(text)
        if found is None:
            continue
        if not isinstance(found, dict):
            raise PromptSyntax(
                f"{name} was made by {program}, and its settings ({shown(found)}) are not read",
                "write a prompt file",
            )
        try:
            return reads(name, found)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError):
            raise PromptSyntax(
                f"{name} was made by {program}, and its settings are not as usual", "write a prompt file"
            ) from None
    return None


def _table(text: str | None) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    if not text or not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _only(name: str, program: str, settings: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises PromptSyntax for a setting that says something and is not known."""
    for key, value in settings.items():
        if key not in known and value not in _EMPTY:
            raise made_with(name, f"'{key}'", program)


def _spec(name: str, prompt: Any, **asked: Any) -> PromptSpec:
    return exact_spec(name, prompt, {key: value for key, value in asked.items() if value not in (None, "", {})})


# --- ComfyUI: a graph of nodes ---------------------------------------------------------------------

#: Nodes that a plain picture has. Any other may have shaped it.
_NODES = {
    "KSampler", "CheckpointLoaderSimple", "EmptyLatentImage", "CLIPTextEncode", "LoraLoader", "VAEDecode",
    "SaveImage", "PreviewImage", "Note", "PrimitiveString", "PrimitiveStringMultiline", "PrimitiveInt",
}  # fmt: skip


def _comfyui(text: Mapping[str, str]) -> Any:
    graph = _table(text.get("prompt"))
    if graph is not None and any(isinstance(node, dict) and "class_type" in node for node in graph.values()):
        return graph
    return "no prompt beside the workflow" if _table(text.get("workflow")) is not None else None


def _read_comfyui(name: str, graph: dict[str, Any]) -> PromptSpec:
    samplers = []
    for node in graph.values():
        kind = str(node["class_type"])
        if kind not in _NODES:
            raise made_with(name, f"the node '{kind}'", "ComfyUI")
        samplers += [node["inputs"]] if kind == "KSampler" else []
    if len(samplers) != 1:
        raise made_with(name, f"{len(samplers)} samplers", "ComfyUI")

    def value(given: Any) -> Any:
        """A value, or what the node says that it is linked to."""
        if not isinstance(given, list):
            return given
        return value(graph[given[0]]["inputs"]["value"])

    def linked(given: Any, kind: str) -> dict[str, Any]:
        node = graph[given[0]]
        if node["class_type"] != kind:
            raise made_with(name, f"the node '{node['class_type']}' in the place of '{kind}'", "ComfyUI")
        inputs: dict[str, Any] = node["inputs"]
        return inputs

    (sampler,) = samplers
    if value(sampler.get("denoise", 1)) != 1:
        raise made_with(name, "a 'denoise' below 1", "ComfyUI")
    latent = linked(sampler["latent_image"], "EmptyLatentImage")
    if value(latent.get("batch_size", 1)) != 1:
        raise made_with(name, "several pictures in one batch", "ComfyUI")
    loras: dict[str, float] = {}
    model = sampler["model"]
    while graph[model[0]]["class_type"] == "LoraLoader" and len(loras) < len(graph):
        lora = graph[model[0]]["inputs"]
        if lora["strength_model"] != lora["strength_clip"]:
            raise made_with(name, "a LoRA of two strengths", "ComfyUI")
        loras[named(lora["lora_name"])] = lora["strength_model"]
        model = lora["model"]
    texts = [value(linked(sampler[which], "CLIPTextEncode")["text"]) for which in ("positive", "negative")]
    return _spec(
        name,
        texts[0],
        negative_prompt=texts[1],
        seed=value(sampler["seed"]),
        steps=value(sampler["steps"]),
        guidance=value(sampler["cfg"]),
        sampler=_with_schedule(sampler["sampler_name"], sampler.get("scheduler", "normal")),
        width=value(latent["width"]),
        height=value(latent["height"]),
        model=named(linked(model, "CheckpointLoaderSimple")["ckpt_name"]),
        lora=loras,
    )


def _with_schedule(sampler: str, schedule: str | None) -> str:
    return sampler if schedule in (None, "", "normal", "automatic") else f"{sampler} {schedule}"


# --- InvokeAI ----------------------------------------------------------------------------------------

_INVOKE = {
    "generation_mode", "positive_prompt", "negative_prompt", "width", "height", "seed", "cfg_scale", "steps",
    "scheduler", "model", "loras", "app_version", "rand_device", "created_by", "strength",
}  # fmt: skip


def _invokeai(text: Mapping[str, str]) -> Any:
    if (found := text.get("invokeai_metadata")) is not None:
        return _table(found) or "no table"
    old = next((key for key in ("sd-metadata", "Dream", "invokeai_graph") if key in text), None)
    return None if old is None else f"those of an old version, '{old}'"


def _read_invokeai(name: str, told: dict[str, Any]) -> PromptSpec:
    _only(name, "InvokeAI", told, _INVOKE)
    mode = told.get("generation_mode", "txt2img")
    if mode not in ("txt2img", "sdxl_txt2img", "flux_txt2img"):
        raise made_with(name, f"the mode '{mode}'", "InvokeAI")
    loras = {}
    for each in told.get("loras") or ():
        model = each.get("model") or each["lora"]
        loras[named(model.get("name") or model["model_name"])] = each["weight"]
    model = told.get("model") or {}
    return _spec(
        name,
        told.get("positive_prompt"),
        negative_prompt=told.get("negative_prompt"),
        seed=told.get("seed"),
        steps=told.get("steps"),
        guidance=told.get("cfg_scale"),
        sampler=told.get("scheduler"),
        width=told.get("width"),
        height=told.get("height"),
        model=named(model.get("name") or model.get("model_name") or ""),
        lora=loras,
    )


# --- NovelAI -----------------------------------------------------------------------------------------

_NOVEL = {
    "prompt", "uc", "steps", "scale", "seed", "sampler", "width", "height", "n_samples", "noise_schedule",
    "request_type", "signed_hash", "legacy", "legacy_v3_extend", "extra_passthrough_testing", "source", "version",
    "strength", "noise", "uncond_scale", "cfg_rescale", "deliberate_euler_ancestral_bug", "prefer_brownian",
}  # fmt: skip


def _novelai(text: Mapping[str, str]) -> Any:
    told = _table(text.get("Comment")) or _table(text.get("comment"))
    if text.get("Software") != "NovelAI" and not (told and "uc" in told and "sampler" in told):
        return None
    return {**told, "source": text.get("Source")} if told else "no table in 'Comment'"


def _read_novelai(name: str, told: dict[str, Any]) -> PromptSpec:
    _only(name, "NovelAI", told, _NOVEL)
    if told.get("source"):
        raise made_with(name, f"a model of its own ({shown(told['source'])})", "NovelAI")
    for key, usual in (("uncond_scale", 1), ("n_samples", 1), ("cfg_rescale", 0)):
        if told.get(key, usual) != usual:
            raise made_with(name, f"'{key}'", "NovelAI")
    if told.get("request_type", "PromptGenerateRequest") != "PromptGenerateRequest":
        raise made_with(name, f"{shown(told['request_type'])}", "NovelAI")
    prompt = told.get("prompt")
    if re.search(r"[{}\[\]]", f"{prompt}{told.get('uc', '')}"):
        raise made_with(name, "words made strong or weak by {} and []", "NovelAI")
    return _spec(
        name,
        prompt,
        negative_prompt=told.get("uc"),
        seed=told.get("seed"),
        steps=told.get("steps"),
        guidance=told.get("scale"),
        sampler=_with_schedule(told["sampler"], str(told.get("noise_schedule") or "").replace("native", "")),
        width=told.get("width"),
        height=told.get("height"),
    )


# --- Fooocus -----------------------------------------------------------------------------------------

_FOOOCUS = {
    "prompt", "negative_prompt", "seed", "steps", "guidance_scale", "sampler", "scheduler", "resolution",
    "base_model", "base_model_hash", "version", "created_by", "metadata_scheme", "performance", "full_prompt",
    "full_negative_prompt", "refiner_switch", "vae", "clip_skip",
}  # fmt: skip


def _fooocus(text: Mapping[str, str]) -> Any:
    told = _table(text.get("parameters")) or _table(text.get("comment"))
    if told is not None and ("base_model" in told or str(told.get("version", "")).startswith("Fooocus")):
        return told
    return "they are not in its layout" if text.get("fooocus_scheme") == "fooocus" else None


def _read_fooocus(name: str, told: dict[str, Any]) -> PromptSpec:
    _only(name, "Fooocus", told, _FOOOCUS)
    for key, nothing in (
        ("vae", ("Default (model)",)),
        ("clip_skip", (1,)),
        ("performance", ("Speed", "Quality")),
    ):
        if told.get(key) not in (*_EMPTY, *nothing):
            raise made_with(name, f"'{key}'", "Fooocus")
    for key in ("prompt", "negative_prompt"):  # what its styles made of them
        full = told.get(f"full_{key}")
        if full not in (*_EMPTY, told.get(key), [told.get(key)]):
            raise made_with(name, f"styles ('full_{key}')", "Fooocus")
    size = re.fullmatch(r"\((\d+), (\d+)\)", str(told.get("resolution", "")))
    return _spec(
        name,
        told.get("prompt"),
        negative_prompt=told.get("negative_prompt"),
        seed=told.get("seed"),
        steps=told.get("steps"),
        guidance=told.get("guidance_scale"),
        sampler=_with_schedule(told["sampler"], told.get("scheduler")) if told.get("sampler") else None,
        width=size and size[1],
        height=size and size[2],
        model=named(told.get("base_model") or ""),
    )


# --- SwarmUI -----------------------------------------------------------------------------------------

_SWARM = {
    "prompt", "negativeprompt", "model", "seed", "steps", "cfgscale", "width", "height", "aspectratio", "sampler",
    "scheduler", "loras", "loraweights", "swarm_version", "automaticvae", "images", "batchsize", "sidelength",
    "original_prompt", "original_negativeprompt",
}  # fmt: skip


def _swarmui(text: Mapping[str, str]) -> Any:
    told = _table(text.get("parameters")) or _table(text.get("comment"))
    return told.get("sui_image_params") or "no table" if told is not None and "sui_image_params" in told else None


def _read_swarmui(name: str, told: dict[str, Any]) -> PromptSpec:
    _only(name, "SwarmUI", told, _SWARM)
    if re.search(r"<\w+[:\[>]", str(told.get("prompt"))):
        raise made_with(name, "a <…> in its prompt", "SwarmUI")
    names, weights = told.get("loras") or [], told.get("loraweights") or []
    if len(names) != len(weights):
        raise made_with(name, "LoRA without a weight each", "SwarmUI")
    loras = {named(lora): float(weight) for lora, weight in zip(names, weights, strict=True)}
    return _spec(
        name,
        told.get("prompt"),
        negative_prompt=told.get("negativeprompt"),
        seed=told.get("seed"),
        steps=told.get("steps"),
        guidance=told.get("cfgscale"),
        sampler=_with_schedule(told["sampler"], told.get("scheduler")) if told.get("sampler") else None,
        width=told.get("width"),
        height=told.get("height"),
        model=named(told.get("model") or ""),
        lora=loras,
    )


#: The program's name, what finds its settings (a table, or why there is none; None where it is not its image), and
#: what reads them.
_PROGRAMS: tuple[
    tuple[str, Callable[[Mapping[str, str]], Any], Callable[[str, dict[str, Any]], PromptSpec]], ...
] = (
    ("SwarmUI", _swarmui, _read_swarmui),
    ("Fooocus", _fooocus, _read_fooocus),
    ("InvokeAI", _invokeai, _read_invokeai),
    ("NovelAI", _novelai, _read_novelai),
    ("ComfyUI", _comfyui, _read_comfyui),
)
