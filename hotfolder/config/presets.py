"""The presets of `hotfolder init`: the same commented file, with other models and values."""

from __future__ import annotations

import itertools
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hotfolder.config.settings import ARRAYS, Settings, sections
from hotfolder.core import toml
from hotfolder.core.prompts import schema as prompts


def _on_gpu(model: str) -> dict[str, dict[str, str]]:
    """What presets for a GPU have alike, around the model that draws."""
    return {
        "generate": {"model": model},
        "score": {"scorer": "laion-v2"},
        "upscale": {"model": "realesrgan-x4plus"},
    }


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
    "z-image-turbo": (
        "Z-Image-Turbo, the LAION aesthetic predictor and Real-ESRGAN: for a GPU with 16 GB.",
        _on_gpu("z-image-turbo"),
    ),
    "flux2-klein": (
        "FLUX.2 [klein] 4B, the LAION aesthetic predictor and Real-ESRGAN: for a GPU with 12 GB, or 8 with 'nf4'.",
        _on_gpu("flux2-klein"),
    ),
    "sdxl-turbo": (
        "SDXL Turbo, the LAION aesthetic predictor and Real-ESRGAN: for a GPU with 8 GB.",
        _on_gpu("sdxl-turbo"),
    ),
    "flux-schnell": (
        "FLUX.1 schnell, the LAION aesthetic predictor and Real-ESRGAN: for a GPU with 40 GB.",
        _on_gpu("flux-schnell"),
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
    lines = [f"#:schema {SCHEMA}", _heading(preset), f"# {purpose}", "#"]
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


def _heading(preset: str) -> str:
    return f"# hotfolder.toml, preset '{preset}'."


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


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that a preset has otherwise. `is_mine`: a person changed it, so that it stays."""

    section: str
    key: str
    now: Any
    then: Any
    is_mine: bool


def differences(text: str, document: Mapping[str, Any], preset: str) -> list[Difference]:
    """What changes where this file, and what is written in it, become that preset.

    A value that the file's own preset has (that of its heading; else 'tiny') is nobody's; any other is a person's.
    """
    made_as = re.search(r"^# hotfolder\.toml, preset '([\w-]+)'\.$", text, re.MULTILINE)
    before = PRESETS[made_as[1] if made_as and made_as[1] in PRESETS else "tiny"][1]
    after = PRESETS[preset][1]
    defaults = {name: section.model_fields for name, section in sections()}
    found = []
    for section, key in dict.fromkeys(
        (s, k) for each in (before, after) for s, keys in each.items() for k in keys
    ):
        default = defaults[section][key].default
        was, then = (each.get(section, {}).get(key, default) for each in (before, after))
        table = document.get(section)
        now = table.get(key, default) if isinstance(table, Mapping) else default
        if now != then:
            found.append(Difference(section, key, now, then, is_mine=now != was))
    return found


def changed(text: str, changes: Iterable[Difference], preset: str) -> str:
    """The file with these values, and the preset's heading; every other line stays as it is.

    Raises ValueError where a key stands in a way that is not changed by itself, such as on several lines.
    """
    lines = text.split("\n")
    for each in changes:
        _set(lines, each.section, f"{each.key} = {_toml(each.then)}", each.key)
    for at, line in enumerate(lines[:3]):
        if re.fullmatch(r"# hotfolder\.toml, preset '[\w-]+'\.", line):
            lines[at] = _heading(preset)
            purposes = {f"# {purpose}" for purpose, _ in PRESETS.values()}
            if at + 1 < len(lines) and lines[at + 1] in purposes:
                lines[at + 1] = f"# {PRESETS[preset][0]}"
    return "\n".join(lines)


def _set(lines: list[str], section: str, line: str, key: str) -> None:
    begin = next((n for n, each in enumerate(lines) if re.fullmatch(rf"\s*\[{section}\]\s*(#.*)?", each)), None)
    if begin is None:
        end = next((n for n, each in enumerate(lines) if re.match(r"\s*\[", each)), len(lines))
        lines[end:end] = [f"[{section}]", line, ""]
        return
    inside = itertools.takewhile(lambda n: not re.match(r"\s*\[", lines[n]), range(begin + 1, len(lines)))
    places = list(inside)
    for pattern in (rf"\s*{key}\s*=\s*(.*)", rf"#\s?{key} = (.*)"):
        for n in places:
            found = re.fullmatch(pattern, lines[n])
            if found is not None:
                if not pattern.startswith("#") and not _is_whole(found[1]):
                    raise ValueError(f"[{section}] {key} stands on several lines")
                lines[n] = line
                return
    lines.insert(begin + 1, line)


def _is_whole(value: str) -> bool:
    try:
        toml.loads(f"value = {value}")
    except ValueError:
        return False
    return True


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
