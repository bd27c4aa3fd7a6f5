"""The models of a node: which of them are those that the daemon means, and those that are sent there.

A host calls none of this itself: its link does, in a thread beside the one that works, because files are read here.
Errors are told, not raised: no type of Ray's or ours has to cross as an exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hotfolder.executors.carrying import as_error
from hotfolder.models.contents import Content, Presence, presence
from hotfolder.models.receive import Receiver, received_tastes
from hotfolder.models.registry import Catalogue
from hotfolder.types import ErrorInfo


class NodeModels:
    """What a host has to do with models. It knows nothing of Ray."""

    def __init__(self) -> None:
        self._receivers: dict[str, Receiver] = {}  # by the identity of what comes

    def compare(
        self, contents: Sequence[Content], folders: Sequence[str], entries: Sequence[Mapping[str, Any]]
    ) -> list[tuple[Presence, str]]:
        """Of each content whether it is here, and a sentence where it is not. Folders and entries: of the settings."""
        catalogue = Catalogue(folders, entries, received_tastes())
        return [presence(content, catalogue) for content in contents]

    def receive(self, content: Content) -> list[int] | ErrorInfo:
        """Begins to take a model; how many bytes of each of its files are here already."""
        self.leave_off(content.identity)
        try:
            receiver = self._receivers[content.identity] = Receiver(content)
        except Exception as error:  # noqa: BLE001 - the edge of this process
            return as_error(error)
        return receiver.had

    def take(self, identity: str, number: int, offset: int, data: Any) -> ErrorInfo | None:
        """A piece of one of its files."""
        try:
            self._receivers[identity].write(number, offset, memoryview(data))
        except Exception as error:  # noqa: BLE001 - the edge of this process
            return as_error(error)
        return None

    def received(self, identity: str) -> ErrorInfo | None:
        """All of it was sent."""
        try:
            self._receivers[identity].finish()
        except Exception as error:  # noqa: BLE001 - the edge of this process
            return as_error(error)
        return None

    def leave_off(self, identity: str) -> None:
        """It is over, or not sent any further."""
        receiver = self._receivers.pop(identity, None)
        if receiver is not None:
            receiver.close()
