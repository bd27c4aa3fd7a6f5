"""Units of several roots and users: none takes another's place."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from hotfolder.cli import service
from hotfolder.cli.doctor.daemon import service as of_service
from hotfolder.cli.service import Manager, run_install, run_uninstall
from hotfolder.cli.setup import make_root
from hotfolder.errors import UsageError
from hotfolder.system import units
from hotfolder.system.accounts import Account


class Machine:
    """Two users with a root each, and a systemctl that only notes what it was told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.units = folder / "etc/systemd/system"
        self.calls = folder / "calls"
        self.home = folder / "home"
        (folder / "bin").mkdir()
        for name, does in {
            "systemctl": "case $* in *show*) echo ActiveState=active; echo LoadState=loaded;; esac",
            "hotfolder": "",
        }.items():
            tool = folder / "bin" / name
            tool.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self.calls}"\n{does}\n')
            tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        monkeypatch.setenv("HOME", str(self.home / "me"))
        monkeypatch.delenv("HOTFOLDER_ROOT", raising=False)
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(units, "SYSTEM_FOLDER", self.units)
        monkeypatch.setattr(service, "verify", lambda *_, **__: [])
        monkeypatch.setattr(service, "account", self.account)
        for name in ("anna", "ben"):
            make_root(self.home / name / "hotfolder", "tiny")

    def account(self, name: str | None) -> Account:
        """All of them are this user: what others may do is asked of the kernel in a test of its own."""
        return Account(name or "me", os.geteuid(), os.getegid(), self.home / (name or "me"))

    def install(self, user: str | None, root: Path | None = None, name: str = "hotfolder") -> None:
        run_install(root, system=user is not None, user=user, name=name, start=True, as_json=True)

    def uninstall(self, user: str | None, name: str = "hotfolder") -> None:
        run_uninstall(system=user is not None, user=user, name=name, as_json=True)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_one_template_serves_every_user_with_the_root_of_each(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_root(tmp_path / "data/ben", "tiny")
    machine.install("anna")
    told = capsys.readouterr()
    assert json.loads(told.out)["root"] == str(machine.home / "anna/hotfolder")
    assert told.err == f"root: {machine.home / 'anna/hotfolder'}\n"
    machine.install("ben", tmp_path / "data/ben")
    template = (machine.units / "hotfolder@.service").read_text()
    assert str(machine.home) not in template
    assert "HOTFOLDER_ROOT" not in template
    for user, root in {"anna": machine.home / "anna/hotfolder", "ben": tmp_path / "data/ben"}.items():
        text = (machine.units / f"hotfolder@{user}.service.d/root.conf").read_text()
        for line in (f"Environment=HOTFOLDER_ROOT={root}", f"ReadWritePaths={root}", f"RequiresMountsFor={root}"):
            assert line in text.splitlines()
    with pytest.raises(UsageError, match=f"for the root {tmp_path / 'data/ben'}"):
        machine.install("ben")  # which would be the one in the home
    machine.install("ben", name="second")
    capsys.readouterr()
    machine.uninstall("anna")
    assert json.loads(capsys.readouterr().out)["still_used_by"] == ["hotfolder@ben.service"]
    assert not (machine.units / "hotfolder@anna.service.d").exists()
    assert (machine.units / "hotfolder@.service").exists()
    machine.uninstall("ben")
    assert sorted(path.name for path in machine.units.iterdir()) == ["second@.service", "second@ben.service.d"]
    assert "systemctl disable --now hotfolder@ben.service" in machine.calls.read_text()


def test_a_unit_of_another_root_or_of_somebody_else_stays(machine: Machine, tmp_path: Path) -> None:
    make_root(tmp_path / "other", "tiny")
    mine = tmp_path / "mine root"
    make_root(mine, "tiny")
    path = machine.home / "me/.config/systemd/user/hotfolder.service"
    machine.install(None, mine)
    before = path.read_text()
    (tmp_path / "link").symlink_to(mine)
    machine.install(None, tmp_path / "link")  # the same one, by another way
    machine.install(None, mine)  # again, as after an upgrade
    with pytest.raises(UsageError, match=f"for the root {mine}") as caught:
        machine.install(None, tmp_path / "other")
    assert "--name" in caught.value.fix
    assert path.read_text() == before
    path.write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(UsageError, match="not by hotfolder"):
        machine.install(None, mine)
    # A template of the version before, which named one root for all users.
    machine.units.mkdir(parents=True)
    old = "# written by `hotfolder service install --system`\nEnvironment=HOTFOLDER_ROOT=/data/anna\n"
    (machine.units / "hotfolder@.service").write_text(old)
    with pytest.raises(UsageError, match="for the root /data/anna"):
        machine.install("ben")
    assert (machine.units / "hotfolder@.service").read_text() == old


def test_a_user_who_may_not_work_on_the_root_is_refused_before_anything_is_written(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []
    monkeypatch.setattr(Account, "may", lambda _, path, need: not (refused and str(path).endswith(refused[0])))
    for ending, words in {
        "/hotfolder": "may not enter",
        "hotfolder.toml": "may not read",
        "python": "may not run",
    }.items():
        refused[:] = [ending if ending != "python" else os.path.realpath(sys.executable)]
        with pytest.raises(UsageError, match=f"user 'anna' {words}"):
            machine.install("anna")
    assert not machine.units.exists()


def test_the_gallery_has_a_unit_of_its_own(machine: Machine, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    make_root(root, "tiny")
    machine.install(None, root)
    run_install(root, system=False, user=None, name="hotfolder", start=True, as_json=True, gallery=True)
    units_of_me = machine.home / "me/.config/systemd/user"
    gallery, daemon = (units_of_me / f"{name}.service" for name in ("hotfolder-gallery", "hotfolder"))
    assert "hotfolder gallery\n" in gallery.read_text()
    assert "hotfolder run\n" in daemon.read_text()
    assert f"HOTFOLDER_ROOT={root}" in gallery.read_text()
    assert "enable hotfolder-gallery.service" in machine.calls.read_text()
    machine.uninstall(None, name="hotfolder-gallery")
    assert daemon.exists()
    assert not gallery.exists()


def test_what_is_told_of_a_service_is_told_of_that_one(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not of the usual one, which may work on another root."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for root in (first, second, third):
        make_root(root, "tiny")
    run_install(first, system=False, user=None, name="hotfolder", start=True, as_json=False)
    assert "is running; see: hotfolder service status\n" in capsys.readouterr().out
    run_install(second, system=False, user=None, name="drawings", start=True, as_json=False)
    assert "is running; see: hotfolder service status --name drawings\n" in capsys.readouterr().out
    unit = (machine.home / "me/.config/systemd/user/drawings.service").read_text()
    assert "enable --now drawings\n" in unit
    machine.install("anna", name="drawings")
    assert "enable --now drawings@$USER" in (machine.units / "drawings@.service").read_text()
    anna = Manager(system=True, user="anna", name="drawings")
    assert anna.typed("logs") == "hotfolder service logs --system --user anna --name drawings"

    def doctor(root: Path) -> tuple[str, str, str]:
        check = of_service(root)
        return check.status, check.message, check.fix

    assert doctor(first) == ("ok", "hotfolder.service is active", "hotfolder service logs")
    assert doctor(second) == ("ok", "drawings.service is active", "hotfolder service logs --name drawings")
    run_install(third, system=False, user=None, name="pictures", start=True, as_json=True, gallery=True)
    machine.install(None, second, name="my-gallery")
    assert [name for name, _ in units.services_of(second)] == ["drawings", "my-gallery"]
    assert units.services_of(third) == []  # that is no daemon's, whatever it is called
    assert doctor(machine.home / "anna/hotfolder") == ("ok", "drawings@anna.service is active", anna.typed("logs"))
    status, message, fix = doctor(third)
    assert (status, fix) == ("warn", "hotfolder service install --name NAME")
    assert message == f"no service is installed for this root; hotfolder.service works on {first}"
