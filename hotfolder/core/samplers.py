"""Samplers by the names that the Stable Diffusion web UI gives them, and what diffusers calls the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN = {"use_karras_sigmas": False}
_KARRAS = {"use_karras_sigmas": True}
_SDE = {"algorithm_type": "sde-dpmsolver++"}
_ODE = {"algorithm_type": "dpmsolver++"}
#: Name -> (scheduler class of diffusers, its settings). The pairs are those of diffusers' documentation
#: ('Schedulers', the table for A1111 and k-diffusion).
SAMPLERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Euler": ("EulerDiscreteScheduler", _PLAIN),
    "Euler Karras": ("EulerDiscreteScheduler", _KARRAS),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", _PLAIN),
    "Heun Karras": ("HeunDiscreteScheduler", _KARRAS),
    "DPM2": ("KDPM2DiscreteScheduler", _PLAIN),
    "DPM2 Karras": ("KDPM2DiscreteScheduler", _KARRAS),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", _PLAIN),
    "DPM2 a Karras": ("KDPM2AncestralDiscreteScheduler", _KARRAS),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {**_ODE, **_PLAIN}),
    "DPM++ 2M Karras": ("DPMSolverMultistepScheduler", {**_ODE, **_KARRAS}),
    "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", {**_SDE, **_PLAIN}),
    "DPM++ 2M SDE Karras": ("DPMSolverMultistepScheduler", {**_SDE, **_KARRAS}),
    "DDIM": ("DDIMScheduler", {}),
    "DDPM": ("DDPMScheduler", {}),
    "PLMS": ("PNDMScheduler", {"skip_prk_steps": True}),
    "UniPC": ("UniPCMultistepScheduler", _PLAIN),
    "LCM": ("LCMScheduler", {}),
}
_BY_LOWER = {name.lower(): name for name in SAMPLERS}
#: What ComfyUI, SwarmUI, InvokeAI and NovelAI call them; with ' karras', or '_k' behind it, those with Karras' steps.
_ELSEWHERE = {
    "euler ancestral": "Euler a", "k euler": "Euler", "k euler a": "Euler a", "k euler ancestral": "Euler a",
    "k heun": "Heun", "dpm 2": "DPM2", "kdpm 2": "DPM2", "k dpm 2": "DPM2", "dpm 2 ancestral": "DPM2 a",
    "kdpm 2 a": "DPM2 a", "k dpm 2 ancestral": "DPM2 a", "k dpm 2 a": "DPM2 a", "dpmpp 2m": "DPM++ 2M",
    "k dpmpp 2m": "DPM++ 2M", "dpmpp 2m sde": "DPM++ 2M SDE", "k dpmpp 2m sde": "DPM++ 2M SDE", "pndm": "PLMS",
    "uni pc": "UniPC",
}  # fmt: skip


def sampler_called(text: str) -> str | None:
    """The name in its usual spelling, whatever the case, or another program's; None for one that is not known."""
    plain = " ".join(text.lower().replace("_", " ").split())
    if plain in _BY_LOWER:
        return _BY_LOWER[plain]
    base = plain.removesuffix(" karras").removesuffix(" k")
    known = _ELSEWHERE.get(base) or _BY_LOWER.get(base)
    return known if known is None or base == plain else _BY_LOWER.get(f"{known.lower()} karras")


def name_of(scheduler: str, config: Mapping[str, Any]) -> str:
    """What the web UI calls a scheduler of diffusers with these settings; its class name where it has no name."""
    for name, (known, settings) in SAMPLERS.items():
        if known == scheduler and all((config.get(key) or False) == value for key, value in settings.items()):
            return name
    return scheduler.removesuffix("Scheduler")
