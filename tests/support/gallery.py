"""The gallery on a free port of this machine, in a thread of the test."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import struct
import threading
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hotfolder.folders.layout import Layout
from hotfolder.gallery.access import Access
from hotfolder.gallery.application import application
from hotfolder.gallery.server import hosts_of, listen, server
from tests.support.live import wait_for
from tests.support.roots import settings


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        return str(self.json["error"]["kind"])


@dataclass
class Client:
    """Asks as our own page does, unless told otherwise."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, asked: Any = None, **headers: str) -> Answer:
        own = {"content-type": "application/json", "sec-fetch-site": "same-origin"}
        return self.ask("POST", path, json.dumps(asked if asked is not None else {}).encode(), {**own, **headers})

    def upload(self, inbox: str, name: str, data: bytes, **headers: str) -> Answer:
        own = {"content-type": "application/octet-stream", "sec-fetch-site": "same-origin"}
        from urllib.parse import quote

        return self.ask("POST", f"/upload?inbox={quote(inbox)}&name={quote(name)}", data, {**own, **headers})

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            sent = {key.replace("_", "-"): value for key, value in {**self.headers, **headers}.items()}
            with contextlib.suppress(ConnectionError):  # a body that is too large is not read to its end
                connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def columns(self) -> tuple[int, dict[int, tuple[float, int, int]]]:
        """The newest change, and score, version and flags by id."""
        changed, images = self.rows()
        return changed, {id_: row[:3] for id_, row in images.items()}

    def stars(self) -> dict[int, int]:
        """Those that a person gave, by id."""
        return {id_: row[3] - 2 for id_, row in self.rows()[1].items() if row[3]}

    def rows(self) -> tuple[int, dict[int, tuple[float, int, int, int]]]:
        data = self.get("/api/columns").body
        count, changed = struct.unpack_from("<II", data)
        parts = []
        at = 8
        for code in "dIIBB":
            column = array(code)
            size = count * column.itemsize
            column.frombytes(data[at : at + size])
            parts.append(column)
            at += size
        assert at == len(data)
        scores, ids, versions, flags, stars = parts
        found = zip(ids, scores, versions, flags, stars, strict=True)
        return changed, {id_: (score, version, flag, given) for id_, score, version, flag, given in found}

    def order(self, query: str = "") -> list[int]:
        answer = self.get(f"/api/order?{query}")
        assert answer.status == 200, answer.body
        return list(array("I", answer.body))


@contextlib.contextmanager
def serving(
    layout: Layout,
    *,
    token: str | None = None,
    read_only: bool = False,
    names: tuple[str, ...] = (),
    **overrides: str,
) -> Iterator[Client]:
    """Ends with the `with` block."""
    listening = listen("127.0.0.1", 0)
    found = settings(layout, **overrides)
    access = Access(hosts_of(listening, "127.0.0.1", names), token, read_only, found.gallery.upload_mb * 2**20)
    running = server(application(layout, found, access))
    thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[listening])))
    thread.start()
    try:
        wait_for(lambda: running.started or not thread.is_alive(), 60, "a server that answers")
        yield Client(listening.getsockname()[1])
    finally:
        running.should_exit = True
        thread.join(60)
        listening.close()
    assert not thread.is_alive()
