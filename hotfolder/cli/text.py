"""What is told at the end, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hotfolder.errors import HotfolderError


@contextmanager
def told_at_the_end(tell: Callable[[], None], *, as_json: bool) -> Iterator[None]:
    """Calls `tell` after the work, also after Ctrl-C or trouble: what is known by then is worth having.

    Not after trouble with `as_json`: then the error is the one document on stdout.
    """
    try:
        yield
    except HotfolderError:
        if not as_json:
            tell()
        raise
    except KeyboardInterrupt:
        tell()
        raise
    tell()
