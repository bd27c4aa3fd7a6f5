"""Which root a command works on, and where none can be made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hotfolder.cli.bench import run_bench_line
from hotfolder.cli.setup import make_root
from hotfolder.config.root import check_place, find_root, find_root_if_any
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout

#: Folders to stand in, and whether the root of the fixture is around them.
PLACES: dict[str, Callable[[Layout, Path], Path]] = {
    "root": lambda layout, _: layout.root,
    "inbox": lambda layout, _: layout.root / "inbox/score",
    "folder with settings": lambda layout, _: _with_settings(layout.root / "inbox/score/portraits"),
    "folder like a root": lambda layout, _: _with_settings(layout.root / "inbox/score/evil", like_root=True),
    "results": lambda layout, _: _made(layout.root / "keep/deep/er"),
    "private": lambda layout, _: layout.staging,
    "linked": lambda layout, apart: _linked(layout.root / "keep", apart),
    "outside": lambda _, apart: apart,
}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _with_settings(folder: Path, *, like_root: bool = False) -> Path:
    (_made(folder) / "hotfolder.toml").write_text("[hooks]\non_idle = ['x']\n")
    if like_root:
        (folder / ".hotfolder").mkdir()
    return folder


def _linked(folder: Path, apart: Path) -> Path:
    folder.rmdir()
    _made(apart / "disk/sub")
    folder.symlink_to(apart / "disk")
    return folder / "sub"


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell does: the current folder, and $PWD as one went there."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))


@pytest.mark.parametrize("place", PLACES)
def test_the_root_is_the_one_around_here(
    place: str, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = tmp_path / "home/hotfolder"
    make_root(default, "tiny")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    stand_in(PLACES[place](layout, _made(tmp_path / "apart")), monkeypatch)
    wanted = default if place == "outside" else layout.root
    assert find_root(None, {}) == find_root(None, {}, trusted=True) == find_root_if_any(None, {}) == wanted
    assert find_root(default, {"HOTFOLDER_ROOT": "/x"}) == find_root(None, {"HOTFOLDER_ROOT": str(default)})


def test_a_folder_with_settings_alone_is_no_root_and_no_other_is_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_root(tmp_path / "hotfolder", "tiny")
    monkeypatch.setenv("HOME", str(tmp_path))
    own = _with_settings(tmp_path / "mine")
    stand_in(own, monkeypatch)
    for find in (find_root, find_root_if_any):
        with pytest.raises(UsageError, match="it is no root, nor in one") as caught:
            find(None, {})
        assert caught.value.fix.endswith(f"hotfolder run --root {own}")
    assert find_root(own, {}) == own  # who names it, means it
    stand_in(_made(own / "sub"), monkeypatch)
    assert find_root(None, {}) == tmp_path / "hotfolder"


def test_a_lying_pwd_leads_nowhere(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    monkeypatch.chdir(_made(tmp_path / "apart"))
    for lie in (str(layout.root), "keep", "a\0b", str(tmp_path / "gone")):
        monkeypatch.setattr(os, "environ", {**os.environ, "PWD": lie})
        assert find_root_if_any(None, {}) is None


def test_the_settings_of_somebody_else_are_followed_only_where_they_are_named(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(_made(layout.root / "keep/sub"), monkeypatch)
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 4321)
    if real == 0:  # what the administrator owns, everybody may follow
        assert find_root(None, {}, trusted=True) == layout.root
        os.chown(layout.root / "hotfolder.toml", 1234, -1)
    assert find_root(None, {}) == layout.root  # to look
    for find in (lambda: find_root(None, {}, trusted=True), lambda: find_root_if_any(None, {})):
        with pytest.raises(UsageError, match=r"belongs to .*, whose settings may name any program"):
            find()
    assert find_root(layout.root, {}, trusted=True) == layout.root


def test_no_root_is_made_in_what_another_one_works_on(layout: Layout, tmp_path: Path) -> None:
    folders = ("inbox", "inbox/score/x", "inbox/new/deep/er", "keep/x", "archive", ".hotfolder/x")
    for place in [layout.root / name for name in folders]:
        with pytest.raises(UsageError, match=f"of the root {layout.root}: no root can be there"):
            make_root(place, "tiny")
        assert not (place / "hotfolder.toml").exists()
    link = tmp_path / "link"
    link.symlink_to(layout.root / "inbox/score")
    with pytest.raises(UsageError, match="lies in an inbox"):
        check_place(link / "x")
    with pytest.raises(UsageError, match="lies in an inbox"):
        run_bench_line(layout.root / "inbox/score", files=[1], fsync_delay=0, lone=0, as_json=True)
    assert list((layout.root / "inbox/score").iterdir()) == []
    check_place(layout.root / "other")
    check_place(tmp_path / "inbox/x")


def test_init_gives_what_it_makes_the_wanted_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hotfolder.cli.setup import run_init
    from hotfolder.config.loading import load

    before = os.umask(0o022)
    try:
        run_init(tmp_path / "a", "tiny", "027")
        monkeypatch.setenv("HOTFOLDER_OUTPUT__UMASK", "007")
        run_init(tmp_path / "b", "tiny", None)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    with pytest.raises(UsageError, match="--umask 9"):
        run_init(tmp_path / "c", "tiny", "9")
    modes = {
        name: [
            f"{(tmp_path / path).stat().st_mode & 0o777:o}" for path in (f"{name}/keep", f"{name}/hotfolder.toml")
        ]
        for name in ("a", "b")
    }
    assert modes == {"a": ["750", "640"], "b": ["770", "640"]}
    assert load(tmp_path / "a", {}).output.umask == "027"
    assert load(tmp_path / "b", {}).output.umask == ""


def test_a_file_is_no_root_and_none_is_offered_to_be_made_of_it(layout: Layout) -> None:
    with pytest.raises(UsageError, match=r"hotfolder\.toml \(--root\) is a file") as caught:
        find_root(layout.root / "hotfolder.toml")
    assert caught.value.fix == "name the folder of a root"
