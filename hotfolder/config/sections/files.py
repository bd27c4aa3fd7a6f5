"""[settle], [watch] and [output]: how files are noticed, taken and written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hotfolder.config.sections.base import Seconds, Section
from hotfolder.core.litter import IGNORED_BY_DEFAULT


class SettleSettings(Section):
    """When a dropped file is taken."""

    quiet_seconds: Seconds = Field(
        0.5, description="Without a change, where the kernel tells that no program still has the file open."
    )
    quiet_seconds_without_lease: Seconds = Field(
        3.0, description="The same where it cannot tell (network file systems, files of other users)."
    )
    incomplete_grace_seconds: Seconds = Field(
        12.0, description="How long a file that is empty or looks damaged may still turn whole."
    )
    remove_empty_folders: bool = Field(
        False,
        description="Removes a sub-folder of an inbox when the last file of it has left. One that holds anything "
        "else, such as a hotfolder.toml, stays.",
    )


class WatchSettings(Section):
    """How files are noticed. Events only hasten it; the scan is what counts."""

    mode: Literal["auto", "events", "polling"] = Field(
        "auto",
        description="auto: by events, and by polling on network file systems, which tell none, and wherever events "
        "turn out to be missing. events or polling: that, whatever the file system.",
    )
    poll_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        2.0, description="Polling: every so often the inboxes are read. Huge ones less often."
    )

    rescan_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        30.0, description="Every so often inboxes and results are read, whatever the events say."
    )
    ignore: tuple[str, ...] = Field(
        IGNORED_BY_DEFAULT,
        description="Names of files and folders that are left alone (shell patterns, case ignored). A list of your "
        "own takes the place of this one.",
    )


class OutputSettings(Section):
    """The files that the line writes."""

    umask: str = Field(
        "",
        pattern=r"^(0?[0-7]{3})?$",
        description="Permissions that new files and folders do not get, as for umask(1): 022, 027, 002. Empty: as "
        "the process has it, and only you may read the database. 027 lets your group read that, too.",
    )
    rating: Literal["off", "sidecar", "lightroom", "in-place"] = Field(
        "off",
        description="Scores as stars (xmp:Rating: half the score, -1 for what is rejected): sidecar, a.png.xmp as "
        "digiKam and darktable read it; lightroom, a.xmp; in-place, in the files that hotfolder made, whose pixels "
        "stay (dropped files are never changed: they get a sidecar).",
    )
    min_free_mb: int = Field(
        512,
        ge=0,
        description="With less space than that on the disk, in MiB, nothing is begun: the queue waits until there "
        "is more.",
    )

    @property
    def readers(self) -> int:
        """Bits of a file's mode: who may read what is private, beside its owner."""
        return 0o044 & ~int(self.umask, 8) if self.umask else 0
