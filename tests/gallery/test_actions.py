"""What the page asks is carried out by the daemon, told as an event, and taken back as one."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.gallery.conftest import work
from tests.support.gallery import Client, serving
from tests.support.roots import daemon, files_in, new_root, picture, rows
from tests.support.scripted import ScriptedExecutor, always


@pytest.fixture
def own(tmp_path: Path) -> Layout:
    """b is rejected, c and d are kept."""
    layout = new_root(tmp_path)
    for number, name in enumerate("bcd"):
        picture(layout.inbox(Kind.SCORE) / f"{name}.png", number)
    work(layout)
    return layout


def obey(layout: Layout) -> None:
    daemon(layout, ScriptedExecutor(always(6.6)), WATCH__MODE="polling").obey()


def id_of(layout: Layout, name: str) -> int:
    return int(rows(layout, "SELECT id FROM images WHERE path LIKE ?", (f"%/{name}.png",))[0][0])


@contextlib.contextmanager
def listening(client: Client, after: int | None = None) -> Iterator[queue.Queue[tuple[str, Any]]]:
    """The events of a stream, as they come."""
    found: queue.Queue[tuple[str, Any]] = queue.Queue()
    connection = socket.create_connection(("127.0.0.1", client.port), 30)
    known = f"Last-Event-ID: {after}\r\n" if after is not None else ""
    connection.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n{known}\r\n".encode())

    def read() -> None:
        name = ""
        with contextlib.suppress(OSError, ValueError), connection.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("event: "):
                    name = line[7:].strip()
                elif line.startswith("data: "):
                    found.put((name, json.loads(line[6:])))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield found
    finally:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        reader.join(60)
        connection.close()


def next_event(events: queue.Queue[tuple[str, Any]], wanted: str) -> Any:
    while True:
        name, data = events.get(timeout=60)
        if name == wanted:
            return data


def test_a_verdict_is_carried_out_told_and_taken_back(own: Layout) -> None:
    image_id = id_of(own, "c")
    with serving(own) as client, listening(client) as events:
        next_event(events, "panel")
        asked = client.post("/api/verdict", {"images": [image_id, id_of(own, "d")], "verdict": "reject"}).json
        assert asked["daemon_is_running"] is False
        while not next_event(events, "panel")["pending"]:
            pass
        obey(own)
        changed: dict[int, int] = {}
        while image_id not in changed:  # each of the two may be told as soon as it is moved
            changed |= {row[0]: row[2] for row in next_event(events, "images")["rows"]}
        assert changed[image_id] == 2 | 4 | 8 | 64  # rejected by a person
        answer = next_event(events, "answer")
        assert (answer["command"], answer["files"], answer["left"]) == (asked["command"], 2, 0)
        assert files_in(own, "keep") == []
        assert rows(own, "SELECT DISTINCT how FROM verdicts WHERE \"by\" = 'person'") == [("key",)]

        undone = client.post("/api/undo", {"command": asked["command"]}).json
        obey(own)
        answer = next_event(events, "answer")
        assert (answer["command"], answer["undone"]) == (undone["command"], ["reject"])
        assert files_in(own, "keep") == ["keep/c.png", "keep/d.png"]


def test_of_several_actions_just_the_one_is_undone(own: Layout) -> None:
    with serving(own) as client:
        first = client.post("/api/verdict", {"images": [id_of(own, "c")], "verdict": "reject"}).json["command"]
        client.post("/api/verdict", {"images": [id_of(own, "b")], "verdict": "keep"})
        obey(own)
        client.post("/api/undo", {"command": first})
        obey(own)
        assert files_in(own, "keep") == ["keep/b.png", "keep/c.png", "keep/d.png"]
        client.post("/api/undo")
        obey(own)
        assert files_in(own, "keep") == ["keep/c.png", "keep/d.png"]
        assert client.post("/api/undo").kind == "nothing_to_undo"


def test_what_no_daemon_has_begun_is_withdrawn(own: Layout) -> None:
    with serving(own) as client:
        asked = client.post("/api/verdict", {"images": [id_of(own, "c")], "verdict": "reject"}).json["command"]
        assert client.post("/api/undo", {"command": asked}).json["withdrawn"] == asked
        assert files_in(own, ".hotfolder/control") == []
        client.post("/api/verdict", {"images": [id_of(own, "c")], "verdict": "reject"})
        assert "withdrawn" in client.post("/api/undo").json


def test_a_page_that_comes_again_is_told_what_it_missed(own: Layout) -> None:
    with serving(own) as client:
        before, _ = client.columns()
        client.post("/api/verdict", {"images": [id_of(own, "c")], "verdict": "reject"})
        obey(own)
        (own.root / "keep/d.png").unlink()
        gone = id_of(own, "d")
        daemon(own, ScriptedExecutor(always(6.6)), WATCH__MODE="polling").run(once=True)
        with listening(client, before) as events:
            told = next_event(events, "images")
            assert [row[0] for row in told["rows"]] == [id_of(own, "c")]
            assert told["gone"] == [gone]
        with listening(client, before + 10_000) as events:  # of a database that was made anew since
            assert next_event(events, "reload") == {}
        assert gone not in client.columns()[1]


def test_a_reroute_moves_what_its_preview_says_and_is_undone(own: Layout) -> None:
    with serving(own) as client:
        images = client.columns()[1]
        flips = {i for i, (score, _, flags) in images.items() if flags & 3 == 1 and score < 6.8}
        asked = client.post("/api/reroute", {"keep": 6.8}).json["command"]
        obey(own)
        assert {i for i, (_, _, flags) in client.columns()[1].items() if flags & 3 == 2} - {
            id_of(own, "b")
        } == flips
        assert files_in(own, "keep") == ["keep/d.png"]
        client.post("/api/undo", {"command": asked})
        obey(own)
        assert files_in(own, "keep") == ["keep/c.png", "keep/d.png"]


def test_what_was_looked_at_and_left_is_recorded_and_forgotten(own: Layout) -> None:
    c, d = id_of(own, "c"), id_of(own, "d")
    with serving(own) as client:
        client.post("/api/seen", {"looks": [[c, 900], [d, 100], [c, 500]]})
        obey(own)
        view = 'SELECT path, verdict, "by", how, score, gate_keep, weight FROM verdicts WHERE how IS NOT NULL'
        assert rows(own, view) == [("keep/c.png", "keep", "person", "seen", 6.6, 6.5, 1.0)]
        assert rows(own, "SELECT milliseconds FROM looks") == [(900,)]
        # It pins nothing: a new threshold still moves it.
        client.post("/api/reroute", {"keep": 6.8})
        obey(own)
        assert files_in(own, "keep") == ["keep/d.png"]
        client.post("/api/forget-seen", {"images": [d]})
        obey(own)
        assert rows(own, "SELECT count(*) FROM looks") == [(1,)]
        client.post("/api/forget-seen")
        obey(own)
        assert rows(own, "SELECT count(*) FROM looks") == [(0,)]


def test_a_prompt_and_a_picture_are_dropped(own: Layout) -> None:
    with serving(own) as client:
        answer = client.post("/api/prompt", {"text": "a red circle --count 2\na blue square"})
        assert answer.json["images"] == 3
        (prompt,) = files_in(own, "inbox/generate")
        assert answer.json["path"] == prompt
        assert (own.root / prompt).read_text() == "a red circle --count 2\na blue square"
        refused = client.post("/api/prompt", {"text": "a cat --no-such-flag"})
        assert refused.status == 422
        assert "no-such-flag" in refused.json["error"]["message"]
        data = (own.root / "keep/c.png").read_bytes()
        assert client.upload("upscale", "mine.png", data).json["path"] == "inbox/upscale/mine.png"
        assert files_in(own, "inbox/upscale", ".hotfolder/arriving") == ["inbox/upscale/mine.png"]


def test_the_queue_is_steered(own: Layout) -> None:
    with serving(own) as client:
        for path, asked in (
            ("/api/pause", {"seconds": 60}), ("/api/resume", {}), ("/api/cancel", {"drops": [1], "jobs": []}),
            ("/api/first", {"drops": [1]}), ("/api/retry", {"jobs": [1]}),
            ("/api/enlarge", {"images": [id_of(own, "c")]}),
        ):  # fmt: skip
            assert client.post(path, asked).status == 202, path
        obey(own)
        assert rows(own, "SELECT kind, state FROM jobs WHERE kind = 'upscale'") == [("upscale", "queued")]


def test_stars_are_given_told_and_taken_back(own: Layout) -> None:
    b, c = id_of(own, "b"), id_of(own, "c")
    with serving(own) as client, listening(client) as events:
        next_event(events, "panel")
        asked = client.post("/api/stars", {"images": [b, c], "stars": 4}).json["command"]
        while not (panel := next_event(events, "panel"))["pending_stars"]:
            pass
        assert panel["pending_stars"] == [[b, 4], [c, 4]]
        obey(own)
        told: dict[int, int] = {}
        while told != {b: 6, c: 6}:
            told |= {row[0]: row[4] for row in next_event(events, "images")["rows"]}
        assert client.stars() == {b: 4, c: 4}
        assert files_in(own, "keep") == ["keep/b.png", "keep/c.png", "keep/d.png"]
        assert client.get(f"/api/images/{b}").json["stars"] == 4
        assert sorted(client.order("stars=4")) == sorted([b, c])
        assert client.order("stars=3") == [id_of(own, "d")]  # of its score
        client.post("/api/undo", {"command": asked})
        obey(own)
        assert client.stars() == {}
        assert files_in(own, "keep") == ["keep/c.png", "keep/d.png"]
        client.post("/api/stars", {"images": [c], "stars": 0})
        assert "withdrawn" in client.post("/api/undo").json
        for wrong in (-1, 6, True, "3", None):
            assert client.post("/api/stars", {"images": [c], "stars": wrong}).status == 400


def test_failed_files_are_shown_and_tried_again(own: Layout) -> None:
    (own.root / "inbox/score/trip").mkdir()
    (own.root / "inbox/score/trip/bad.png").write_bytes(b"no picture at all")
    work(own)
    with serving(own) as client:
        (id_,) = client.order("state=failed")
        assert client.order("state=waiting") == []
        (told,) = client.get(f"/api/files?ids={id_},999").json["files"]
        assert (told["name"], told["state"], told["failed"], told["image_id"]) == (
            "score/trip/bad.png", "failed", 1, None,
        )  # fmt: skip
        assert told["lies"] == "failed/trip/bad.png"
        assert told["error"]
        assert client.order("state=failed&words=TRIP+bad") == [id_]
        assert client.order("state=failed&words=other") == []
        assert client.post("/api/retry", {"drops": [999]}).kind == "nothing_failed"
        assert client.post("/api/retry", {"drops": [id_]}).status == 202
        obey(own)
        assert (client.order("state=failed"), client.order("state=waiting")) == ([], [id_])
        (told,) = client.get(f"/api/files?ids={id_}").json["files"]
        assert (told["state"], told["waiting"], told["work"]) == ("waiting", 1, "score")
        client.post("/api/cancel", {"drops": [id_]})
        obey(own)
        assert client.order("state=waiting") == []
        for wrong in ("state=done", "state=", "state=failed&folder=keep", "state=failed&sort=best"):
            assert client.get(f"/api/order?{wrong}").status == 400
        assert client.get("/api/files?ids=x").status == 400
