"""Copies among many pictures: re-encoded, of another size, or with a little cut off; by their layouts.

Two pictures are compared by the cosine of their layouts, after each number was set against how much it differs in
the whole collection: where all are landscapes, that all have a sky tells nothing. A crop shifts everything, so pairs
that are rather alike are compared again with a little cut off from either.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from hotfolder.similarity.layout import SIZE, Array, mean_colours, spread, telling

#: From here on two pictures are copies of each other. Measured: tools/measure_duplicates.py.
COPIES = 0.9
#: Pairs below are not looked at again with something cut off: so far does that part them, at most. Of one picture with
#: all others there are fewer.
_LIKELY, _LIKELY_OF_ONE = 0.5, 0.2
#: Pictures in general, of which so many are thought to lie beside those of the collection: few tell little.
_GENERAL = 1000
#: A picture with less in it than this share of what is usual is flat: hardly anything tells it from other flat ones.
_FLAT = 0.1
#: Levels of 0 to 255 by which the mean colours of copies may differ.
_COLOUR = 12.0
#: What may have been cut off, along each side: where the rest begins, and how much it is.
_CROPS = ((0.0, 1.0), (0.0, 0.95), (0.025, 0.95), (0.05, 0.95))
#: Rows that are compared with all others at a time.
_AT_ONCE = 512

#: Two of a collection, by their rows, and how alike they are.
Pairs = tuple[NDArray[np.intp], NDArray[np.intp], Array]


class Collection:
    """Pictures by their layouts: (n, 384) float32."""

    def __init__(self, layouts: Array) -> None:
        self._layouts = layouts
        count = len(layouts)
        seen = telling(layouts)
        self._mean: Array = seen.sum(axis=0) / np.float32(count + _GENERAL)
        apart = seen - self._mean
        differ = (apart.T @ apart + _GENERAL * np.diag(spread())) / (count + _GENERAL)
        sizes, axes = np.linalg.eigh(differ)
        self._axes: Array = (axes / np.sqrt(sizes)).astype(np.float32)
        rows = apart @ self._axes
        lengths = _lengths(rows)
        self._flat = np.float32(_FLAT * np.median(lengths)) if count else np.float32(1)
        self._rows = self._unit(rows, lengths)

    def alike(self, layout: Array) -> Array:
        """(n,): how alike each is to one more picture, -1 to 1; from COPIES on it is a copy."""
        mine = self._seen(telling(layout[None]))[0]
        found = self._rows @ mine
        near = np.flatnonzero(found >= _LIKELY_OF_ONE)
        again = self._compared_again(np.broadcast_to(layout, (len(near), SIZE)), self._layouts[near])
        found[near] = np.maximum(found[near], again)
        found[self._is_coloured_otherwise(layout[None], self._layouts)] = -1
        return found

    def copies(self, threshold: float = COPIES) -> Pairs:
        """(first, second, how alike) at or above a threshold of 0.5 to 1; first < second."""
        first, second, found = self._likely()
        same = ~self._is_coloured_otherwise(self._layouts[first], self._layouts[second])
        first, second, found = first[same], second[same], found[same]
        unsure = np.flatnonzero(found < threshold)
        for start in range(0, len(unsure), _AT_ONCE):
            some = unsure[start : start + _AT_ONCE]
            again = self._compared_again(self._layouts[first[some]], self._layouts[second[some]])
            found[some] = np.maximum(found[some], again)
        enough = found >= threshold
        return first[enough], second[enough], found[enough]

    def _likely(self) -> Pairs:
        """All pairs at or above _LIKELY."""
        parts: list[Pairs] = [(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32))]
        for start in range(0, len(self._rows), _AT_ONCE):
            block = self._rows[start : start + _AT_ONCE] @ self._rows[start:].T
            row, column = np.nonzero(block >= _LIKELY)
            later = column > row
            row, column = row[later], column[later]
            parts.append((row + start, column + start, block[row, column]))
        first, second, found = zip(*parts, strict=True)
        return np.concatenate(first), np.concatenate(second), np.concatenate(found)

    def _compared_again(self, ones: Array, others: Array) -> Array:
        """How alike they are when the same may have been cut off from either."""
        best = np.full(len(ones), -1, np.float32)
        for whole, part in ((ones, others), (others, ones)):
            seen = self._seen(telling(part))
            for top, left in itertools.product(_CROPS, _CROPS):
                rows = self._seen(telling(whole, top, left))
                np.maximum(best, np.einsum("ij,ij->i", rows, seen), out=best)
        return best

    def _seen(self, told: Array) -> Array:
        rows = np.asarray((told - self._mean) @ self._axes, np.float32)
        return self._unit(rows, _lengths(rows))

    def _unit(self, rows: Array, lengths: Array) -> Array:
        return np.asarray(rows / np.maximum(lengths, self._flat)[:, None], np.float32)

    def _is_coloured_otherwise(self, ones: Array, others: Array) -> NDArray[np.bool_]:
        apart = np.abs(mean_colours(ones) - mean_colours(others))
        found: NDArray[np.bool_] = apart.max(axis=1) > _COLOUR
        return found


def _lengths(rows: Array) -> Array:
    found: Array = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return found
