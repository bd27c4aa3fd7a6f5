"""Which formula each image is judged by, where the taste of its inbox is in it, or is what the gate looks at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.config.settings import Settings
from hotfolder.core import tastes
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout, inbox_of
from hotfolder.taste.in_use import InUse
from hotfolder.taste.reports import offered
from hotfolder.types import Kind


@dataclass(frozen=True, slots=True)
class Wanted:
    """A formula of scorers and heads. `is_gate`: the gate looks at it by the configuration."""

    text: str
    is_gate: bool


class Formulas:
    """`of_command`: the command names the scorer, and nothing takes its place."""

    def __init__(self, layout: Layout, configured: Settings, settings: Settings, *, of_command: bool) -> None:
        self._layout = layout
        self._configured = configured
        self._settings = settings
        self._of_command = of_command
        self._in_use = InUse(layout.root)
        self._known: dict[str | None, Wanted | None] = {}

    def divided(
        self, rows: Iterable[Mapping[str, Any]]
    ) -> Iterator[tuple[Wanted | None, list[Mapping[str, Any]]]]:
        """Images by the formula that judges them; None: taste is asked for, and none is known of their inbox."""
        found: dict[Wanted | None, list[Mapping[str, Any]]] = {}
        for row in rows:
            inbox = inbox_of(row["source_file"])
            if inbox not in self._known:
                self._known[inbox] = self._of(inbox)
            found.setdefault(self._known[inbox], []).append(row)
        yield from found.items()

    def _of(self, inbox: str | None) -> Wanted | None:
        used = self._in_use.head(inbox) if inbox is not None else None
        of_gate = self._configured.judging(used)
        if not self._of_command:
            return Wanted(of_gate, True)
        if not tastes.mentions(self._settings.formula):
            text = self._settings.formula
        else:
            head = used or (offered(self._layout, inbox) if inbox is not None else None)
            if head is None:
                return None
            text = self._settings.judging(head)
        return Wanted(text, text == of_gate)


def formula_for(root: Path | None, settings: Settings, inbox: str, *, of_command: bool) -> str:
    """What files are judged by that go through no queue: as if they had come to this inbox.

    Raises UsageError where the command asks for taste, and none is known of it.
    """
    if root is None:
        head = None
    else:
        used = InUse(root).head(inbox)
        asked = of_command and tastes.mentions(settings.formula)
        head = (used or offered(Layout(root), inbox)) if asked else None if of_command else used
    if head is None and of_command and tastes.mentions(settings.formula):
        raise UsageError(f"no taste is known of inbox/{inbox}", "see: hotfolder taste status")
    return settings.default_model(Kind.SCORE) if head is None else settings.judging(head)
