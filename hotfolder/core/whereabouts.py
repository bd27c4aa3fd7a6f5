"""Which of the files that lie in the folders are known images, whatever a person has called them since.

A file is known by its place and what the file system says of it; else by its inode number; else by its content. One
that lies where it is expected is never read. A copy is another file, and so is one that was edited.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from hotfolder.types import FileIdentity, Sighting


@dataclass(frozen=True, slots=True)
class Known:
    """A file of an image, as the ledger has it."""

    id: int
    path: str  # relative to the root; of one that is gone, where it was last
    identity: FileIdentity | None  # None: not known
    is_gone: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """One whose file is not where it was, and what is known of its content."""

    id: int
    path: str
    size: int | None  # bytes; None: not known
    digests: Collection[str]  # sha256; two where its file was about to be written anew
    is_gone: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """`in_place` were only not known so well before; `moved` are known by inode; both by the image's id."""

    in_place: dict[int, Sighting] = field(default_factory=dict)
    moved: dict[int, Sighting] = field(default_factory=dict)
    missing: list[Known] = field(default_factory=list)
    unknown: dict[str, Sighting] = field(default_factory=dict)  # files that are no known image's, by path


def compare(known: Iterable[Known], found: Mapping[str, Sighting], device: int) -> Compared:
    """What lies in the folders, against what should. `device`: of the root; elsewhere inodes tell nothing.

    Of several images with the same place the newest has it: it came when the older one had left.
    """
    compared = Compared(unknown=dict(found))
    unknown = compared.unknown
    elsewhere, gone = [], []
    for each in sorted(known, key=lambda each: -each.id):
        there = unknown.get(each.path)
        if each.is_gone:
            gone.append(each)
        elif there is not None and each.identity is not None and _is_same(each.identity, there, device):
            del unknown[each.path]
        else:
            elsewhere.append(each)
    numbers = {each.identity.inode for each in elsewhere if each.identity is not None}
    candidates = []
    for each in elsewhere:
        there = unknown.get(each.path)
        if there is not None and _may_be(each.identity, there, numbers):
            compared.in_place[each.id] = unknown.pop(each.path)
        else:
            candidates.append(each)
    by_number: dict[int, list[Sighting]] = {}
    for there in unknown.values():
        if there.inode and there.device == device:
            by_number.setdefault(there.inode, []).append(there)
    for each in (*candidates, *gone):
        names = by_number.get(each.identity.inode, []) if each.identity else []
        same = [there for there in names if each.identity and _is_as(each.identity, there)]
        if same:
            best = min(same, key=lambda there: _likeness(each.path, there.path))
            names.remove(best)
            compared.moved[each.id] = unknown.pop(best.path)
        else:
            compared.missing.append(each)
    return compared


def to_be_read(missing: Sequence[Missing], unknown: Mapping[str, Sighting]) -> list[str]:
    """The unknown files that may be one of the missing ones, by their size: their content has to be looked at."""
    if not missing or not unknown:
        return []
    sizes = {each.size for each in missing}
    own = {each.path for each in missing if len(each.digests) > 1}
    if None in sizes:
        return sorted(unknown)
    return sorted(path for path, there in unknown.items() if there.size in sizes or path in own)


def recognise(missing: Sequence[Missing], contents: Mapping[str, str]) -> dict[int, str]:
    """Missing images by id -> the path of a file with their content. `contents`: path -> sha256 of unknown files.

    Each file is one image's. Of several the one that is called most alike; those that left last choose first.
    """
    by_digest: dict[str, list[str]] = {}
    for path, digest in contents.items():
        by_digest.setdefault(digest, []).append(path)
    found: dict[int, str] = {}
    for each in sorted(missing, key=lambda each: (each.is_gone, -each.id)):
        options = [path for digest in each.digests for path in by_digest.get(digest, ())]
        if options:
            best = min(options, key=lambda path: _likeness(each.path, path))
            found[each.id] = best
            by_digest[contents[best]].remove(best)
    return found


def _is_same(identity: FileIdentity, there: Sighting, device: int) -> bool:
    same_number = identity.inode == there.inode or 0 in (identity.inode, there.inode) or there.device != device
    return same_number and _is_as(identity, there)


def _may_be(identity: FileIdentity | None, there: Sighting, numbers: Collection[int]) -> bool:
    """Whether a file in the place of an image is taken for its own: unless it is one of the others, exchanged."""
    return identity is None or (_is_as(identity, there) and there.inode not in numbers)


def _is_as(identity: FileIdentity, there: Sighting) -> bool:
    return (identity.size, identity.mtime_ns) == (there.size, there.mtime_ns)


def _likeness(before: str, now: str) -> tuple[bool, bool, bool, str]:
    """To be sorted by: the same path first, then the same name, then the same folder."""
    old, new = PurePosixPath(before), PurePosixPath(now)
    return before != now, old.name != new.name, old.parent != new.parent, now
