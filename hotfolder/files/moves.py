"""Moving files so that none is overwritten and none is lost to a power cut."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import zlib
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
#: Folders that are synced at the same time.
_AT_ONCE = 8


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function


def rename_noreplace(src: str | Path, dst: str | Path) -> None:
    """Renames atomically; raises FileExistsError where `dst` exists (renameat2(2), RENAME_NOREPLACE).

    Where the file system does not know the flag: a hard link, then the old name is removed.
    """
    function = _renameat2()
    if function is not None:
        if function(_AT_FDCWD, os.fsencode(src), _AT_FDCWD, os.fsencode(dst), _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code), str(src), None, str(dst))
    os.link(src, dst, follow_symlinks=False)
    Path(src).unlink()


def fsync_folder(folder: str | Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_folders(folders: Collection[str | Path]) -> None:
    """The same for several, at the same time: the file system may do it in one go."""
    if len(folders) < 2:
        for folder in folders:
            fsync_folder(folder)
        return
    with ThreadPoolExecutor(min(len(folders), _AT_ONCE)) as pool:
        for _ in pool.map(fsync_folder, folders):
            pass


def write_durably(path: Path, text: str) -> None:
    """Writes a small file so that it is there whole or not at all, replacing one of the same name."""
    partial = path.with_name(f".{zlib.crc32(os.fsencode(path.name)):08x}.partial")  # never too long a name
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    fsync_folder(path.parent)
