"""Text encoders of a pipeline folder in GGUF (gguf_encoder.py), and in ComfyUI's scaled fp8, such as
t5xxl_fp8_e4m3fn_scaled: as their weights are.

transformers would take each weight of the latter without the number that it is multiplied with, and say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from hotfolder.engines.generation.denoiser_file import Weights, read_scaled
from hotfolder.engines.generation.fitting import fitting, whole
from hotfolder.engines.generation.gguf_encoder import read_gguf
from hotfolder.errors import UsageError
from hotfolder.models.checkpoint import Header, read_header
from hotfolder.models.family import read_config, variant_of
from hotfolder.models.quantised import SCALES, check_scales
from hotfolder.models.text_encoders import files_in, placed

#: Endings of names by which such a file is known.
_MARKS = (*SCALES, ".comfy_quant")


def has_scales(path: Path) -> bool:
    """Whether this file has weights of 8 bits with scales, which take twice as much once they are read."""
    return _scales_in(read_header(path))


def _scales_in(header: Header) -> bool:
    return any(name.endswith(_MARKS) for name in header.shapes)


def read_encoders(
    folder: Path, index: Mapping[str, Any], dtype: torch.dtype, files: Sequence[Path] = ()
) -> dict[str, Any]:
    """Those of a pipeline folder that are in GGUF, or whose weights have scales, by their names in it.

    The others are read as ever. `files` are GGUF files beside it, each in the place of a part that it is like.
    Raises UsageError for a format that is not read, ModelDamaged for a file that cannot be.
    """
    found: dict[str, Any] = {}
    in_gguf = placed(folder, files)
    for name, named in index.items():
        if not name.startswith("text_encoder") or not isinstance(named, list):
            continue
        if name in in_gguf:
            found[name] = read_gguf(in_gguf[name], _class_of(folder / name, named, "GGUF"), folder / name, dtype)
            continue
        if not (folder / name / "config.json").is_file() or read_config(folder / name / "config.json").get(
            "quantization_config"  # of transformers' own, which it reads
        ):
            continue
        headers = {path: read_header(path) for path in files_in(folder / name, variant_of(folder))}
        if not any(map(_scales_in, headers.values())):
            continue
        for path, header in headers.items():
            check_scales(path, header)
        cls = _class_of(folder / name, named, "scaled fp8")
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


def _class_of(part: Path, named: Sequence[Any], what: str) -> Any:
    cls = getattr(transformers, str(named[1]), None) if named[0] == "transformers" else None
    if cls is None:
        raise UsageError(f"{part} is in {what}, which is not read for {named[1]}", "use it in bf16")
    return cls
