"""The server around the application: HTTP on one address, patient with nobody."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from hotfolder.errors import UsageError
from hotfolder.folders.layout import ARRIVING, Layout

#: Seconds for the head of a request; connections at a time; bytes of a head.
_PATIENCE, _MOST_CONNECTIONS, _MOST_HEAD = 20.0, 256, 32_768
#: Letters that a token has at least, and seconds after which a file that did not arrive is removed.
_SHORTEST_TOKEN, _OLD = 20, 86_400


class _Impatient(H11Protocol):
    """Ends a connection whose request does not come to the end of its head."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(_PATIENCE, self._late)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait(None)
        elif self._deadline is None:
            self._wait(_PATIENCE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def _wait(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._late) if seconds is not None else None

    def _late(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class Server(uvicorn.Server):
    """Ends when `should_exit` is set; whoever runs it hears the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(app: ASGIApp) -> Server:
    config: dict[str, Any] = {
        "http": _Impatient, "ws": "none", "lifespan": "on", "loop": "asyncio", "log_config": None, "access_log": False,
        "proxy_headers": False, "server_header": False, "limit_concurrency": _MOST_CONNECTIONS,
        "timeout_keep_alive": 20, "timeout_graceful_shutdown": 2, "h11_max_incomplete_event_size": _MOST_HEAD,
    }  # fmt: skip
    return Server(uvicorn.Config(app, **config))


def address_of(host: str) -> str:
    """The address, in numbers, that a name means. Raises UsageError."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError):
        raise UsageError(f"'{host}' is no address", "name one of this machine: 127.0.0.1") from None


def listen(host: str, port: int) -> socket.socket:
    """Raises UsageError where that cannot be had."""
    address = address_of(host)
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family, backlog=128)
    except OSError as error:
        fix = "name another one: --port" if error.errno == errno.EADDRINUSE else "name another address: --host"
        raise UsageError(f"{host}, port {port}, cannot be had: {error.strerror}", fix) from None


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address that is listened on."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def hosts_of(opened: socket.socket, given: str, names: tuple[str, ...]) -> frozenset[str]:
    """What browsers may call the server, in lower case; with the port, and without it for a proxy's."""
    address, port = opened.getsockname()[:2]
    called = {given, address}
    if is_loopback(address):
        called |= {"localhost", "127.0.0.1", "[::1]"}
    hosts = {f"[{name}]" if ":" in name and not name.startswith("[") else name for name in called} | set(names)
    found = {name if _has_port(name) else f"{name}:{port}" for name in hosts} | set(names)
    if port == 80:
        found |= hosts
    return frozenset(name.lower() for name in found)


def _has_port(name: str) -> bool:
    return name.rpartition(":")[2].isdigit() and not name.endswith("]")


def read_token(path: Path) -> str:
    """The token in a file, which is made where it is not there, with its folder; only its owner may read it.

    Raises UsageError.
    """
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_char_device() or path.is_block_device():  # whose mode nobody is to be told to change
            raise UsageError(f"{path} is a device and holds no token", "name a file of your own")
        with contextlib.suppress(FileExistsError):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(f"{secrets.token_urlsafe(32)}\n")
        mode, token = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise UsageError(f"{path} cannot be read as a token: {reason}", "name a file of your own") from None
    if mode & 0o077:
        raise UsageError(f"others may read {path}, which holds the token", f"chmod 600 {path}")
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or any(c in token for c in ' \t\n";,\\'):
        raise UsageError(
            f"{path} holds no token of at least {_SHORTEST_TOKEN} letters and digits",
            "remove it: a new one is made",
        )
    return token


def tidy(layout: Layout) -> None:
    """Removes files that began to arrive long ago and never did."""
    with contextlib.suppress(OSError):
        for file in os.scandir(layout.root / ARRIVING):
            with contextlib.suppress(OSError):
                if time.time() - file.stat(follow_symlinks=False).st_mtime > _OLD:
                    os.unlink(file.path)  # noqa: PTH108
