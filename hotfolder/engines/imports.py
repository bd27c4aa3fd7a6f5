"""Importing large libraries without looking for garbage meanwhile."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collection(*, keeps: bool = False) -> Iterator[None]:
    """For imports: they make some million objects, nearly all of which stay.

    To look for garbage among them again and again takes a fifth of the time that torch, transformers and diffusers
    need to be imported. With `keeps`, what there is at the end is left out of every later look, too: the first one
    would go through all of it, as would each that follows a model which is let go of. Only for a process that holds
    nothing yet that it will let go of: what refers to itself in a circle would stay for ever.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if keeps:
                gc.freeze()
            gc.enable()
