"""Denoisers that are kept in fewer bits, in one file: what they are, from their headers alone. Needs no torch.

GGUF is ggml's format (github.com/ggml-org/ggml, docs/gguf.md), scaled fp8 that of ComfyUI in two spellings: each
weight in 8 bits has a number beside it, `<layer>.scale_weight` or `<layer>.weight_scale`, that it is multiplied with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hotfolder.errors import UsageError
from hotfolder.models.checkpoint import FLOATS, Header, unreadable

#: Endings of what stands beside a weight in 8 bits: what it is multiplied with, in the old spelling and in the new.
SCALES = (".scale_weight", ".weight_scale")
#: Endings of what belongs to multiplying in 8 bits, or only says that there are scales.
BESIDE = (".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
#: The types of GGUF that can be read, as it calls them.
_GGUF = {"F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "Q3_K", "Q2_K"}
_GGUF |= {"IQ4_NL", "IQ4_XS"}
_SCALED = ("float8_e4m3fn", "float8_e5m2")
_FIX = "use the model in bf16, fp8, ComfyUI's scaled fp8, or GGUF"


def is_gguf(path: Path) -> bool:
    return path.suffix.lower() == ".gguf"


def read_gguf_header(path: Path) -> Header:
    """Names, shapes and types of a file's tensors. Raises ModelDamaged, UsageError for types that are not read.

    It is read once, unless the file changes: loading asks for it many times.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    return _read_gguf_header(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_gguf_header(path: Path, _size: int, _mtime_ns: int) -> Header:
    from hotfolder.models.gguf_reader import Reader  # with NumPy, which takes its time

    try:
        reader = Reader(path)
        tensors = reader.tensors
        shapes = {str(tensor.name): tuple(int(n) for n in reversed(tensor.shape)) for tensor in tensors}
        dtypes = {str(tensor.name): str(tensor.tensor_type.name) for tensor in tensors}
        told = reader.get_field("general.architecture")
        metadata = {} if told is None else {"general.architecture": str(told.contents())}
    except Exception as error:  # noqa: BLE001 - of a damaged file it raises whatever comes
        raise unreadable(path, error) from None
    if other := sorted(set(dtypes.values()) - _GGUF):
        raise UsageError(
            f"{path} has weights of the type {other[0]}, which is not read", "use one in Q8_0, Q6_K, Q5_K or Q4_K"
        )
    if not shapes:
        raise unreadable(path, ValueError("there are no weights in it"))
    return Header(shapes, dtypes, metadata)


def check_scales(path: Path, header: Header) -> bool:
    """Whether some weights have scales. Raises UsageError, with its name, for a format that cannot be read."""
    for layer, told in _told(path, header):
        name = str(told.get("format"))
        if name not in _SCALED or told.get("convrot"):
            turned = " with rotated weights (convrot)" if told.get("convrot") else ""
            raise UsageError(f"{path} is quantised as {name}{turned}, which is not read: {layer}", _FIX)
    names = set(header.shapes)
    if any(name.endswith(".weight_scale_2") for name in names):
        raise UsageError(f"{path} is quantised as nvfp4, which is not read", _FIX)
    if any(name.endswith((".absmax", ".quant_map")) or "quant_state." in name for name in names):
        raise UsageError(f"{path} is quantised by bitsandbytes, which is not read as one file", _FIX)
    scaled = {name.removesuffix(end) for name in names for end in SCALES if name.endswith(end)}
    for layer in sorted(scaled):
        kept = header.dtypes.get(f"{layer}.weight", "nothing")
        if not kept.startswith("F8_"):
            raise UsageError(f"{path} has scales for weights in {kept}, which are not read: {layer}", _FIX)
    for name, dtype in header.dtypes.items():
        if dtype not in FLOATS and name.endswith(".weight"):
            raise UsageError(f"{path} has weights of the type {dtype}, which are not read: {name}", _FIX)
    return bool(scaled)


def _told(path: Path, header: Header) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Layers and what the file says of how each is kept: in its header, or beside the weights."""
    try:
        document = json.loads(header.metadata.get("_quantization_metadata", "{}"))
        yield from dict(document.get("layers") or {}).items()
        found = [name for name in header.shapes if name.endswith(".comfy_quant")]
        if found:
            from safetensors import safe_open

            with safe_open(path, framework="np") as file:
                for name in found:
                    text = bytes(file.get_tensor(name).tobytes()).rstrip(b"\0")
                    yield name.removesuffix(".comfy_quant"), dict(json.loads(text))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise unreadable(path, error) from None
