"""What is black and what is white in a picture whose numbers do not say so: floating point, 32 bits, signed ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: So many values are looked at, of all that there are.
_LOOKED_AT = 4_000_000
#: More than this part of them beyond an end, and it is not the end; this part may lie beyond the one that is found.
_SOME, _FEW = 0.01, 0.001


def unit(values: NDArray[Any], white: float, nothing: float | None = None) -> NDArray[np.float32]:
    """To [0, 1]. 0 is black and `white` is white, as long as no more than one value in a hundred lies beyond.

    Else that end is where all but one in a thousand end. What is no number, or `nothing`, is black.
    """
    values = values.astype(np.float32 if values.dtype.itemsize <= 4 else np.float64, copy=False)
    known = np.isfinite(values) if nothing is None else np.isfinite(values) & (values != nothing)
    some = values.ravel()[:: max(1, values.size // _LOOKED_AT)]
    some = some[known.ravel()[:: max(1, values.size // _LOOKED_AT)]]
    low, high = 0.0, float(white)
    if some.size and np.mean(some > high) > _SOME:
        high = float(np.quantile(some, 1 - _FEW))
    if some.size and np.mean(some < low) > _SOME:
        low = float(np.quantile(some, _FEW))
    filled = np.where(known | (values == np.inf), values, low)
    return ((filled - low) / (high - low)).clip(0, 1).astype(np.float32)


def white_of(values: NDArray[Any]) -> float:
    """What is white: 1 in floating point; in whole numbers the most that 16 bits hold, or all of theirs."""
    if values.dtype.kind == "f":
        return 1.0
    most = float(np.iinfo(values.dtype).max)
    return min(most, 65535.0) if values.size and values.max() <= 65535 else most
