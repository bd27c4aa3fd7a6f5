"""Text to image through diffusers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoPipelineForText2Image
from PIL import Image

from hotfolder.engines.device import pick_dtype, precision_name
from hotfolder.errors import GenerationFailed, ModelDamaged
from hotfolder.models.registry import ModelSpec

Report = Callable[[int, int], None]
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.set_verbosity_error()


class Generator:
    """A loaded pipeline."""

    def __init__(self, spec: ModelSpec, device: torch.device) -> None:
        self.name = spec.name
        self._defaults = spec.defaults
        dtype = torch.bfloat16 if device.type == "cuda" else pick_dtype(device)
        try:
            pipeline = AutoPipelineForText2Image.from_pretrained(
                spec.folder, dtype=dtype, variant=_variant(spec.folder), local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelDamaged(
                f"the pipeline in {spec.folder} cannot be loaded: {error}", "fetch it again"
            ) from error
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline.to(device)
        self._precision = precision_name(dtype)

    def draw(self, params: Mapping[str, Any], report: Report) -> tuple[Image.Image, dict[str, Any]]:
        """One RGB image, and every setting it was made with.

        `params` are PromptSpec's fields; what they leave open is the model's default. `report(step, steps)` is
        called after each sampling step. The noise comes from one generator on the CPU, seeded for this image
        alone, so that the same seed gives the same image whatever is drawn beside it.
        """
        settings: dict[str, Any] = {
            "prompt": params["prompt"],
            "negative_prompt": params.get("negative_prompt") or "",
            "seed": params["seed"],
            "model": self.name,
            "sampler": type(self._pipeline.scheduler).__name__.removesuffix("Scheduler"),
            "precision": self._precision,
            "diffusers": diffusers.__version__,
            "torch": torch.__version__,
        }
        for key in ("steps", "guidance", "width", "height"):
            value = params.get(key)
            settings[key] = self._defaults.get(key) if value is None else value
        arguments: dict[str, Any] = {
            "prompt": settings["prompt"],
            "num_inference_steps": settings["steps"],
            "guidance_scale": settings["guidance"],
            "width": settings["width"],
            "height": settings["height"],
        }
        arguments = {key: value for key, value in arguments.items() if value is not None}
        if settings["negative_prompt"]:
            arguments["negative_prompt"] = settings["negative_prompt"]
        if "max_sequence_length" in self._defaults:
            arguments["max_sequence_length"] = self._defaults["max_sequence_length"]

        def after_step(pipeline: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            report(step + 1, pipeline.num_timesteps)
            return tensors

        with torch.inference_mode():
            result = self._pipeline(
                **arguments,
                generator=torch.Generator("cpu").manual_seed(settings["seed"]),
                callback_on_step_end=after_step,
                output_type="np",
            )
        pixels = result.images[0]
        if not np.isfinite(pixels).all():
            raise GenerationFailed(
                f"model '{self.name}' gave no numbers for this prompt", "try another seed or more precision"
            )
        image = Image.fromarray((pixels * 255).round().astype(np.uint8))
        settings["steps"] = settings["steps"] or self._pipeline.num_timesteps
        settings["guidance"] = float(settings["guidance"] if settings["guidance"] is not None else 0)
        settings["width"], settings["height"] = image.size
        return image, settings


def _variant(folder: Path) -> str | None:
    """'fp16' for a folder that has its weights in that variant alone, as `models pull` fetches them."""
    names = [path.name for path in folder.glob("*/*.safetensors")]
    return "fp16" if names and all(".fp16." in name for name in names) else None
