"""Requests that mean no good: each is refused, or does nothing."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.gallery import access
from tests.gallery.conftest import work
from tests.support.gallery import Client, serving
from tests.support.live import wait_for
from tests.support.roots import files_in, new_root, picture, rows

SECONDS = 60
HEAD = b"\r\n\r\n"  # the end of an answer's
NAME = "<script>alert(1)</script>\"'onerror=x"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = new_root(tmp_path_factory.mktemp("hostile"))
    picture(layout.inbox("score") / "<script>alert(1)<" / "a.png", 1)
    picture(layout.inbox("score") / "b.png", 2)
    work(layout)
    (layout.root.parent / "secret.png").write_bytes((layout.root / "reject/b.png").read_bytes())
    return layout


@pytest.fixture(scope="module")
def target(root: Layout) -> Iterator[Client]:
    with serving(root, GALLERY__UPLOAD_MB="1") as client:
        yield client


def raw(client: Client, text: str | bytes, enough: bytes | None = None) -> bytes:
    """What is answered to these bytes, until the server closes the connection or has said enough."""
    data = text.replace("HOST", f"127.0.0.1:{client.port}").encode() if isinstance(text, str) else text
    with contextlib.closing(socket.create_connection(("127.0.0.1", client.port), SECONDS)) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
            while chunk := connection.recv(65_536):
                answer += chunk
                if enough is not None and enough in answer:
                    break
        return answer


PATHS = [
    "/original/../../../etc/passwd", "/original/%2e%2e%2f%2e%2e%2fetc%2fpasswd/x", "/original//etc/passwd",
    "/thumbnail/256/../../secret.png", "/thumbnail/256/%2fetc%2fpasswd/x", "/static/../access.py",
    "/static/%2e%2e/access.py", "/static//etc/passwd", "/static/vendor/../../server.py", "/static/",
    "/static/..%5c..%5caccess.py", "/file?path=/etc/passwd", "/api/images/../../hotfolder.db", "/hotfolder.db",
    "/.hotfolder/control", "/original/0/x", "/original/99999999999999999999999999/x", "/original/-1/x",
    "/original/1e3/x", "/original/1.5/x", "/original/1%00/x", "/thumbnail/100000/1/x", "/thumbnail/-256/1/x",
    "/api/images/18446744073709551617", "/api/images/9999999999999999999", "/docs", "/openapi.json", "/zip?paths=/etc",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file(target: Client, path: str) -> None:
    answer = target.get(path)
    assert answer.status == 404, answer.body
    assert b"root:" not in answer.body


def test_a_number_of_thousands_of_digits_is_none(target: Client) -> None:
    for path in (f"/api/images/{'9' * 4301}", f"/original/{'1' * 5000}/x", f"/thumbnail/256/{'0' * 5000}1/x",
                 f"/thumbnail/{'2' * 5000}/1/x", f"/api/taste/why/{'9' * 5000}"):  # fmt: skip
        assert target.get(path).status == 404
    for query in (f"order?seed={'9' * 5000}", f"order?like={'9' * 5000}", f"names?ids={'9' * 5000}"):
        assert target.get(f"/api/{query}").status == 400


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:PORT", "127.0.0.1:PORT.evil.example",
        "evil.example@127.0.0.1:PORT", "[::ffff:127.0.0.1]:PORT", "0.0.0.0:PORT", "", "2130706433:PORT",
    ],
)  # fmt: skip
def test_another_host_is_not_answered(target: Client, host: str) -> None:
    """DNS rebinding: a page of another name that leads to this address."""
    named = host.replace("PORT", str(target.port))
    answer = raw(target, f"GET /api/columns HTTP/1.1\r\nHost: {named}\r\nConnection: close\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400"))


def test_two_hosts_are_none(target: Client) -> None:
    answer = raw(target, "GET / HTTP/1.1\r\nHost: HOST\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400"))


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin", "origin": "http://evil.example"},
        {"sec-fetch-site": "", "origin": "http://evil.example"}, {"sec-fetch-site": "", "origin": "null"},
        {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1"}, {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"}, {"content-type": "multipart/form-data; boundary=x"},
    ],
)  # fmt: skip
def test_only_our_own_page_writes(root: Layout, target: Client, headers: dict[str, str]) -> None:
    answer = target.post("/api/verdict", {"images": [1], "verdict": "reject"}, **headers)
    assert answer.status in (403, 415)
    assert files_in(root, ".hotfolder/control") == []


def test_a_write_without_any_origin_is_refused(root: Layout, target: Client) -> None:
    answer = target.ask("POST", "/api/pause", b"{}", {"content-type": "application/json"})
    assert answer.status == 403
    assert files_in(root, ".hotfolder/control") == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_refused(target: Client, method: str) -> None:
    assert target.ask(method, "/", None, {}).status == 405


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/columns", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}),
        (
            "/original/1/x",
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        ),
        (
            "/original/1/x",
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        ),
        ("/", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}),
    ],
)
def test_other_pages_take_nothing_from_here(target: Client, path: str, headers: dict[str, str]) -> None:
    assert target.get(path, **headers).status == 403


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/verdict", {"images": ["1; DROP TABLE images"], "verdict": "keep"}),
        ("/api/verdict", {"images": [1], "verdict": "delete"}), ("/api/verdict", {"images": "1", "verdict": "keep"}),
        ("/api/verdict", {"images": [2**64], "verdict": "keep"}), ("/api/verdict", [1]),
        ("/api/verdict", {"images": [True], "verdict": "keep"}), ("/api/reroute", {"keep": "nan"}),
        ("/api/reroute", {"keep": 11}), ("/api/pause", {"seconds": -1}), ("/api/undo", {"command": 7}),
        ("/api/seen", {"looks": [[1, -5]]}), ("/api/seen", {"looks": {"1": 2}}), ("/api/prompt", {"text": ""}),
        ("/api/prompt", {"text": "a cat --size ../../x"}), ("/api/prompt", {"text": "x", "inbox": "../../tmp"}),
        ("/api/prompt", {"text": "x", "inbox": "score"}), ("/api/retry", {"jobs": [0.5]}),
    ],
)  # fmt: skip
def test_what_is_no_command_is_refused(root: Layout, target: Client, path: str, asked: object) -> None:
    answer = target.post(path, asked)
    assert answer.status in (400, 422), answer.body
    assert answer.json["error"]["message"]
    assert files_in(root, ".hotfolder/control", "inbox") == []


def test_a_name_of_a_command_leads_to_no_other_file(root: Layout, target: Client) -> None:
    answer = target.post("/api/undo", {"command": "../../hotfolder.db"})
    assert answer.status == 202  # asked of the daemon, which knows no such command
    assert (root.root / "hotfolder.db").exists()
    for path in root.control.iterdir():
        path.unlink()


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"null", b'{"a": NaN'])
def test_a_body_that_is_no_json(target: Client, body: bytes) -> None:
    headers = {"content-type": "application/json", "sec-fetch-site": "same-origin"}
    assert target.ask("POST", "/api/resume", body, headers).status == 400


def test_too_much_is_not_taken(root: Layout, target: Client) -> None:
    head = "POST /api/verdict HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: same-origin\r\n"
    head += "Content-Type: application/json\r\n"
    assert raw(target, f"{head}Content-Length: 99999999999\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert raw(target, f"{head}Content-Length: {'9' * 5000}\r\n\r\n").startswith(
        (b"HTTP/1.1 413", b"HTTP/1.1 400")
    )
    assert target.upload("score", "big.png", b"x" * (2**20 + 1)).status == 413
    chunk = "10000\r\n" + "x" * 0x10000 + "\r\n"
    upload = head.replace("/api/verdict", "/upload?inbox=score&name=a.png").replace(
        "application/json", "application/octet-stream"
    )
    answer = raw(target, f"{upload}Transfer-Encoding: chunked\r\n\r\n{chunk * 17}0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413") or answer == b""  # the connection is closed on it
    assert target.get("/api/order?words=" + "x" * 9000).status == 414
    assert raw(target, f"GET /{'x' * 100_000} HTTP/1.1\r\nHost: HOST\r\n\r\n", HEAD)[:12] in (
        b"HTTP/1.1 400",
        b"HTTP/1.1 404",
        b"",
    )
    assert files_in(root, "inbox", ".hotfolder/arriving") == []


@pytest.mark.parametrize(
    "name",
    ["", "../../../etc/cron.d/x", ".hidden", "a.exe", "a.png.part", "page.svg", "x.html", "..", "hotfolder.toml"],
)
def test_a_file_of_a_bad_name_is_not_taken(root: Layout, target: Client, name: str) -> None:
    assert target.upload("score", name, b"x").status in (400, 415)
    assert target.upload("../keep", "a.png", b"x").status == 400
    assert files_in(root, "inbox", ".hotfolder/arriving") == []


def test_a_name_is_made_safe(root: Layout, target: Client) -> None:
    picture_data = (root.root / "reject/b.png").read_bytes()
    answers = [
        target.upload("score", name, picture_data).json["path"]
        for name in (
            "../../a/b/é<b>\u202egnp.png",
            "x" * 400 + ".png",
            "same.png",
            "same.png",
            "\\\\host\\c$\\w.png",
        )
    ]
    assert answers == [
        "inbox/score/é_b__gnp.png", f"inbox/score/{'x' * 176}.png", "inbox/score/same.png", "inbox/score/same-1.png",
        "inbox/score/w.png",
    ]  # fmt: skip
    for path in answers:
        assert (root.root / path).read_bytes() == picture_data
        (root.root / path).unlink()


def test_a_cut_off_upload_leaves_nothing(root: Layout, target: Client) -> None:
    head = (
        f"POST /upload?inbox=score&name=a.png HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n"
        "Sec-Fetch-Site: same-origin\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nabc"
    )
    with contextlib.closing(socket.create_connection(("127.0.0.1", target.port), 5)) as connection:
        connection.sendall(head.encode())
        wait_for(lambda: files_in(root, ".hotfolder/arriving") != [], SECONDS, "it begins to arrive")
    wait_for(lambda: files_in(root, ".hotfolder/arriving") == [], SECONDS, "what arrived of it is removed")
    assert files_in(root, "inbox") == []


def test_who_is_slow_is_not_waited_for(root: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_PATIENCE", 0.3)
    monkeypatch.setattr("hotfolder.gallery.server._PATIENCE", 0.3)
    with serving(root) as client:
        began = time.monotonic()
        assert raw(client, "GET / HTTP/1.1\r\nHost: HO") == b""  # a head without its end
        body = "POST /api/resume HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: same-origin\r\n"
        body += "Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
        assert raw(client, body).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 20  # which each of the two would be waited for, as delivered


def test_half_closed_and_broken_streams_do_no_harm(target: Client) -> None:
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", target.port), 5)
        connection.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        connection.close()
    assert raw(target, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", HEAD)[:12] in (b"HTTP/1.1 400", b"")
    assert raw(
        target, b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", HEAD
    )
    assert raw(
        target, "GET /events HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", HEAD
    )
    assert target.get("/").status == 200


def test_ranges_are_not_understood(target: Client) -> None:
    bomb = "bytes=" + ",".join(f"{n}-" for n in range(2000))
    answer = target.get("/original/2/x", range=bomb)
    assert answer.status == 200


def test_texts_of_others_stay_texts(root: Layout, target: Client) -> None:
    page = target.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    document = target.get("/api/images/1")
    assert document.headers["content-type"] == "application/json"
    assert "<script>" in document.json["path"] + target.get("/api/images/2").json["path"]
    hostile = new_root(root.root.parent / NAME.replace("/", "-"))
    with serving(hostile) as client:
        assert b"<script>alert" not in client.get("/").body
    told = target.get("/api/order?sort=<script>alert(1)</script>")
    assert (told.status, told.headers["content-type"]) == (400, "application/json")


def test_read_only_shows_and_does_nothing(root: Layout) -> None:
    with serving(root, read_only=True) as client:
        assert client.get("/original/2/x").status == 200
        assert client.post("/api/verdict", {"images": [1], "verdict": "keep"}).kind == "read_only"
        assert client.upload("score", "a.png", b"x").kind == "read_only"
    assert files_in(root, "inbox", ".hotfolder/control") == []


def test_a_token_is_before_everything(root: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotfolder.gallery.pages._WRONG", 0.0)
    token = "t0ken-" * 5
    with serving(root, token=token, names=("pictures.example",), GALLERY__METRICS="true") as client:
        for path in (
            "/",
            "/api/columns",
            "/thumbnail/256/1/x",
            "/original/1/x",
            "/events",
            "/metrics",
            "/healthz",
        ):
            assert client.get(path).status == 401, path
        assert client.post("/api/verdict", {"images": [1], "verdict": "keep"}).status == 401
        assert client.get("/login").status == 200
        assert client.get("/", cookie=f"hotfolder={token[:-1]}").status == 401
        assert client.post("/login", {"token": "wrong"}).status == 401
        answer = client.post("/login", {"token": token})
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
        assert client.get("/", cookie=cookie.partition(";")[0]).status == 200
        assert client.get("/healthz", authorization=f"Bearer {token}").body == b"ok\n"
        assert b"hotfolder_jobs{" in client.get("/metrics", authorization=f"Bearer {token}").body
        secure = client.post(
            "/login", {"token": token}, host="pictures.example", origin="https://pictures.example"
        )
        assert "Secure" in secure.headers["set-cookie"]


def test_nothing_was_changed_by_all_that(root: Layout) -> None:
    assert rows(root, "SELECT count(*) FROM images WHERE verdict_by = 'person'") == [(0,)]
    assert not root.hold.exists()  # nor is anything paused
