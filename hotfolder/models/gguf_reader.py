"""Reads GGUF without what its tokenizer needs: of 300,000 words gguf's own reader makes objects, which takes seconds.

Brings NumPy, so it is imported where a file is read.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFValueType

_HEAD, _LENGTH = struct.Struct("=IQ"), struct.Struct("=Q")


class Reader(GGUFReader):
    """As gguf's, but that fields which are lists have no values."""

    def _get_field_parts(
        self, orig_offs: int, raw_type: int
    ) -> tuple[int, list[np.typing.NDArray[Any]], list[int], list[GGUFValueType]]:
        if raw_type != GGUFValueType.ARRAY or self.byte_order != "I":  # written on another kind of machine
            return super()._get_field_parts(orig_offs, raw_type)
        view = self.data.data
        kind, count = _HEAD.unpack_from(view, orig_offs)
        at = orig_offs + _HEAD.size
        if kind == GGUFValueType.STRING:
            for _ in range(count):
                at += _LENGTH.size + _LENGTH.unpack_from(view, at)[0]
        elif (scalar := self.gguf_scalar_to_np.get(GGUFValueType(kind))) is not None:
            at += count * np.dtype(scalar).itemsize
        else:
            return super()._get_field_parts(orig_offs, raw_type)
        if at > len(view):
            raise ValueError("it ends within a list")
        return at - orig_offs, [], [], [GGUFValueType.ARRAY]
