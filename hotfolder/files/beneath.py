"""What lies below a root, reached by handles of folders: no link that somebody puts there leads elsewhere.

A path is looked up part by part, each from the handle of the one before (openat(2), O_NOFOLLOW). So nobody who may
write into a sub-folder of an inbox can exchange a folder for a link between a look and a move.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import zlib
from collections import OrderedDict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Self

from hotfolder.files.copying import copy_attributes, copy_noreplace, move_by_copying
from hotfolder.files.identity import identity_from
from hotfolder.files.moves import fsync_handle, rename_noreplace
from hotfolder.files.regular import regular_from
from hotfolder.types import FileIdentity

_HANDLE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
#: Handles kept open at a time.
_MOST = 64
#: Folders that are synced at the same time.
_AT_ONCE = 8
#: Folder of which the sub-folders are top folders, too: inbox/score.
_PARENT_OF_TOP = "inbox"


class Beneath:
    """Looks at, opens and moves what lies below a root. Paths are relative to it, '/' between the parts.

    The root and its top folders (keep, inbox/score …) are their owner's and may be links; below them no link is
    followed: OSError with ELOOP for a folder that is one. Handles are kept until `close`, or the end of the context.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = os.fspath(root)
        self._handles: OrderedDict[str, int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forgets the handles: folders are looked up anew from now on."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def full(self, path: str) -> str:
        """The absolute path, for messages."""
        return f"{self._root}/{path}" if path else self._root

    def lstat(self, path: str) -> os.stat_result:
        """Raises FileNotFoundError, NotADirectoryError, and OSError (ELOOP) where a folder of it is a link."""
        folder, name = self._split(path)
        with self._named(path):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def lstat_folder(self, folder: str) -> os.stat_result:
        """Raises as `lstat`."""
        return os.fstat(self._split(f"{folder}/")[0])

    def identity(self, path: str) -> FileIdentity | None:
        """Which file it is; None where there is none, or none that can be reached without a link."""
        try:
            return identity_from(self.lstat(path))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise

    def exists(self, path: str) -> bool:
        """Whether anything has this name, a link to nowhere as well."""
        try:
            self.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def is_no_folder(self, path: str) -> bool:
        """Whether something that is no folder of ours has this name: a file, or a link below a top folder."""
        try:
            os.close(_open_folder(self._root, path, make=False))
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                return True
            raise
        return False

    def open(self, path: str) -> BinaryIO:
        """A regular file for reading. Raises as `files.regular.open_regular`, and OSError (ELOOP)."""
        folder, name = self._split(path)
        with self._named(path):
            try:
                handle = os.open(name, _READ, dir_fd=folder)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
                    raise OSError(errno.ENOTSUP, "it is no regular file") from None
                raise
            return regular_from(handle, self.full(path))

    def create(self, path: str) -> BinaryIO:
        """A new file for writing; folders that are missing are made. Raises FileExistsError, OSError."""
        folder, name = self._split(path, make=True)
        with self._named(path):
            return open(os.open(name, _WRITE, 0o666, dir_fd=folder), "wb")  # noqa: PTH123

    def rename(self, src: str, dst: str) -> bool:
        """Moves a file; raises FileExistsError where `dst` is taken. Folders of `dst` that are missing are made.

        From one mount to another it is copied, and removed when the copy is durable; whether that was so.
        """
        with self._named(src, dst):
            into, new = self._split(dst, make=True)
            folder, name = self._split(src)
            try:
                rename_noreplace(name, new, folder, into)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                move_by_copying(name, new, folder, into)
                return True
        return False

    def take_group(self, path: str, dst: str) -> None:
        """Gives a file of our own the group of the folder that it is about to be moved to, where that is setgid.

        A file that is made there gets it by itself; one that is moved keeps the group that it has. Where this user is
        not in that group, it stays as it is. Raises OSError where either is not there.
        """
        into, _ = self._split(dst, make=True)
        folder, name = self._split(path)
        with self._named(path):
            wanted = os.fstat(into)
            has = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not wanted.st_mode & stat.S_ISGID or wanted.st_gid == has.st_gid or not stat.S_ISREG(has.st_mode):
                return
            with contextlib.suppress(PermissionError):
                os.chown(name, -1, wanted.st_gid, dir_fd=folder, follow_symlinks=False)

    def copy_out(self, src: str, target: Path) -> None:
        """Copies a file elsewhere, with its times and mode; folders that are missing are made.

        Raises FileExistsError where `target` is taken, and OSError.
        """
        folder, name = self._split(src)
        target.parent.mkdir(parents=True, exist_ok=True)
        into = os.open(target.parent, _HANDLE)
        try:
            with self._named(src):
                copy_noreplace(name, target.name, folder, into)
        finally:
            os.close(into)

    def is_same_content(self, one: str, other: str) -> bool:
        """Whether two regular files hold the same bytes. Raises as `open`."""
        digests = []
        for path in (one, other):
            with self.open(path) as file:
                digests.append(hashlib.file_digest(file, "sha256").digest())  # type: ignore[arg-type]
        return digests[0] == digests[1]

    def replace(self, src: str, dst: str) -> None:
        """Moves a file into the place of another one."""
        folder, name = self._split(src)
        into, new = self._split(dst)
        with self._named(src, dst):
            os.replace(name, new, src_dir_fd=folder, dst_dir_fd=into)

    def unlink(self, path: str) -> None:
        folder, name = self._split(path)
        with self._named(path), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)

    def rmdir(self, folder: str) -> None:
        """Removes an empty folder. Raises OSError where it is not empty, or may not be removed."""
        above, name = self._split(folder)
        with self._named(folder):
            os.rmdir(name, dir_fd=above)

    def write(
        self,
        path: str,
        content: str | bytes,
        *,
        like: bool = False,
        instead_of: FileIdentity | None = None,
        durable: bool = True,
    ) -> None:
        """Writes a file so that it is there whole or not at all, and durable; replaces one of the same name.

        `like`: with the owner, mode and attributes of the old one, as far as this user may give them. `instead_of`:
        only in the place of this very file; raises OSError (EBUSY) where it has been changed.
        """
        folder, name = self._split(path, make=True)
        partial = f".{zlib.crc32(os.fsencode(name)):08x}.partial"  # never too long a name
        with self._named(path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial, dir_fd=folder)
            try:
                with open(os.open(partial, _WRITE, 0o666, dir_fd=folder), "wb") as file:  # noqa: PTH123
                    if like:
                        _take_after(folder, name, file.fileno())
                    file.write(content.encode() if isinstance(content, str) else content)
                    file.flush()
                    if durable:
                        os.fsync(file.fileno())
                if instead_of is not None and identity_from(os.stat(name, dir_fd=folder)) != instead_of:
                    raise OSError(errno.EBUSY, "it is being changed by somebody")
                os.replace(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(partial, dir_fd=folder)
                raise
            if durable:
                fsync_handle(folder)

    def fsync(self, folders: Collection[str]) -> None:
        """Makes the names in these folders durable, at the same time: the file system may do it in one go."""
        handles = []
        try:
            for folder in folders:
                # One that is gone has nothing to be made durable: its names are in another by now.
                with contextlib.suppress(FileNotFoundError):
                    handles.append(_open_folder(self._root, folder, make=False))
            if len(handles) < 2:
                for handle in handles:
                    fsync_handle(handle)
            else:
                with ThreadPoolExecutor(min(len(handles), _AT_ONCE)) as pool:
                    for _ in pool.map(fsync_handle, handles):
                        pass
        finally:
            for handle in handles:
                os.close(handle)

    def _split(self, path: str, *, make: bool = False) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        handle = self._handles.get(folder)
        if handle is None:
            handle = _open_folder(self._root, folder, make=make)
            self._handles[folder] = handle
            if len(self._handles) > _MOST:
                os.close(self._handles.popitem(last=False)[1])
        else:
            self._handles.move_to_end(folder)
        return handle, name

    @contextlib.contextmanager
    def _named(self, path: str, other: str | None = None) -> Iterator[None]:
        """Errors name the whole path, not a name in some folder."""
        try:
            yield
        except OSError as error:
            second = None if other is None else self.full(other)
            raise type(error)(error.errno, error.strerror, self.full(path), None, second) from None


_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def _take_after(folder: int, name: str, target: int) -> None:
    try:
        source = os.open(name, _READ, dir_fd=folder)
    except PermissionError:
        os.fchmod(target, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode & 0o777)
        return
    try:
        copy_attributes(source, target)
    finally:
        os.close(source)


def open_below(root: str | Path, path: Path) -> BinaryIO:
    """One file, whose absolute path begins with the root's. Raises as `Beneath.open`."""
    with Beneath(root) as beneath:
        return beneath.open(str(path.relative_to(root)))


def open_folder(root: str | Path, folder: str) -> int:
    """A handle to list a folder with (os.scandir). Raises OSError, with ELOOP where it, or one above, is a link."""
    handle = _open_folder(os.fspath(root), folder, make=False)
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=handle)
    finally:
        os.close(handle)


def _open_folder(root: str, folder: str, *, make: bool) -> int:
    parts = folder.split("/") if folder else []
    top = 2 if parts[:1] == [_PARENT_OF_TOP] else 1
    start = "/".join([root, *parts[:top]])
    try:
        handle = os.open(start, _HANDLE)
    except FileNotFoundError:
        if not make:
            raise
        Path(start).mkdir(parents=True, exist_ok=True)
        handle = os.open(start, _HANDLE)
    for number, part in enumerate(parts[top:], top + 1):
        try:
            below = _step(handle, part, make=make)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, "/".join([root, *parts[:number]])) from None
        finally:
            os.close(handle)
        handle = below
    return handle


def _step(handle: int, part: str, *, make: bool) -> int:
    if part in ("", ".", ".."):
        raise OSError(errno.ELOOP, "it leads out of its folder")
    try:
        return os.open(part, _HANDLE | os.O_NOFOLLOW, dir_fd=handle)
    except FileNotFoundError:
        if not make:
            raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, dir_fd=handle)
        return os.open(part, _HANDLE | os.O_NOFOLLOW, dir_fd=handle)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(part, dir_fd=handle, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, "it is a link, and links are not followed there") from None
        raise
