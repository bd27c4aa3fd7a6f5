"""`hotfolder workers up` gives way to Ray's own program; what it is told, and the token."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hotfolder.cli.workers_up import run_up
from hotfolder.errors import UsageError
from tests.support.clusters import skip_without_ray


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    skip_without_ray()
    found: dict[str, Any] = {}
    monkeypatch.setattr(
        os, "execve", lambda _, command, environment: found.update(command=command, env=environment)
    )
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "ray" / "token"))
    return found


def test_the_first_machine_makes_a_token_once(started: dict[str, Any], tmp_path: Path) -> None:
    run_up(None, 0, None, tmp_path / "spill", None)
    assert {"--head", "--block", "--num-cpus=0", f"--object-spilling-directory={tmp_path / 'spill'}"} <= set(
        started["command"]
    )
    assert started["env"]["RAY_AUTH_MODE"] == "token"
    assert started["env"]["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"
    file = tmp_path / "ray" / "token"
    token = file.read_text()
    assert len(token) == 64 and file.stat().st_mode & 0o777 == 0o600
    run_up("box:6379", None, 1, None, "10.0.0.2")
    assert file.read_text() == token
    joined = started["command"]
    assert {"--address=box:6379", "--num-gpus=1", "--node-ip-address=10.0.0.2"} <= set(joined)
    assert "--head" not in joined


def test_nobody_joins_without_a_token(started: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no token"):
        run_up("box:6379", None, None, None, None)
    assert not started


def test_it_keeps_to_the_ports_that_a_firewall_lets_through(started: dict[str, Any]) -> None:
    run_up(None, 4, None, None, None, "20000-20099")
    options = [part.split("=") for part in started["command"] if "port=" in part]
    ports = {name: int(port) for name, port in options}
    workers = range(ports.pop("--min-worker-port"), ports.pop("--max-worker-port") + 1)
    assert ports.pop("--port") == 6379
    assert set(ports.values()) == set(range(20000, workers.start)) and len(ports) == 6
    assert workers.stop == 20100


@pytest.mark.parametrize(
    "ports",
    ["", "20000", "20100-20000", "80-200", "6000-7000", "8200-8400", "10000-10199", "60000-70000", "20000-20052"],
)
def test_ports_that_will_not_do_are_refused(started: dict[str, Any], ports: str) -> None:
    with pytest.raises(UsageError, match="ports"):
        run_up(None, 4, None, None, None, ports)
    assert not started
