"""Whom a service can run as, and what they may do."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from hotfolder.errors import UsageError
from hotfolder.system.accounts import Account, account

_OTHER = Account("nobody", 65534, 65534, Path("/nonexistent"))


def test_an_account_is_a_user_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    me = pwd.getpwuid(os.geteuid())
    assert account(None, {}) == Account(me.pw_name, me.pw_uid, me.pw_gid, Path(me.pw_dir))
    assert account(None, {}).is_me
    for name in ("no-such-user", "a\0b", "x" * 9999):
        with pytest.raises(UsageError, match="this machine has no user"):
            account(name, {})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert account(None, {"SUDO_USER": me.pw_name}).name == me.pw_name
    with pytest.raises(UsageError, match="no user 'gone'"):
        account(None, {"SUDO_USER": "gone"})
    monkeypatch.setattr(os, "geteuid", lambda: 3_999_999)
    with pytest.raises(UsageError, match="user 3999999 has no name"):
        account(None, {"SUDO_USER": me.pw_name})


@pytest.mark.skipif(os.getuid() != 0, reason="only root can ask for others")
def test_what_somebody_else_may_is_asked_of_the_kernel(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir(mode=0o755)
    for each in (folder, *folder.parents):
        if not each.stat().st_mode & 0o001:
            each.chmod(each.stat().st_mode | 0o011)
    assert _OTHER.may(folder, "x")
    assert not _OTHER.may(folder, "w")
    assert account(None, {}).may(folder, "w")
    os.chown(folder, _OTHER.uid, -1)
    assert _OTHER.may(folder, "w")
    folder.chmod(0o700)
    os.chown(folder, 0, 0)
    assert not _OTHER.may(folder / "inside", "r")
