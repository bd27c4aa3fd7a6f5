"""Text encoders of a pipeline folder in ComfyUI's scaled fp8, such as t5xxl_fp8_e4m3fn_scaled: as their weights are.

transformers would take each weight without the number that it is multiplied with, and say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from hotfolder.engines.generation.denoiser_file import Weights, read_scaled
from hotfolder.engines.generation.fitting import fitting, whole
from hotfolder.errors import ModelDamaged, UsageError
from hotfolder.models.checkpoint import Header, read_header
from hotfolder.models.family import read_config, variant_of
from hotfolder.models.quantised import SCALES, check_scales

#: Endings of names by which such a file is known.
_MARKS = (*SCALES, ".comfy_quant")


def has_scales(path: Path) -> bool:
    """Whether this file has weights of 8 bits with scales, which take twice as much once they are read."""
    return _scales_in(read_header(path))


def _scales_in(header: Header) -> bool:
    return any(name.endswith(_MARKS) for name in header.shapes)


def _files(folder: Path, variant: str | None) -> list[Path]:
    """Those that transformers would read; where there is none by its names, all that are there."""
    for end in (f".{variant}", "") if variant else ("",):
        whole, index = folder / f"model{end}.safetensors", folder / f"model.safetensors.index{end}.json"
        if whole.is_file():
            return [whole]
        if index.is_file():
            shards = read_config(index).get("weight_map")
            names = set(shards.values()) if isinstance(shards, dict) else set()
            if not names or not all(isinstance(name, str) and name == Path(name).name for name in names):
                raise ModelDamaged(f"{index} is not what it should be", "fetch it again")
            return [folder / name for name in sorted(names)]
    return sorted(folder.glob("*.safetensors"))


def scaled_encoders(folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Those of a pipeline folder whose weights have scales, by their names in it; the others are read as ever.

    Raises UsageError for a format that is not read, ModelDamaged for a file that cannot be.
    """
    found: dict[str, Any] = {}
    for name, named in index.items():
        if not name.startswith("text_encoder") or not isinstance(named, list):
            continue
        if not (folder / name / "config.json").is_file() or read_config(folder / name / "config.json").get(
            "quantization_config"  # of transformers' own, which it reads
        ):
            continue
        files = _files(folder / name, variant_of(folder))
        headers = {path: read_header(path) for path in files}
        if not any(map(_scales_in, headers.values())):
            continue
        for path, header in headers.items():
            check_scales(path, header)
        cls = getattr(transformers, str(named[1]), None)
        if named[0] != "transformers" or cls is None:
            raise UsageError(
                f"{folder / name} is in scaled fp8, which is not read for {named[1]}", "use it in bf16"
            )
        weights: Weights = {}
        for path, header in headers.items():
            read = read_scaled(path, header, dtype, in_8_bits=False)
            if both := sorted(weights.keys() & read.keys()):
                raise UsageError(
                    f"{path} and another file beside it both have {both[0]}",
                    "keep one of them; that of the scaled weights is best called model.safetensors",
                )
            weights |= read
        with fitting(next(iter(headers)), folder / name):
            config = cls.config_class.from_pretrained(folder / name, local_files_only=True)
            encoder, told = cls.from_pretrained(
                None, config=config, state_dict=weights, dtype=dtype, output_loading_info=True
            )
            lacking = sorted(told["missing_keys"])
            if lacking:
                raise ValueError(f"{len(lacking)} weights are missing, such as {lacking[0]}")
        found[name] = whole(encoder.eval())
    return found
