"""Which file it is, whatever it is called."""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

from hotfolder.files.filesystem import has_lasting_inodes
from hotfolder.types import FileIdentity, Sighting

#: What the ledger's numbers hold.
IN_64_BITS = range(-(2**63), 2**63)


class Facts(NamedTuple):
    """What a file system says of a file, in numbers that the ledger holds."""

    size: int  # bytes
    mtime_ns: int
    inode: int  # 0 where the file system may number the same file anew: then size and time tell which one it is
    device: int


def facts_of(found: os.stat_result) -> Facts:
    """The same from wherever it is asked, so that it can be compared: the only place that cuts numbers down.

    A time before 1677 or after 2262, in nanoseconds, has more than 64 bits: it becomes the first, or the last, that
    fits. Inodes and devices of 64 bits keep them all; the highest stands for the sign.
    """
    mtime_ns = min(max(found.st_mtime_ns, IN_64_BITS.start), IN_64_BITS[-1])
    inode = _signed(found.st_ino) if has_lasting_inodes(found.st_dev) else 0
    return Facts(found.st_size, mtime_ns, inode, _signed(found.st_dev))


def identity_from(found: os.stat_result) -> FileIdentity:
    facts = facts_of(found)
    return FileIdentity(facts.inode, facts.size, facts.mtime_ns)


def _signed(number: int) -> int:
    return number if number < 2**63 else number - 2**64


def is_same(wanted: FileIdentity | None, found: FileIdentity) -> bool:
    """Whether it is the file that is meant. An inode alone may have been given to another file since."""
    if wanted is None:
        return True
    return (
        (wanted.inode == found.inode or 0 in (wanted.inode, found.inode))
        and wanted.size in (None, found.size)
        and wanted.mtime_ns in (None, found.mtime_ns)
    )


def is_as_seen(wanted: Sighting, file: BinaryIO) -> bool:
    """Whether an open file is the one that was seen, on the same device."""
    return facts_of(os.fstat(file.fileno())) == (wanted.size, wanted.mtime_ns, wanted.inode, wanted.device)
