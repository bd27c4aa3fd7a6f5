"""Which family of generators (hotfolder/core/families.py) a pipeline folder, or a file, belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hotfolder.core.families import family_called, family_with
from hotfolder.errors import ModelDamaged, UsageError
from hotfolder.models.architectures import ARCHITECTURES, named_in
from hotfolder.models.checkpoint import family_in, flux_prefix, has_guidance, read_header
from hotfolder.models.quantised import check_scales, is_gguf, read_gguf_header


def family_of(path: Path, base: str = "") -> str:
    """The family of a pipeline folder, or of a checkpoint; empty for a pipeline that is of none of them.

    `base` is the family of the folder that a file's other parts come from. Raises ModelDamaged for what cannot be
    read, UsageError for a file that is not supported.
    """
    if path.is_dir():
        index = read_config(path / "model_index.json")

        def read(file: str) -> Mapping[str, Any]:
            return index if file == "model_index.json" else read_config(path / file)

        family = family_with(str(index.get("_class_name")), read, _called(path))
        return family.name if family else ""
    if is_gguf(path):
        if (named := named_in(read_gguf_header(path))) in ARCHITECTURES:
            raise UsageError(
                f"{path} is a text encoder ({named}), not a denoiser",
                "name the denoiser first in `files`, and this file after it",
            )
        if not base or family_called(base).whole_files:
            raise UsageError(
                f"{path} is the denoiser of a model alone",
                "name a base in a [[model]] entry: the pipeline folder whose text encoders and VAE it is used with",
            )
        return base
    header = read_header(path)
    is_denoiser = bool(base) and not family_called(base).whole_files
    if is_denoiser or flux_prefix(header) is not None:
        check_scales(path, header)
    if is_denoiser and flux_prefix(header) is None:
        return base
    found = family_in(path, header)
    return "flux-schnell" if found == "flux" and not has_guidance(header) else found


def _called(folder: Path) -> str:
    """The folder's name; in the hub's cache, where that is a commit, the repository's."""
    return folder.parent.parent.name if folder.parent.name == "snapshots" else folder.name


def variant_of(folder: Path) -> str | None:
    """'fp16' for a pipeline folder that has its weights in that variant alone, as `models pull` fetches them."""
    names = [path.name for path in folder.glob("*/*.safetensors")]
    return "fp16" if names and all(".fp16." in name for name in names) else None


def read_config(path: Path) -> dict[str, Any]:
    """A JSON file of a pipeline folder. Raises ModelDamaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelDamaged(f"{path} cannot be read: {error}", "fetch it again") from None
    if not isinstance(document, dict):
        raise ModelDamaged(f"{path} is not what it should be", "fetch it again")
    return document
