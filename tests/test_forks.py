"""Commands that tests fork are processes like others."""

from __future__ import annotations

import signal
import socket

import psutil

from tests.support import forks
from tests.support.live import wait_for


def test_a_child_learns_the_secrets_of_its_own_environment() -> None:
    secret = "hf_NotToBeShownToAnybody"
    shown = forks.hotfolder("status", "--root", f"/nowhere/{secret}")
    hidden = forks.hotfolder("status", "--root", f"/nowhere/{secret}", HF_TOKEN=secret)
    assert shown.returncode == hidden.returncode != 0
    assert secret not in hidden.stdout + hidden.stderr
    assert "/nowhere/" in hidden.stdout + hidden.stderr


def test_a_child_ends_as_it_is_told_or_with_who_asked_for_it() -> None:
    told, left = (forks.start("http.server", "0", "--bind", "127.0.0.1") for _ in range(2))
    told.terminate()
    assert told.wait(60) == -signal.SIGTERM
    assert left.poll() is None
    left._connection.close()
    wait_for(lambda: not psutil.pid_exists(left.pid), 60, "it is gone")


def test_who_is_gone_before_all_is_asked_holds_up_nobody() -> None:
    for part in (b"", b'[["hotf'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(forks.address())
            connection.sendall(part)
    assert forks.hotfolder("--version").returncode == 0
