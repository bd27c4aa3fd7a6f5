"""`hotfolder gallery`: where it listens, who is let in, and that it ends when it is told."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from hotfolder.cli.gallery import run_gallery
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.gallery.server import hosts_of, is_loopback, listen, read_token


def run(layout: Layout, host: str, token_file: Path | None = None, port: int = 0) -> None:
    run_gallery(layout.root, host, port, token_file, read_only=False, with_daemon=False, opened=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_beyond_this_machine_it_wants_a_token(layout: Layout, host: str) -> None:
    with pytest.raises(UsageError, match="could look at everything") as caught:
        run(layout, host)
    assert "--token-file" in caught.value.fix


def test_an_address_that_cannot_be_had_is_told(layout: Layout) -> None:
    with pytest.raises(UsageError, match="is no address"):
        run(layout, "no..such..host")
    with listen("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="cannot be had"):
        run(layout, "127.0.0.1", port=taken.getsockname()[1])


def test_a_token_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = read_token(path)
    assert len(token) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token(path) == token
    path.chmod(0o644)
    with pytest.raises(UsageError, match="others may read"):
        read_token(path)
    path.chmod(0o600)
    for bad in ("short", "with spaces and more than twenty", "semi;colon-semi;colon-semi"):
        path.write_text(bad)
        with pytest.raises(UsageError, match="no token"):
            read_token(path)
    with pytest.raises(UsageError, match="cannot be read as a token: Not a directory"):
        read_token(path / "token")
    with pytest.raises(UsageError, match="is a device"):
        read_token(Path("/dev/null"))
    config = tmp_path / "new/.config/hotfolder"  # as the documents name it, for who has no such folder yet
    assert len(read_token(config / "token")) >= 40
    assert stat.S_IMODE(config.stat().st_mode) == 0o700


def test_it_answers_to_its_own_names_only() -> None:
    with listen("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        hosts = hosts_of(opened, "127.0.0.1", ("Pictures.example", "other.example:8443"))
    assert hosts == {
        f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "pictures.example", f"pictures.example:{port}",
        "other.example:8443",
    }  # fmt: skip
    assert [is_loopback(each) for each in ("127.0.0.9", "::1", "0.0.0.0", "::", "10.0.0.1")] == [
        True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.slow
def test_it_serves_and_ends_when_it_is_told(layout: Layout) -> None:
    command = [sys.executable, "-m", "hotfolder", "gallery", "--root", str(layout.root), "--port", "0"]
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        running = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NOTIFY_SOCKET": ""}
        )
        try:
            assert running.stdout is not None
            address = running.stdout.readline().strip()
            with urllib.request.urlopen(address, timeout=120) as answer:
                assert answer.status == 200
            running.send_signal(number)
            assert running.wait(120) == code
        finally:
            running.kill()
            running.wait()
