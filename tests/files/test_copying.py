"""From one mount to another: copied, verified, and only then removed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hotfolder.files import beneath as beneath_module
from hotfolder.files import copying
from hotfolder.files.beneath import Beneath
from hotfolder.files.copying import is_copy
from hotfolder.folders.layout import Layout
from hotfolder.types import FileIdentity, Kind
from tests.faults.disks import mounted
from tests.support.roots import check_consistent, daemon, files_in, picture
from tests.support.scripted import ScriptedExecutor, always


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root in which 'card' is another mount."""
    root = tmp_path / "root"
    for folder in ("inbox/score/card", "keep"):
        (root / folder).mkdir(parents=True)
    apart(monkeypatch)
    return root


def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    real = beneath_module.rename_noreplace

    def rename(src: str, dst: str, src_folder: int, dst_folder: int) -> None:
        handles = (src_folder, dst_folder)
        places = [str(Path(f"/proc/self/fd/{handle}").readlink()).endswith("/score/card") for handle in handles]
        if places[0] != places[1]:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), src, None, dst)
        real(src, dst, src_folder, dst_folder)

    monkeypatch.setattr(beneath_module, "rename_noreplace", rename)


def drop(root: Path, data: bytes = b"picture" * 300_000) -> Path:
    path = root / "inbox/score/card/a.png"
    path.write_bytes(data)
    path.chmod(0o640)
    os.utime(path, ns=(1, 1_600_000_000_123_456_789))
    return path


def test_a_copy_is_the_file_in_all_but_its_number(root: Path) -> None:
    path = drop(root)
    before, data = path.stat(), path.read_bytes()
    with Beneath(root) as beneath:
        identity = beneath.identity("inbox/score/card/a.png")
        assert beneath.rename("inbox/score/card/a.png", "keep/a.png")
        found = beneath.identity("keep/a.png")
    assert found is not None
    assert is_copy(identity, found)
    after = (root / "keep/a.png").stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (before.st_mode, before.st_mtime_ns, before.st_uid)
    assert (root / "keep/a.png").read_bytes() == data
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["a.png"]


@pytest.mark.parametrize("step", ["utime", "fsync", "fsync_handle", "unlink"])
def test_what_fails_leaves_the_file_where_it_was(root: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    data = drop(root).read_bytes()
    real = os.unlink

    def fails(*arguments: object, **options: object) -> None:
        if step != "unlink" or (arguments[0] == "a.png" and options["dir_fd"] == source):
            raise OSError(errno.EIO, "no")
        real(*arguments, **options)  # type: ignore[arg-type]

    with Beneath(root) as beneath:
        beneath.lstat("inbox/score/card/a.png")
        source = beneath._handles["inbox/score/card"]
        monkeypatch.setattr(copying if step == "fsync_handle" else copying.os, step, fails)
        with pytest.raises(OSError, match="no"):
            beneath.rename("inbox/score/card/a.png", "keep/a.png")
        monkeypatch.undo()
    assert (root / "inbox/score/card/a.png").read_bytes() == data
    assert list((root / "keep").iterdir()) == []


def test_a_file_that_changes_while_it_is_copied_is_not_moved(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drop(root)
    real = copying._copy

    def grows(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        path.write_bytes(b"more")

    monkeypatch.setattr(copying, "_copy", grows)
    with Beneath(root) as beneath, pytest.raises(OSError, match="changed while it was copied"):
        beneath.rename("inbox/score/card/a.png", "keep/a.png")
    assert path.read_bytes() == b"more"
    assert list((root / "keep").iterdir()) == []


def test_nothing_is_overwritten(root: Path) -> None:
    drop(root)
    (root / "keep/a.png").write_bytes(b"another")
    with Beneath(root) as beneath, pytest.raises(FileExistsError):
        beneath.rename("inbox/score/card/a.png", "keep/a.png")
    assert (root / "keep/a.png").read_bytes() == b"another"
    assert len(list((root / "keep").iterdir())) == 1


@pytest.mark.parametrize(
    ("size", "mtime_ns", "same"), [(5, 10**18, True), (5, 10**18 + 10**9, True), (5, 0, False), (6, 10**18, False)]
)
def test_a_copy_is_known_by_size_and_time(size: int, mtime_ns: int, same: bool) -> None:
    assert is_copy(FileIdentity(1, 5, 10**18), FileIdentity(2, size, mtime_ns)) is same


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_around_the_removal_costs_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The copy has its name, the old one is still there, or is not; the ledger knows of neither."""

    class Crash(BaseException):
        pass

    picture(layout.inbox(Kind.SCORE) / "card/a.png", 1)
    apart(monkeypatch)
    real = os.unlink

    def unlink(path: str, *, dir_fd: int | None = None) -> None:
        if path == "a.png":
            if moment == "after":
                real(path, dir_fd=dir_fd)
            raise Crash
        real(path, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(copying.os, "unlink", unlink)
        with pytest.raises(Crash):
            daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "inbox", "keep") == ["keep/card/a.png"]
    check_consistent(layout)


def test_a_stranger_that_looks_alike_costs_no_file(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the names were chosen somebody puts another file there, of the same size and time."""
    path = picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    data, stranger = path.read_bytes(), bytes(path.stat().st_size)
    real, first = Beneath.rename, True

    def rename(self: Beneath, src: str, dst: str) -> bool:
        nonlocal first
        if first and dst == "keep/a.png":
            first = False
            (layout.root / dst).write_bytes(stranger)
            os.utime(layout.root / dst, ns=(1, path.stat().st_mtime_ns))
        return real(self, src, dst)

    monkeypatch.setattr(Beneath, "rename", rename)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (layout.root / "keep/a.png").read_bytes() == stranger
    assert (layout.root / "keep/a-1.png").read_bytes() == data


@pytest.mark.slow
def test_a_mount_below_an_inbox_and_one_below_an_output_folder(layout: Layout) -> None:
    layout.make()
    card, shelf = layout.inbox(Kind.SCORE) / "card", layout.root / "keep/shelf"
    with mounted(card, "-t", "tmpfs", "tmpfs"), mounted(shelf, "-t", "tmpfs", "tmpfs"):
        picture(card / "a.png", 1)
        picture(layout.inbox(Kind.SCORE) / "shelf/b.png", 2)
        picture(layout.inbox(Kind.SCORE) / "c.png", 3)
        report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
        assert (report.done, report.unplaced, report.paused) == (3, 0, None)
        assert files_in(layout, "inbox", "keep") == ["keep/c.png", "keep/card/a.png", "keep/shelf/b.png"]
        check_consistent(layout)
