"""A move from one mount to another: copied, verified, and only then removed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import zlib
from io import BufferedRandom
from typing import BinaryIO

from hotfolder.files.identity import facts_of
from hotfolder.files.moves import fsync_handle, rename_noreplace
from hotfolder.files.regular import regular_from
from hotfolder.types import FileIdentity

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 2**20
#: Some file systems keep times in steps of so many nanoseconds (FAT).
_COARSEST = 2 * 10**9


def move_by_copying(src: str, dst: str, src_folder: int, dst_folder: int) -> None:
    """Copies a regular file as `copy_noreplace` does, and removes the old one. Raises the same."""
    copy_noreplace(src, dst, src_folder, dst_folder)
    try:
        os.unlink(src, dir_fd=src_folder)
    except OSError:
        os.unlink(dst, dir_fd=dst_folder)
        raise


def copy_noreplace(src: str, dst: str, src_folder: int, dst_folder: int) -> None:
    """Copies a regular file under a name of its own, makes it durable, and gives it its name: times and modes stay.

    The names are relative to the handles of folders. A crash at any moment leaves the file whole in one place or in
    both, where `is_copy` knows the second. Raises FileExistsError where `dst` exists, OSError (EBUSY) where the file
    changes meanwhile, and what reading and writing raise; then nothing of the copy is left.
    """
    partial = f".{zlib.crc32(os.fsencode(dst)):08x}.copy"
    with regular_from(os.open(src, _READ, dir_fd=src_folder), src) as source:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=dst_folder)  # of a crash
        before = facts_of(os.fstat(source.fileno()))
        try:
            with os.fdopen(os.open(partial, _WRITE, 0o600, dir_fd=dst_folder), "r+b") as target:
                _copy(source, target)
            if facts_of(os.fstat(source.fileno())) != before:
                raise OSError(errno.EBUSY, "it changed while it was copied", src)
            rename_noreplace(partial, dst, dst_folder, dst_folder)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(partial, dir_fd=dst_folder)
            raise
    try:
        fsync_handle(dst_folder)
    except OSError:
        os.unlink(dst, dir_fd=dst_folder)
        raise


def copy_attributes(source: int, target: int) -> None:
    """Owner, mode and extended attributes, of handles, as far as the file system and this user's rights go."""
    found = os.fstat(source)
    with contextlib.suppress(OSError):
        os.fchown(target, found.st_uid, found.st_gid)
    with contextlib.suppress(OSError):
        os.fchmod(target, found.st_mode & 0o7777)
    with contextlib.suppress(OSError):
        for name in os.listxattr(source):
            os.setxattr(target, name, os.getxattr(source, name))


def is_copy(wanted: FileIdentity | None, found: FileIdentity) -> bool:
    """Whether it is the file that is meant, or what `copy_noreplace` made of it: of the same size and time."""
    if wanted is None:
        return True
    if wanted.size is None or wanted.mtime_ns is None or found.mtime_ns is None:
        return wanted.inode == found.inode
    return wanted.size == found.size and abs(wanted.mtime_ns - found.mtime_ns) < _COARSEST


def _copy(source: BinaryIO, target: BufferedRandom) -> None:
    """Content, mode, times, and what else the file system takes. Raises OSError where the copy is another one."""
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        digest.update(block)
        target.write(block)
    target.flush()
    found = os.fstat(source.fileno())
    handle = target.fileno()
    copy_attributes(source.fileno(), handle)
    os.utime(handle, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.fsync(handle)
    target.seek(0)
    if hashlib.file_digest(target, "sha256").digest() != digest.digest():
        raise OSError(errno.EIO, "the copy is not what was copied")
