"""The presets of `hotfolder init`: the same commented file, with other models and values."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from hotfolder.config.settings import ARRAYS, Settings, sections
from hotfolder.core.prompts import schema as prompts

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
#: A list that would be longer stands on several lines.
_LONGEST_LINE = 160
#: Where `init` puts the JSON Schema, below the root.
SCHEMA = ".hotfolder/hotfolder.schema.json"
#: The same for that of prompt files.
PROMPT_SCHEMA = ".hotfolder/prompts.schema.json"


def render(preset: str, umask: str = "") -> str:
    """The text of hotfolder.toml for a preset: every key with its description; defaults commented out.

    `umask` is that of its output, where it is to have one.
    """
    purpose, of_preset = PRESETS[preset]
    changes = {**of_preset, **({"output": {"umask": umask}} if umask else {})}
    lines = [f"#:schema {SCHEMA}", f"# hotfolder.toml, preset '{preset}'.", f"# {purpose}", "#"]
    lines += ["# Keys that are commented out show the default. Any key can also be set by the environment:"]
    lines += [
        "# HOTFOLDER_GATE__KEEP=7 overrides gate.keep. To have a running daemon read this anew: hotfolder reload."
    ]
    for name, section in sections():
        lines += ["", f"[{name}]", *_commented(_doc(section))]
        for key, info in section.model_fields.items():
            changed = changes.get(name, {})
            value = changed.get(key, info.default)
            lines += _commented(info.description or "")
            if value is None:
                lines.append(f"# {key} = …")
            elif key in changed or (name, key) in _ALWAYS_SHOWN:
                lines.append(f"{key} = {_toml(value)}")
            else:
                lines += [f"# {line}" for line in _assignment(key, value)]
    for name, table in ARRAYS.items():
        lines += ["", *_commented(f"{_doc(table)} As many as you like:"), f"# [[{name}]]"]
        for key, value in _EXAMPLES[name].items():
            lines += _commented(table.model_fields[key].description or "", indent="# # ")
            lines.append(f"# {key} = {value}")
    return "\n".join(lines) + "\n"


def schema() -> str:
    """The JSON Schema of hotfolder.toml, for editors that complete and check it."""
    found = Settings.model_json_schema()
    found["$schema"], found["title"] = "http://json-schema.org/draft-07/schema#", "hotfolder.toml"
    # What an inbox has otherwise is keys of those very sections.
    inbox = found["$defs"]["InboxSettings"]["properties"]
    for name, section in sections():
        if name in inbox:
            inbox[name] = {"$ref": f"#/$defs/{section.__name__}", "description": inbox[name]["description"]}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def prompt_schema() -> str:
    """The JSON Schema of prompt files."""
    return json.dumps(prompts.schema(), indent=1, ensure_ascii=False) + "\n"


def _doc(table: type[Any]) -> str:
    return " ".join((table.__doc__ or "").split())


def _commented(text: str, indent: str = "# ") -> list[str]:
    return [f"{indent}{line}" for line in textwrap.wrap(text, _WIDTH)]


#: An entry of each array, as it could stand there.
_EXAMPLES: Mapping[str, Mapping[str, str]] = {
    "inbox": {"name": '"portraits"', "kind": '"score"', "gate": "{ keep = 7.0, upscale = 7.5 }"},
    "model": {
        "name": '"my-upscaler"', "kind": '"upscale"',
        "files": '[{ path = "my-upscaler.safetensors", url = "https://…", sha256 = "…" }]',
    },
}  # fmt: skip

#: Keys that stand in the file uncommented, because people change them first.
_ALWAYS_SHOWN = {
    ("gate", "keep"), ("gate", "upscale"), ("gate", "regenerate_below"), ("gate", "max_attempts"),
    ("generate", "model"), ("score", "scorer"), ("upscale", "model"),
}  # fmt: skip


def _assignment(key: str, value: Any) -> list[str]:
    """`key = value`; a long list on several lines."""
    whole = f"{key} = {_toml(value)}"
    if not isinstance(value, tuple) or len(whole) <= _LONGEST_LINE:
        return [whole]
    lines = [f"{key} = [", " "]
    for item in map(_toml, value):
        if len(lines[-1]) + len(item) > _WIDTH:
            lines.append(" ")
        lines[-1] += f" {item},"
    return [*lines, "]"]


def _toml(value: Any) -> str:
    # JSON's numbers, texts and arrays of them are TOML's, too.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
