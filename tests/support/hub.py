"""A model hub, and releases by address, on loopback: what `models pull` talks to, without the network."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Repository:
    """Files of one commit; `large` ones are kept by their sha256, as the hub does with weights."""

    revision: str
    files: dict[str, bytes]
    gated: bool = False

    def listing(self, name: str) -> dict[str, Any]:
        siblings = [
            {
                "rfilename": path, "size": len(data), "blobId": git_blob(data),
                **({"lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 134}} if is_large(path) else {}),
            }
            for path, data in self.files.items()
        ]  # fmt: skip
        return {
            "id": name,
            "modelId": name,
            "sha": self.revision,
            "siblings": siblings,
            "tags": [],
            "private": False,
        }


@dataclass
class Hub:
    """What it serves, and what it was asked. `cut` names paths whose first answer breaks off after so many bytes."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    addresses: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, Range
    url: str = ""

    def ranges(self, ending: str) -> list[str | None]:
        """The Range of each GET of a path with this ending."""
        return [asked for method, path, asked in self.asked if method == "GET" and path.endswith(ending)]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(path: str) -> bool:
    return Path(path).suffix in (".safetensors", ".pth", ".bin")


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serves on a free port of loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append((self.command, path, self.headers.get("Range")))
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"] and len(parts) in (4, 6):  # the newest commit; or one that is named
                repository = hub.repositories.get("/".join(parts[2:4]))
                if repository is None or (repository.gated and not self.headers.get("Authorization")):
                    self._refuse(repository)
                else:
                    self._send(json.dumps(repository.listing("/".join(parts[2:4]))).encode(), {}, body=body)
            elif len(parts) > 4 and parts[2] == "resolve":
                repository = hub.repositories.get("/".join(parts[:2]))
                data = repository.files.get("/".join(parts[4:])) if repository else None
                if repository is None or (repository.gated and not self.headers.get("Authorization")):
                    self._refuse(repository)
                elif data is None or parts[3] != repository.revision:
                    self._send(b"", {"X-Error-Code": "EntryNotFound"}, status=404, body=body)
                else:
                    name = "/".join(parts[4:])
                    etag = sha256(data) if is_large(name) else git_blob(data)
                    self._send(data, {"X-Repo-Commit": repository.revision, "ETag": f'"{etag}"'}, body=body)
            elif path in hub.addresses:
                self._send(hub.addresses[path], {}, body=body)
            else:
                self._send(b"", {}, status=404, body=body)

        def _refuse(self, repository: Repository | None) -> None:
            code = "GatedRepo" if repository else "RepoNotFound"
            self._send(b"", {"X-Error-Code": code}, status=401, body=False)

        def _send(self, data: bytes, headers: dict[str, str], *, body: bool, status: int = 200) -> None:
            asked, whole = self.headers.get("Range"), len(data)
            if asked and status == 200:
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                if start >= whole > 0:
                    status, data = 416, b""
                else:
                    data, status = data[start:], 206
                    headers = {**headers, "Content-Range": f"bytes {start}-{whole - 1}/{whole}"}
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data)), "Accept-Ranges": "bytes"}.items():
                self.send_header(name, value)
            self.end_headers()
            if not body:
                return
            most = hub.cut.pop(self.path.partition("?")[0], None)
            if most is not None:
                self.wfile.write(data[:most])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
