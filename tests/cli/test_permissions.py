"""Who may read the settings and the database, and who is told what is wrong with that."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hotfolder.cli.doctor import own_files
from hotfolder.config import loading
from hotfolder.config.root import FILE_NAME
from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.faults.disks import working
from tests.support.live import wait_for
from tests.support.people import Person, only_root
from tests.support.roots import daemon, new_root, picture
from tests.support.scripted import ScriptedExecutor, always

_OTHER = 12345


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def work(layout: Layout, **overrides: str) -> None:
    daemon(layout, ScriptedExecutor(always(6.6)), **overrides).run(once=True)


def test_settings_and_database_are_their_owners_alone_unless_wished(layout: Layout) -> None:
    assert mode(layout.root / FILE_NAME) == "600"
    with working(daemon(layout, ScriptedExecutor(always(6.6)))):
        wait_for(layout.live_status.exists, 20, "it runs")
        assert {mode(path) for path in layout.root.glob("hotfolder.db*")} == {"600"}
    work(layout, OUTPUT__UMASK="027")
    assert mode(layout.database) == "640"
    work(layout, OUTPUT__UMASK="002")
    assert mode(layout.database) == "644"  # others never write it
    assert mode(layout.root / FILE_NAME) == "600"


def test_settings_with_secrets_are_not_for_everybody(layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    path = layout.root / FILE_NAME
    path.chmod(0o644)
    work(layout)
    assert (mode(path), caplog.text) == ("644", "")
    path.write_text('[notify]\nurls = ["json://me:secret@127.0.0.1:9/"]\non = []\n')
    work(layout, OUTPUT__UMASK="022")  # that is what somebody asked for
    assert mode(path) == "644"
    work(layout)
    assert mode(path) == "640"
    assert "could be read by everybody: not any more" in caplog.text
    path.chmod(0o666)
    work(layout)
    assert mode(path) == "660"


def test_doctor_says_what_everybody_may_read(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in [layout.root, *layout.root.parents]:
        if not folder.stat().st_mode & 0o001:  # the tests' own folder is private
            monkeypatch.setattr(own_files, "_everybody_reads", lambda path: bool(path.stat().st_mode & 0o004))
    work(layout)

    def warned(name: str) -> list[str]:
        settings = loading.load(layout.root, {})
        checks = [
            *own_files.configuration(layout.root / FILE_NAME, settings),
            *own_files.database(layout, settings),
        ]
        return [f"{check.message} {check.fix}" for check in checks if check.status != "ok" and check.name == name]

    assert warned("database") == warned("configuration") == []
    for path in (layout.database, layout.root / FILE_NAME):
        path.chmod(0o644)
    assert "chmod o-r" in warned("database")[0]
    assert warned("configuration") == []
    (layout.root / FILE_NAME).write_text('[hooks]\non_idle = ["curl", "--user", "me:secret"]\n')
    assert "may hold passwords" in warned("configuration")[0]
    (layout.root / FILE_NAME).write_text('[notify]\nurls = ["ntfy://x"]\n[output]\numask = "022"\n')
    assert warned("database") == warned("configuration") == []


def test_a_copy_is_for_nobody_who_may_not_read_the_database(layout: Layout, tmp_path: Path) -> None:
    work(layout)
    command = [sys.executable, "-m", "hotfolder", "backup", str(tmp_path / "copy.db"), "--root", str(layout.root)]
    subprocess.run(command, check=True, capture_output=True)
    assert mode(tmp_path / "copy.db") == "600"


@pytest.mark.slow
@only_root
def test_another_user_of_the_group_looks_where_that_is_wished() -> None:
    with tempfile.TemporaryDirectory(prefix="hotfolder-people-") as name:
        Path(name).chmod(0o755)
        layout = new_root(Path(name))
        os.chown(layout.root, -1, _OTHER)
        layout.root.chmod(0o2750)
        picture(layout.inbox(Kind.SCORE) / "a.png")

        def top() -> subprocess.CompletedProcess[str]:
            other = Person(_OTHER, (_OTHER,))
            words = other.command([sys.executable, "-m", "hotfolder", "top", "--root", str(layout.root)])
            return subprocess.run(words, env=other.environ(), cwd="/", capture_output=True, text=True, timeout=240)

        work(layout)
        refused = top()
        assert refused.returncode == 1
        assert "may not be read by this user" in refused.stderr
        assert "Traceback" not in refused.stderr
        os.chown(layout.database, -1, _OTHER)
        with working(daemon(layout, ScriptedExecutor(always(6.6)), OUTPUT__UMASK="027")):
            wait_for(layout.live_status.exists, 20, "it runs")
            assert "keep/a.png" in top().stdout, top().stderr
        assert "keep/a.png" in top().stdout, top().stderr
