"""`hotfolder workers up`."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from hotfolder.errors import UsageError
from hotfolder.executors.ray_executor import RAY_ENVIRONMENT

#: Of the first machine of a cluster.
PORT = 6379
#: Where a node listens with each of its own parts; else Ray takes any that is free (docs.ray.io, configuring Ray).
_OWN_PORTS = (
    "node-manager-port", "object-manager-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port",
    "runtime-env-agent-port", "metrics-export-port",
)  # fmt: skip
#: Those of a first machine, which Ray keeps back on all: its dashboard's and its client's, too.
_KEPT_BACK = (PORT, 8265, 10001)
#: Each core may have a worker that listens, and so have each device and each program.
_PORTS_BESIDE_CORES = 50


def run_up(
    join: str | None,
    cpus: int | None,
    gpus: int | None,
    spill: Path | None,
    own_address: str | None,
    ports: str | None = None,
) -> None:
    """Becomes Ray's node of this machine, in the foreground. Raises UsageError."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError("Ray is not installed", "pip install 'hotfolder[ray]'")
    environment = {**RAY_ENVIRONMENT, **os.environ}
    if environment["RAY_AUTH_MODE"] == "token":
        _see_to_token(environment, may_make=join is None)
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    if join is None:
        command += ["--head", f"--port={PORT}", "--include-dashboard=false"]
        if spill is not None:
            command.append(f"--object-spilling-directory={spill.absolute()}")
    else:
        command.append(f"--address={join}")
    for option, value in (("num-cpus", cpus), ("num-gpus", gpus), ("node-ip-address", own_address)):
        if value is not None:
            command.append(f"--{option}={value}")
    if ports is not None:
        command += _listening(ports, os.cpu_count() or 1 if cpus is None else cpus)
    sys.stderr.flush()
    os.execve(sys.executable, command, environment)


def _listening(ports: str, cores: int) -> list[str]:
    """Options that keep a node to these ports, for a firewall. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", ports)
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1024 <= first <= last <= 65535:
        raise UsageError(f"--ports {ports} is no range of ports", "such as 20000-20199, within 1024 and 65535")
    if in_the_way := [port for port in _KEPT_BACK if first <= port <= last]:
        raise UsageError(f"--ports {ports} holds {in_the_way[0]}, which Ray keeps back", "such as 20000-20199")
    needed = cores + _PORTS_BESIDE_CORES
    if last - first + 1 < needed:
        raise UsageError(f"--ports {ports} are too few", f"give at least {needed}: {first}-{first + needed - 1}")
    own = [f"--{option}={first + at}" for at, option in enumerate(_OWN_PORTS)]
    return [*own, f"--min-worker-port={first + len(own)}", f"--max-worker-port={last}"]


def _see_to_token(environment: Mapping[str, str], *, may_make: bool) -> None:
    """Who has no token does not get in; the first machine makes one. Raises UsageError."""
    if environment.get("RAY_AUTH_TOKEN"):
        return
    file = Path(environment.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        if file.read_text(encoding="ascii").strip():
            return
        raise UsageError(f"the token in {file} is empty", "remove the file; the first machine makes another")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise UsageError(f"the token in {file} cannot be read: {error}", "let this user read it") from None
    if not may_make:
        raise UsageError(
            f"there is no token in {file}", "copy that file from the first machine, for this user alone"
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as made:  # noqa: PTH123
            made.write(secrets.token_hex(32))
    except OSError as error:
        raise UsageError(
            f"no token can be written to {file}: {error.strerror}", "name another: RAY_AUTH_TOKEN_PATH"
        ) from None
    sys.stderr.write(f"a token was made: copy {file} to each machine that joins, for its user alone\n")
