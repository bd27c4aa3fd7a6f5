"""What lies below a root is reached without any link; a move overwrites nothing on any file system."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hotfolder.files import beneath as module
from hotfolder.files import filesystem, moves
from hotfolder.files.beneath import Beneath, open_folder
from hotfolder.files.durable import write_durably
from hotfolder.files.identity import identity_from, is_same
from hotfolder.types import FileIdentity


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """Somebody's folder, which nothing below the root may lead to."""
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"secret")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("root/inbox/score/sub", "root/keep/sub"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "root/inbox/score/sub/b.png").write_bytes(b"mine")
    return tmp_path / "root"


def exchange(folder: Path, private: Path) -> None:
    folder.rename(folder.with_name("aside"))
    folder.symlink_to(private)


@pytest.mark.parametrize(
    "use",
    [
        lambda beneath: beneath.lstat("inbox/score/sub/a.png"),
        lambda beneath: beneath.open("inbox/score/sub/a.png"),
        lambda beneath: beneath.rename("inbox/score/sub/a.png", "keep/a.png"),
        lambda beneath: beneath.rename("keep/c.png", "inbox/score/sub/c.png"),
        lambda beneath: beneath.write("inbox/score/sub/c.json", "x"),
        lambda beneath: beneath.unlink("inbox/score/sub/a.png"),
        lambda beneath: beneath.replace("keep/c.png", "inbox/score/sub/a.png"),
    ],
)
def test_a_folder_that_became_a_link_leads_nowhere(
    root: Path, private: Path, use: Callable[[Beneath], object]
) -> None:
    (root / "keep/c.png").write_bytes(b"kept")
    exchange(root / "inbox/score/sub", private)
    with Beneath(root) as beneath:
        with pytest.raises(OSError, match="link") as caught:
            use(beneath)
        assert caught.value.errno == errno.ELOOP
        assert beneath.identity("inbox/score/sub/a.png") is None
    assert {path.name: path.read_bytes() for path in private.iterdir()} == {"a.png": b"secret"}
    assert (root / "keep/c.png").read_bytes() == b"kept"
    with pytest.raises(OSError, match="link"):
        open_folder(root, "inbox/score/sub")


def test_a_folder_that_is_exchanged_in_between_is_the_one_that_was_looked_at(root: Path, private: Path) -> None:
    with Beneath(root) as beneath:
        before = beneath.identity("inbox/score/sub/b.png")
        exchange(root / "inbox/score/sub", private)
        (private / "b.png").write_bytes(b"secret, too")
        beneath.rename("inbox/score/sub/b.png", "keep/b.png")
        assert beneath.identity("keep/b.png") == before
    assert (root / "keep/b.png").read_bytes() == b"mine"


def test_the_root_and_its_top_folders_may_be_links(root: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (root / "inbox/photos").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/x.png").write_bytes(b"x")
    (tmp_path / "link").symlink_to(root)
    with Beneath(tmp_path / "link") as beneath:
        beneath.rename("inbox/photos/x.png", "keep/new/folder/x.png")
    assert (root / "keep/new/folder/x.png").read_bytes() == b"x"


def test_no_path_leads_out(root: Path) -> None:
    with Beneath(root) as beneath, pytest.raises(OSError, match="out of its folder"):
        beneath.lstat("keep/../../private/a.png")


def test_a_link_in_the_place_of_the_partial_file_is_not_written_through(root: Path, private: Path) -> None:
    write_durably(root / "keep/a.json", "1")
    partial = {path.name for path in (root / "keep").iterdir()}
    assert partial == {"a.json", "sub"}
    name = f".{module.zlib.crc32(b'a.json'):08x}.partial"
    (root / "keep" / name).symlink_to(private / "a.png")
    write_durably(root / "keep/a.json", "2")
    assert (root / "keep/a.json").read_text() == "2"
    assert (private / "a.png").read_bytes() == b"secret"


def test_errors_name_the_whole_path(root: Path) -> None:
    with Beneath(root) as beneath:
        with pytest.raises(FileNotFoundError) as caught:
            beneath.open("inbox/score/sub/none.png")
        assert caught.value.filename == str(root / "inbox/score/sub/none.png")
        with pytest.raises(FileExistsError) as taken:
            (root / "keep/b.png").touch()
            beneath.rename("inbox/score/sub/b.png", "keep/b.png")
        assert (taken.value.filename2) == str(root / "keep/b.png")


@pytest.mark.parametrize("has_links", [True, False])
def test_without_the_flag_of_renameat2_nothing_is_overwritten(
    root: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """As on NFS, which has hard links, and on exFAT, which has none."""

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(moves, "_renameat2", lambda: None)
    if not has_links:
        monkeypatch.setattr(moves.os, "link", no_links)
    (root / "keep/b.png").write_bytes(b"another")
    with Beneath(root) as beneath:
        with pytest.raises(FileExistsError):
            beneath.rename("inbox/score/sub/b.png", "keep/b.png")
        assert (root / "keep/b.png").read_bytes() == b"another"
        beneath.rename("inbox/score/sub/b.png", "keep/b-1.png")
        with pytest.raises(FileNotFoundError):
            beneath.rename("inbox/score/sub/b.png", "keep/b-2.png")
    assert (root / "keep/b-1.png").read_bytes() == b"mine"
    assert not (root / "keep/b-2.png").exists()
    assert not (root / "inbox/score/sub/b.png").exists()


def test_many_folders_need_few_handles(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - other tests have theirs
    with Beneath(root) as beneath:
        for number in range(300):
            beneath.write(f"keep/{number}/a.json", "x")
        assert len(os.listdir("/proc/self/fd")) - before < 100  # noqa: PTH208
        beneath.fsync([f"keep/{number}" for number in range(70)])


def test_where_inodes_do_not_last_size_and_time_tell_which_file_it_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "inbox/score/sub/b.png"
    lasting = identity_from(path.stat())
    assert lasting.inode == path.stat().st_ino
    monkeypatch.setattr("hotfolder.files.identity.has_lasting_inodes", lambda _: False)
    forgetful = identity_from(path.stat())
    assert forgetful.inode == 0
    assert is_same(lasting, forgetful)
    assert not is_same(lasting, FileIdentity(0, 5, lasting.mtime_ns))


@pytest.mark.parametrize(
    ("type_", "lasts"),
    [("ext4", True), ("nfs4", True), ("fuse.sshfs", False), ("fuse.rclone", False), ("vfat", False)],
)
def test_file_systems_that_number_files_anew_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: str, lasts: bool
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 0:99 / /mnt rw - {type_} server rw\n37 35 0:98 / /other rw - ext4 disk rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)
    filesystem.has_lasting_inodes.cache_clear()
    try:
        assert filesystem.has_lasting_inodes(os.makedev(0, 99)) is lasts
        assert filesystem.has_lasting_inodes(os.makedev(0, 98))
        assert filesystem.has_lasting_inodes(os.makedev(0, 97))
    finally:
        filesystem.has_lasting_inodes.cache_clear()
