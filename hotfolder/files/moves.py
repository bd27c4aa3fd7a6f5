"""Moving files so that none is overwritten and none is lost to a power cut."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function


def rename_noreplace(
    src: str | Path, dst: str | Path, src_folder: int = _AT_FDCWD, dst_folder: int = _AT_FDCWD
) -> None:
    """Renames atomically; raises FileExistsError where `dst` exists (renameat2(2), RENAME_NOREPLACE).

    The names are relative to the handles of folders, if these are given. Where the file system does not know the
    flag: a hard link, then the old name is removed. Where it has no hard links either: the name is reserved by an
    empty file, which is replaced.
    """
    function = _renameat2()
    if function is not None:
        if function(src_folder, os.fsencode(src), dst_folder, os.fsencode(dst), _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code), str(src), None, str(dst))
    handles = {
        "src_dir_fd": None if src_folder == _AT_FDCWD else src_folder,
        "dst_dir_fd": None if dst_folder == _AT_FDCWD else dst_folder,
    }
    try:
        os.link(src, dst, **handles, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    else:
        os.unlink(src, dir_fd=handles["src_dir_fd"])
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(dst, flags, 0o600, dir_fd=handles["dst_dir_fd"]))
    try:
        os.rename(src, dst, **handles)  # noqa: PTH104 - of handles
    except OSError:
        os.unlink(dst, dir_fd=handles["dst_dir_fd"])
        raise


def fsync_folder(folder: str | Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_handle(folder: int) -> None:
    """The same of a folder's handle, which need not be readable itself."""
    handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
