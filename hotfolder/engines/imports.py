"""Importing large libraries without looking for garbage meanwhile."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """For imports: they make some million objects, nearly all of which stay.

    To look for garbage among them again and again takes a fifth of the time that torch, transformers and diffusers
    need to be imported.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
