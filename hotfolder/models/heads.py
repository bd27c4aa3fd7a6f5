"""How wide a scorer's head is: for which encoder it was made. Reads no weights, needs no torch, and runs no code."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hotfolder.errors import HotfolderError
from hotfolder.models.checkpoint import read_header

#: The encoder that gives embeddings of so many numbers to heads that are named by their path.
ENCODER_OF = {768: "clip-vit-l-14", 1152: "siglip-so400m-384"}
#: Bytes of a head's pickle: it holds names and shapes.
_MOST_BYTES = 2**20


def encoder_for(path: Path) -> str:
    """The encoder that a head reads; where its file does not say, that of LAION's: the scorer says what is wrong."""
    return ENCODER_OF.get(_width(path), ENCODER_OF[768])


def _width(path: Path) -> int:
    """How many numbers its first layer reads; 0 where that is not known."""
    try:
        shapes = read_header(path).shapes if path.suffix.lower() == ".safetensors" else _shapes(path)
        return next((shape[1] for name, shape in shapes.items() if name.endswith("weight") and len(shape) == 2), 0)
    except (HotfolderError, OSError, ValueError, KeyError, zipfile.BadZipFile):
        return 0


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Those of the tensors in a file of torch.save. Raises ValueError for what is none; OSError."""
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
        if name is None or archive.getinfo(name).file_size > _MOST_BYTES:
            raise ValueError("it is no head")
        try:
            with archive.open(name) as file:
                found = _Shapes(file).load()
        except Exception as error:  # noqa: BLE001 - a pickle may raise anything, and a part that is locked, too
            raise ValueError(str(error)) from None
    return dict(_named(found))


def _named(found: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    state = found.get("state_dict", found) if isinstance(found, dict) else {}
    for name, shape in state.items() if isinstance(state, dict) else ():
        if isinstance(name, str) and isinstance(shape, tuple) and all(isinstance(size, int) for size in shape):
            yield name, shape


class _Shapes(pickle.Unpickler):
    """Has shapes in the place of tensors, and nothing in the place of all else: no code that it names is called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        return _shape if (module, name) == ("torch._utils", "_rebuild_tensor_v2") else _nothing

    def persistent_load(self, pid: Any) -> None:
        return None


def _shape(storage: Any, offset: int, size: tuple[int, ...], *rest: Any) -> tuple[int, ...]:
    return tuple(size)


def _nothing(*args: Any, **named: Any) -> None:
    return None
