"""The lists of wildcards/: texts that prompts name as `__colours__`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hotfolder.files.regular import read_at_most
from hotfolder.folders.layout import Layout

log = logging.getLogger(__name__)
#: A list is text that people write: more than this is something else.
_MOST_BYTES = 4 << 20


class WildcardLists:
    """Reads each list when it is asked for the first time; make a new one for each prompt file."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.wildcards
        self._known: dict[str, Sequence[str] | None] = {}

    def __call__(self, name: str) -> Sequence[str] | None:
        """The texts of `wildcards/<name>.txt`, one a line, without blanks and comments; None where there is none."""
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name: str) -> Sequence[str] | None:
        path = self._folder / f"{name}.txt"
        try:
            data = read_at_most(path, _MOST_BYTES)
            if data is None:
                raise ValueError(f"larger than {_MOST_BYTES >> 20} MiB")
            lines = [line.strip() for line in data.decode("utf-8-sig").split("\n")]
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read: %s", path, error)
            return None
        return [line for line in lines if line and not line.startswith("#")]
