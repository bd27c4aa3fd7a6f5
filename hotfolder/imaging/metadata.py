"""What a generated image says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hotfolder import __version__


def a1111_parameters(settings: Mapping[str, Any]) -> str:
    """The `parameters` text of the Stable Diffusion web UI, which most viewers can show.

    Its layout: the prompt; 'Negative prompt: …' unless empty; then 'Key: value' pairs on one line.
    """
    lines = [str(settings["prompt"])]
    if settings.get("negative_prompt"):
        lines.append(f"Negative prompt: {settings['negative_prompt']}")
    pairs = {
        "Steps": settings["steps"],
        "Sampler": settings["sampler"],
        "CFG scale": f"{settings['guidance']:g}",
        "Seed": settings["seed"],
        "Size": f"{settings['width']}x{settings['height']}",
        "Model": settings["model"],
        "Version": f"hotfolder {__version__}",
    }
    lines.append(", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items()))
    return "\n".join(lines)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(c in value for c in ",:\n") else value


def text_chunks(settings: Mapping[str, Any]) -> dict[str, str]:
    """The text chunks of a generated PNG: `parameters` for other programs, `hotfolder` (JSON) for us."""
    return {
        "parameters": a1111_parameters(settings),
        "hotfolder": json.dumps(dict(settings), ensure_ascii=False, sort_keys=True),
    }
