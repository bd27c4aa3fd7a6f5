"""Where things lie below the root."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hotfolder.types import Kind

KEEP, REJECT, UPSCALED, FAILED, ARCHIVE = "keep", "reject", "upscaled", "failed", "archive"
INBOX = "inbox"
#: Marks a root, and holds what is not for people.
PRIVATE = ".hotfolder"
#: Every folder that a root works on.
OF_A_ROOT = (INBOX, KEEP, REJECT, UPSCALED, FAILED, ARCHIVE, PRIVATE)
#: Generated images wait here for their score.
UNSCORED = ".hotfolder/unscored"
#: Where a file lies while it arrives from the gallery.
ARRIVING = ".hotfolder/arriving"


def inbox_of(source_file: str | None) -> str | None:
    """The inbox that an image came from, if that is known."""
    parts = str(source_file or "").split("/")
    return parts[1] if len(parts) > 2 and parts[0] == INBOX else None


@dataclass(frozen=True)
class Layout:
    """The folders of one root. Paths in the ledger are relative to it, with '/' between the parts."""

    root: Path

    @cached_property
    def database(self) -> Path:
        return self.root / "hotfolder.db"

    @cached_property
    def private(self) -> Path:
        return self.root / PRIVATE

    @cached_property
    def staging(self) -> Path:
        return self.private / "staging"

    @cached_property
    def lock(self) -> Path:
        return self.private / "lock"

    @cached_property
    def control(self) -> Path:
        """What people want of the daemon; see hotfolder.control."""
        return self.private / "control"

    @cached_property
    def wildcards(self) -> Path:
        """Lists of texts that prompts name; people make it when they want any."""
        return self.root / "wildcards"

    @cached_property
    def hold(self) -> Path:
        """That a person wants nothing to be begun."""
        return self.private / "hold.json"

    @cached_property
    def tastes(self) -> Path:
        """What was learnt of a person; see hotfolder.taste."""
        return self.private / "taste"

    @cached_property
    def drained(self) -> Path:
        """The devices that a person wants to be given nothing."""
        return self.private / "drained.json"

    @cached_property
    def probe(self) -> Path:
        """By this another machine is known to see the root."""
        return self.private / "probe"

    @cached_property
    def thumbnails(self) -> Path:
        """Small pictures of results, by their content; they may be removed at any time."""
        return self.private / "thumbnails"

    @cached_property
    def last_read(self) -> Path:
        """Which file the daemon reads itself just now."""
        return self.private / "reading.json"

    @cached_property
    def live_status(self) -> Path:
        """What the daemon is doing right now, for `status`; nothing depends on it."""
        return self.private / "status.json"

    def inbox(self, name: str) -> Path:
        """An inbox by the name of its folder: a Kind, or one of the configuration's."""
        return self.root / INBOX / name

    def claim_folder(self, job_id: int, claim: int) -> Path:
        """The staging folder of one claim of one job."""
        return self.staging / str(job_id) / str(claim)

    def make(self, inboxes: Iterable[str] = tuple(Kind)) -> None:
        """Makes every folder that is missing."""
        for name in inboxes:
            self.inbox(name).mkdir(parents=True, exist_ok=True)
        for name in (KEEP, REJECT, UPSCALED, FAILED, ARCHIVE, UNSCORED):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.staging.mkdir(parents=True, exist_ok=True)
        self.control.mkdir(parents=True, exist_ok=True)
