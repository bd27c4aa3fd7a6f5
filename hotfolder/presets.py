"""The presets of `hotfolder init`: the same commented file, with other models and values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hotfolder.settings import Settings

#: What each preset changes, and what it is for.
PRESETS: Mapping[str, tuple[str, Mapping[str, Mapping[str, Any]]]] = {
    "tiny": (
        "The built-in models: no downloads, no GPU. Draws simple shapes; judges sharpness, noise and exposure.",
        {},
    ),
    "cpu": (
        "Judging with the LAION aesthetic predictor and enlarging with a small Real-ESRGAN, without a GPU.",
        {
            "score": {"scorer": "laion-v2"},
            "upscale": {"model": "realesr-general-x4v3"},
            "executor": {"device": "cpu"},
        },
    ),
    "sdxl-turbo": (
        "SDXL Turbo, the LAION aesthetic predictor and Real-ESRGAN: for a GPU with 12 GB.",
        {
            "generate": {"model": "sdxl-turbo"},
            "score": {"scorer": "laion-v2"},
            "upscale": {"model": "realesrgan-x4plus"},
        },
    ),
    "flux-schnell": (
        "FLUX.1 schnell, the LAION aesthetic predictor and Real-ESRGAN: for a GPU with 40 GB.",
        {
            "generate": {"model": "flux-schnell"},
            "score": {"scorer": "laion-v2"},
            "upscale": {"model": "realesrgan-x4plus"},
        },
    ),
}
_WIDTH = 100


def render(preset: str) -> str:
    """The text of hotfolder.toml for a preset: every key with its description; defaults commented out."""
    purpose, changes = PRESETS[preset]
    lines = [f"# hotfolder.toml, preset '{preset}'.", f"# {purpose}", "#"]
    lines += ["# Keys that are commented out show the default. Any key can also be set by the environment:"]
    lines += ["# HOTFOLDER_GATE__KEEP=7 overrides gate.keep."]
    for section, field in Settings.model_fields.items():
        model: Any = field.annotation
        lines += ["", f"[{section}]", f"# {(model.__doc__ or '').strip()}"]
        for key, info in model.model_fields.items():
            changed = changes.get(section, {})
            value = changed.get(key, info.default)
            lines += [f"# {line}" for line in _wrap(info.description or "")]
            if value is None:
                lines.append(f"# {key} = …")
            elif key in changed or (section, key) in _ALWAYS_SHOWN:
                lines.append(f"{key} = {_toml(value)}")
            else:
                lines.append(f"# {key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


#: Keys that stand in the file uncommented, because people change them first.
_ALWAYS_SHOWN = {
    ("gate", "keep"), ("gate", "upscale"), ("gate", "regenerate_below"), ("gate", "max_attempts"),
    ("generate", "model"), ("score", "scorer"), ("upscale", "model"),
}  # fmt: skip


def _toml(value: Any) -> str:
    # JSON's numbers, texts and arrays of them are TOML's, too.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _wrap(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, _WIDTH)
