"""What is asked of a generator, and what it answers. Light: no model is needed to ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A picture that is wanted: `params` are PromptSpec's fields, what they leave open is the model's default."""

    key: int
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """What became of an order: an RGB image and every setting it was made with; or an error."""

    key: int
    image: Image.Image | None = None
    settings: Mapping[str, Any] | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the generator asks and tells while it works."""

    report: Callable[[int, int, int], None] = lambda key, step, steps: None
    #: Whether nobody wants this picture any more. Asked after each step.
    is_cancelled: Callable[[int], bool] = lambda key: False
    should_stop: Callable[[], bool] = lambda: False
    #: Frees memory that others hold on the device; whether there was any.
    make_room: Callable[[], bool] = lambda: False
    #: Where the LoRA of this name lies.
    lora: Callable[[str], Path] = Path
    #: Where the textual inversion of this name lies.
    embedding: Callable[[str], Path] = Path
