"""Pictures by how near their embeddings are to one more."""

from __future__ import annotations

import numpy as np

from hotfolder.similarity.layout import Array


def cosines(rows: Array, one: Array) -> Array:
    """(n,) in -1 to 1, of (n, d) and (d,). What is nothing but zeros is like nothing."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows)) * np.float32(np.linalg.norm(one))
    found: Array = (rows @ one) / np.maximum(lengths, np.float32(1e-12))
    return found
