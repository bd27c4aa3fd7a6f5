"""Language models in GGUF that are read as text encoders, as llama.cpp calls them. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hotfolder.errors import UsageError
from hotfolder.models.checkpoint import Header


@dataclass(frozen=True, slots=True)
class Architecture:
    """What llama.cpp makes of a network (ggml-org/llama.cpp, convert_hf_to_gguf.py)."""

    types: tuple[str, ...]  # `model_type` of the configurations that it is of
    names: str  # the architecture whose names its weights have
    is_turned: bool = False  # the rows of q and k stand as pairs, not as halves
    has_norms_plus_one: bool = False


ARCHITECTURES: Mapping[str, Architecture] = {
    "t5": Architecture(("t5",), "t5encoder"),
    "t5encoder": Architecture(("t5",), "t5encoder"),
    "qwen3": Architecture(("qwen3",), "qwen3"),
    "qwen2vl": Architecture(("qwen2_5_vl", "qwen2_vl"), "qwen2vl"),
    "qwen3vl": Architecture(("qwen3_vl",), "qwen3vl"),
    "llama": Architecture(("llama", "mistral", "mistral3"), "llama", is_turned=True),
    "mistral3": Architecture(("mistral3", "ministral3"), "llama", is_turned=True),
    "gemma2": Architecture(("gemma2",), "gemma2", has_norms_plus_one=True),
}


def named_in(header: Header) -> str:
    """The architecture that a GGUF file says it has; empty where it says none."""
    return header.metadata.get("general.architecture", "")


def architecture_in(path: Path, header: Header) -> Architecture:
    """Raises UsageError for one that is not known, by its name."""
    name = named_in(header)
    if name not in ARCHITECTURES:
        raise UsageError(
            f"{path} has the architecture {name or 'that it does not tell'}, and no text encoder of that is read",
            f"known are {', '.join(ARCHITECTURES)}",
        )
    return ARCHITECTURES[name]
