"""Taste in a real browser: the offer, why, and which is better."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from hotfolder.folders.layout import Layout
from hotfolder.status import mailbox
from tests.support.browser import SECONDS, Browser, browser
from tests.support.gallery import Client, serving
from tests.support.live import wait_for
from tests.support.tasting import cull, judged_root, work

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def culled(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """As if they were drawn, four of each prompt."""
    layout = judged_root(tmp_path_factory.mktemp("taste"), 120)
    connection = sqlite3.connect(layout.database)
    with connection:
        connection.execute("UPDATE images SET role = 'generated', prompt = 'prompt ' || (id / 4)")
    connection.close()
    cull(layout)
    work(layout)
    return layout


@pytest.fixture(scope="module")
def client(culled: Layout) -> Iterator[Client]:
    with serving(culled) as found:
        yield found


@pytest.fixture(scope="module")
def page(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        found.open(f"{client.address}/?sort=oldest")
        found.until("gallery.grid.order.length >= 100", "the grid")
        yield found
        assert found.errors() == []


def asked(layout: Layout) -> list[dict[str, object]]:
    return [dict(each.command) for each in mailbox.waiting(layout) if each.command["do"] == "taste"]


def button(page: Browser, where: str, text: str) -> None:
    page.run(
        f"[...document.querySelectorAll('{where} button')].find((each) => each.textContent === '{text}').click()"
    )


def test_the_offer_is_shown_with_its_evidence_and_asked_for(page: Browser, culled: Layout) -> None:
    page.click("#show-taste")
    page.until("document.querySelector('#side').dataset.shows === 'taste'", "the panel")
    assert "AUC" in page.text("#side") and "You keep from" in page.text("#side")
    assert page.text("#side button.main") == "Use my taste"
    # Another panel is asked for meanwhile: that this one is read anew by itself, a little later, does not matter.
    page.hold("GET /api/images/", "GET /api/taste")
    page.press("i")
    page.click("#side button.main")
    wait_for(lambda: len(asked(culled)) == 1, SECONDS, "a command")
    assert asked(culled)[0]["what"] == "use"
    page.release(2)
    assert page.run("document.querySelector('#side').dataset.shows") == "why"
    work(culled)


def test_why_has_three_parts_and_pictures_of_ones_own(page: Browser, client: Client) -> None:
    page.open(f"{client.address}/?sort=oldest")
    page.press("i")
    page.until("document.querySelectorAll('.taste-why dt').length === 5", "the parts")
    parts = page.run("[...document.querySelectorAll('.taste-why dd')].map((each) => each.textContent)")
    total = float(parts[3].split(":")[0])
    assert sum(map(float, parts[:3])) == pytest.approx(total, abs=0.02)
    assert page.run("document.querySelectorAll('.likes img').length") == 6


def test_which_is_better_is_one_key(page: Browser, client: Client, culled: Layout) -> None:
    page.open(f"{client.address}/?sort=oldest")
    page.click("#show-taste")
    page.until("document.querySelector('#side').dataset.shows === 'taste'", "the panel")
    button(page, "#side", "Which is better?")
    page.until("document.querySelector('#better').open", "the question")
    shown = page.run("document.querySelectorAll('#better .better button').length")
    assert 2 <= shown <= 4
    assert page.run("document.querySelector('#better [aria-live]').textContent").startswith("Set 1 of ")
    page.press("2")
    page.run(
        "document.querySelector('#better').dispatchEvent(new KeyboardEvent('keydown', {key: '1', repeat: true}))"
    )
    wait_for(lambda: any(each["what"] == "pairs" for each in asked(culled)), SECONDS, "a pair")
    (pair,) = (each for each in asked(culled) if each["what"] == "pairs")
    assert isinstance(pair["images"], list) and len(pair["images"]) == shown
    page.run(
        "[...document.querySelectorAll('#better button')].find((each) => each.textContent === 'Enough').click()"
    )
    page.until("!document.querySelector('#better').open", "the end")
    assert page.run("document.querySelectorAll('.cell.pending').length") == 0  # no key went to the grid


def test_an_answer_to_a_question_that_was_closed_answers_no_other(page: Browser, client: Client) -> None:
    page.open(f"{client.address}/?sort=oldest")
    page.click("#show-taste")
    page.until("document.querySelector('#side').dataset.shows === 'taste'", "the panel")
    button(page, "#side", "Which is better?")
    page.until("document.querySelector('#better').open", "the question")
    page.hold("POST /api/taste/pair")
    page.press("1")
    page.until("held === 1", "an answer")
    page.press(Keys.ESCAPE)
    page.until("!document.querySelector('#better').open", "the end")
    button(page, "#side", "Which is better?")
    page.until("document.querySelector('#better').open", "the question anew")
    page.release()
    assert page.text("#better [aria-live]").startswith("Set 1 of ")
