"""What a drawn picture says of its making: everything that shaped it, and what came out otherwise than was asked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers
from PIL import Image

from hotfolder import __version__
from hotfolder.core.families import UNKNOWN, Guidance
from hotfolder.core.samplers import name_of
from hotfolder.engines.device import device_name
from hotfolder.engines.generation.loaded import LoadedPipeline
from hotfolder.engines.generation.requests import GenerationRequest
from hotfolder.engines.generation.speed import recorded
from hotfolder.engines.generation.words import without_effect
from hotfolder.models.registry import ModelSpec
from hotfolder.types import RunnerSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """Of one loaded model; `name` is how it was asked for."""

    name: str
    sha256: str
    spec: ModelSpec
    device: torch.device
    settings: RunnerSettings
    resident: LoadedPipeline

    def of(
        self, order: GenerationRequest, asked: Mapping[str, Any], pipeline: Any, image: Image.Image
    ) -> dict[str, Any]:
        """Everything that shaped the picture, but for its precision and its place in the batch."""
        scheduler, usual = pipeline.scheduler, self.resident.usual_guidance
        is_unused = self.resident.family.guidance is Guidance.NONE
        settings: dict[str, Any] = {
            "prompt": order.params["prompt"],
            "negative_prompt": order.params.get("negative_prompt") or "",
            "seed": order.params["seed"],
            "model": self.name,
            "model_sha256": self.sha256,
            "family": self.spec.family,
            "sampler": name_of(type(scheduler).__name__, scheduler.config),
            "steps": self.resident.fixed_steps or asked["steps"] or asked["steps_drawn"],
            "guidance": float(usual if asked["guidance"] is None or is_unused else asked["guidance"]),
            "width": image.width,
            "height": image.height,
            "memory": str(self.resident.step),
            "device": device_name(self.device),
            "hotfolder": __version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            **recorded(self.settings, self.device),
            "torch": str(torch.__version__),  # its own class is in torch: whoever unpickles that has to import it
        }
        if notes := self._notes(order, asked, image):
            settings["notes"] = notes
            log.warning("%s: %s", self.name, "; ".join(notes))
        if asked["lora"]:
            settings["lora"] = asked["lora"]
        if asked["init_image"] is not None:
            used = ("init_image", "init_image_sha256", "strength")
            settings |= {key: asked[key] for key in used if asked[key] is not None}
        return settings

    def _notes(self, order: GenerationRequest, asked: Mapping[str, Any], image: Image.Image) -> list[str]:
        """What of a prompt has no effect on this model, and what was drawn in another way than was asked."""
        notes = list(order.params.get("notes") or ())
        if self.resident.words is None:
            notes += without_effect(
                self.resident.pipeline, order.params["prompt"], self.resident.family, self.spec
            )
        if self.resident.family is UNKNOWN:
            notes.append(f"nothing is known of {type(self.resident.pipeline).__name__} but its signature")
        if asked["width"] and asked["height"] and image.size != (asked["width"], asked["height"]):
            wanted = f"{asked['width']}x{asked['height']}"
            notes.append(f"drawn at {image.width}x{image.height}, where {wanted} was asked")
        elif asked.get("drawn") not in (None, image.size):
            width, height = asked["drawn"]
            notes.append(f"drawn at {width}x{height}, the nearest size that it knows, and resized")
        if self.resident.fixed_steps not in (None, asked["steps"]):
            notes.append(f"drawn in its own {self.resident.fixed_steps} steps, not in {asked['steps']}")
        return notes
