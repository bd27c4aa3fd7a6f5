"""Ways to draw faster that change the picture, each only where it is asked for; and what is recorded of them."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FirstBlockCacheConfig

from hotfolder.engines.generation.loading import denoiser_of
from hotfolder.errors import BadInput, DeviceTrouble, UsageError
from hotfolder.types import RunnerSettings

#: Names of generate.attention -> diffusers' own, and the package that has it. None of these asks a hub.
ATTENTION = {
    "native": ("native", "torch"),
    "cudnn": ("_native_cudnn", "torch"),
    "flash": ("flash", "flash-attn"),
    "flash-3": ("_flash_3", "flash-attn 3, built from its source"),
    "sage": ("sage", "sageattention"),
}
#: Pipelines that tell their transformer which pass it is in, the one with the prompt or the one without: others raise,
#: or would mix both up.
_WITH_CACHE = frozenset(("FluxPipeline", "QwenImagePipeline", "QwenImageImg2ImgPipeline"))


def speed_up(pipeline: Any, settings: RunnerSettings) -> None:
    """As the settings ask. Raises UsageError where the model cannot, DeviceTrouble where a package is missing."""
    if settings.attention != "native":
        _attend(pipeline, settings.attention)
    if settings.cache == "first-block":
        check_cache(pipeline, settings, UsageError)
        denoiser_of(pipeline).enable_cache(FirstBlockCacheConfig(threshold=settings.cache_threshold))


def stay(pipeline: Any) -> None:
    """For a pipeline that lies on one device for good: diffusers looks for that in every module, several times a call.

    From now on its class, of the same name, knows it. No pixel differs.
    """
    own = type(pipeline)
    known = {"_execution_device": pipeline._execution_device, "__module__": own.__module__}
    pipeline.__class__ = type(own.__name__, (own,), known)


def slow_down(pipeline: Any, settings: RunnerSettings) -> None:
    """diffusers sets the way of attention for the whole process: the next model is to begin as any."""
    if settings.attention != "native":
        denoiser_of(pipeline).set_attention_backend("native")


def check_cache(pipeline: Any, settings: RunnerSettings, kind: type[UsageError | BadInput] = BadInput) -> None:
    """Raises for a pipeline that is not made for the cache which is asked for."""
    name = type(pipeline).__name__
    if settings.cache != "off" and name not in _WITH_CACHE:
        raise kind(
            f"generate.cache = '{settings.cache}' cannot be had with {name}",
            "set generate.cache to 'off'; FLUX.1 from words and Qwen-Image can have it",
        )


def is_compiled(settings: RunnerSettings, device: torch.device) -> bool:
    """Whether the denoiser is compiled: on a CPU it never is."""
    return settings.compile and device.type == "cuda"


def recorded(settings: RunnerSettings, device: torch.device) -> dict[str, Any]:
    """What of these a picture says of itself."""
    found: dict[str, Any] = {}
    if is_compiled(settings, device):
        found["compile"] = True
    if settings.attention != "native":
        found["attention"] = settings.attention
    if settings.cache != "off":
        found |= {"cache": settings.cache, "cache_threshold": settings.cache_threshold}
    if settings.channels_last == "on":
        found["channels_last"] = True
    return found


def _attend(pipeline: Any, wanted: str) -> None:
    name, package = ATTENTION[wanted]
    denoiser = denoiser_of(pipeline)
    if not any(hasattr(getattr(part, "processor", None), "_attention_backend") for part in denoiser.modules()):
        raise UsageError(
            f"generate.attention = '{wanted}' has no effect on {type(pipeline).__name__}",
            "set generate.attention to 'native'",
        )
    try:
        denoiser.set_attention_backend(name)
    except (RuntimeError, ImportError) as error:
        raise DeviceTrouble(
            f"generate.attention = '{wanted}' cannot be had here: {error}",
            f"install {package}; or set generate.attention to 'native'",
        ) from error
