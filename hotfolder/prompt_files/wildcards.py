"""The lists of wildcards/: texts that prompts name as `__colours__`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hotfolder.errors import PromptSyntax
from hotfolder.files.regular import read_at_most
from hotfolder.folders.layout import Layout
from hotfolder.prompt_files.reading import read_text

#: A list is text that people write: more than this is something else.
_MOST_BYTES = 4 << 20


class WildcardLists:
    """Reads each list when it is asked for the first time; make a new one for each prompt file."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.wildcards
        self._known: dict[str, Sequence[str] | None] = {}

    def __call__(self, name: str) -> Sequence[str] | None:
        """The texts of `wildcards/<name>.txt`, one a line, without blanks and comments; None where there is none.

        Raises PromptSyntax for a list that cannot be read.
        """
        if name not in self._known:
            self._known[name] = self._read_all(name) if re.search(r"[*?]", name) else self._read(name)
        return self._known[name]

    def _read_all(self, pattern: str) -> Sequence[str] | None:
        """The texts of all lists that a pattern means, each text once, in order."""
        root = self._folder
        paths = sorted(root.glob(f"{pattern}.txt"))
        names = [path.relative_to(root).as_posix().removesuffix(".txt") for path in paths]
        found = [text for name in names for text in self(name) or ()]
        return sorted(dict.fromkeys(found)) if names else None

    def _read(self, name: str) -> Sequence[str] | None:
        path, shown = self._folder / f"{name}.txt", f"wildcards/{name}.txt"
        try:
            data = read_at_most(path, _MOST_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PromptSyntax(f"{shown} cannot be read: {error.strerror}", "let this user read it") from None
        if data is None:
            raise PromptSyntax(f"{shown} is larger than {_MOST_BYTES >> 20} MiB", "split it")
        lines = [line.strip() for line in read_text(shown, data).split("\n")]
        return [line for line in lines if line and not line.startswith("#")]
