"""Passwords and tokens are told to nobody: each command, the log, what lies in the root."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.support import forks
from tests.support.live import LiveDaemon, wait_for
from tests.support.roots import picture

pytestmark = pytest.mark.slow
#: Nothing answers there, and nothing leaves this machine.
_NOWHERE = "127.0.0.1:9"
_URLS = [
    f"mailto://sender:Pass-1!x@{_NOWHERE}?from=me@example.org&to=you@example.org",
    "tgram://987654321:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr/12345678",
    f"https://admin:Pass-2@{_NOWHERE}/x?key=Key-3",
    f"json://admin:Pass-4@{_NOWHERE}/hooks/T0ken-5",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/",
    "nonsense://Token-6aaaa",
    "Token-7aaaa",
]
_SECRETS = [
    "Pass-1", "AAbbCCdd", "987654321", "12345678", "Pass-2", "Key-3", "Pass-4", "T0ken-5", "TIiajkdnl", "A1BRTD4JD",
    "Token-6", "Token-7", "hub-token-8", "Hook-9",
]  # fmt: skip
_ENVIRON = {
    "HF_TOKEN": "hub-token-8",
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), f"http://{_NOWHERE}"),
    "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1",
}  # fmt: skip


def configure(layout: Layout, urls: object, keep: float = 6.5) -> None:
    hook = json.dumps(["/no/such/program", "--password", "Hook-9", str(keep)])
    (layout.root / "hotfolder.toml").write_text(
        f"[gate]\nkeep = {keep}\n[hooks]\non_idle = {hook}\n"
        f'[notify]\nurls = {json.dumps(urls)}\non = ["failed", "paused"]\nevery_seconds = 0\n'
    )


def hotfolder(layout: Layout, *arguments: str, **environ: str) -> str:
    """Everything that a command writes."""
    done = forks.hotfolder(*arguments, "--root", layout.root, **_ENVIRON, **environ)
    return done.stdout + done.stderr


def told(text: str) -> list[str]:
    return [secret for secret in _SECRETS if secret in text]


def told_by_files(root: Path) -> list[str]:
    found = []
    for path in root.rglob("*"):
        if path.is_file() and path.name != "hotfolder.toml":
            found += [f"{path}: {secret}" for secret in told(path.read_bytes().decode("latin-1"))]
    return found


def test_no_command_and_no_file_tells_a_secret(layout: Layout) -> None:
    configure(layout, _URLS)
    (layout.inbox(Kind.SCORE) / "bad.png").write_bytes(b"no picture")
    (layout.inbox(Kind.GENERATE) / "bad.txt").write_text("a cat --nothing 3")
    texts = {"run": hotfolder(layout, "run", "--once", HOTFOLDER_SETTLE__QUIET_SECONDS="0.05")}
    assert "failed" in texts["run"]
    assert "could not be sent" in texts["run"]  # a message was tried, and nobody answered
    for arguments in (
        ("doctor",), ("doctor", "--json"), ("status",), ("status", "--json"), ("why", "failed/bad.png"),
        ("models", "list"), ("retry", "--all", "--json"), ("query", "SELECT * FROM jobs"),
    ):  # fmt: skip
        texts[" ".join(arguments)] = hotfolder(layout, *arguments)
    configure(layout, _URLS[1])
    texts["bad doctor"] = hotfolder(layout, "doctor", "--json")
    for number, urls in enumerate((_URLS[1], [3, *_URLS], _URLS[6])):
        configure(layout, urls)
        for arguments in (("run", "--once"), ("stats", "--json")):
            texts[f"{number} {arguments}"] = hotfolder(layout, *arguments)
            assert "notify.urls" in texts[f"{number} {arguments}"]
    configure(layout, _URLS)
    texts["env"] = hotfolder(layout, "stats", HOTFOLDER_NOTIFY__URLS=_URLS[4])
    assert {name: found for name, text in texts.items() if (found := told(text))} == {}
    assert told_by_files(layout.root) == []


def test_a_reload_tells_no_secret(layout: Layout) -> None:
    configure(layout, [])
    with LiveDaemon(layout, **_ENVIRON) as daemon:
        daemon.watching()

        def reload(says: str) -> None:
            daemon.process.send_signal(signal.SIGHUP)
            daemon.says(says)

        configure(layout, _URLS, keep=6.6)
        reload("gate.keep: 6.5 -> 6.6")
        configure(layout, _URLS[:2], keep=6.7)
        reload("gate.keep: 6.6 -> 6.7")
        wait_for(lambda: daemon.text().count("configuration read anew: ") == 2, 20, "all that changed is told")
        assert daemon.text().count("notify.urls: changed") == 2
        assert daemon.text().count("hooks.on_idle: changed") == 2
        configure(layout, _URLS[4])
        reload("the configuration stays as it was")
        picture(layout.inbox(Kind.SCORE) / "a.png")
        assert daemon.stop() == 0
        assert told(daemon.text()) == []
    assert told_by_files(layout.root) == []
