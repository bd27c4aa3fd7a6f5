"""Whether weights of a file fit the network that a folder describes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hotfolder.engines.device import is_out_of_memory
from hotfolder.errors import HotfolderError, UsageError


def whole(model: Any) -> Any:
    """diffusers leaves what it was not given without a value, and does not say so."""
    missing = [name for name, tensor in model.state_dict().items() if tensor.is_meta]
    if missing:
        raise ValueError(f"{len(missing)} weights of {type(model).__name__} are missing, such as {missing[0]}")
    return model


@contextmanager
def fitting(path: Path, folder: Path, usual: str | None = None) -> Iterator[None]:
    """Weights of other names or shapes than the configuration asks for fail in any way they like.

    `usual` is what a file is called whose folder nobody named.
    """
    try:
        yield
    except HotfolderError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = _reason(error)
        if usual is not None:
            message = f"{path} is no {usual} of the usual size, or is incomplete: {text}"
            raise UsageError(message, "name a base: a pipeline folder of the same architecture") from error
        raise UsageError(f"{path} does not fit {folder}: {text}", "name the folder it was made from") from error


def _reason(error: Exception) -> str:
    if isinstance(error, NotImplementedError) and "meta tensor" in str(error):  # one that got no value
        return "some of its weights are missing"
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    return " ".join(str(error).partition(". ")[0].split()) or type(error).__name__
