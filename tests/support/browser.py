"""A real browser: Debian's chromium and its driver, headless, with a profile of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import SessionNotCreatedException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains

from tests.support.live import wait_for

_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--no-first-run", "--window-size=1280,800", "--disable-dev-shm-usage",
)  # fmt: skip
SECONDS = 120
#: Answers to what begins so are read and kept back; `held` says how many.
_HOLD = """void (() => {
    const real = fetch, released = new Promise((done) => { globalThis.release = done; });
    globalThis.held = 0;
    globalThis.fetch = async (address, options) => {
        const answer = await real(address, options);
        const asked = `${options?.method ?? "GET"} ${address}`;
        if (!arguments[0].some((each) => asked.startsWith(each))) return answer;
        const data = await answer.arrayBuffer();
        globalThis.held += 1;
        await released;
        globalThis.fetch = real;
        return new Response(data, {status: answer.status, headers: answer.headers});
    };
})()"""
_DRAWN = """new Promise((done) => {
    const draw = (left) => (left ? requestAnimationFrame(() => draw(left - 1)) : done(true));
    draw(arguments[0]);
})"""


def needs_chromium() -> tuple[str, str]:
    """Skips the test where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and its driver here: apt-get install chromium chromium-driver")
    return chromium, driver


def axe() -> str:
    """The script of axe-core. Skips the test where it is not there."""
    named = os.environ.get("AXE_CORE")
    if not named or not Path(named).is_file():
        pytest.skip("no axe-core: npm install axe-core, and $AXE_CORE is the path of its axe.min.js")
    return Path(named).read_text(encoding="utf-8")


class Browser:
    """One page."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get(address)
        self.until(
            "document.body.dataset.ready === 'yes' || document.body.classList.contains('login')", "the page"
        )

    def run(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *values)

    def until(self, script: str, what: str) -> None:
        """Waits until it is true in the page."""
        wait_for(lambda: bool(self.run(script)), SECONDS, f"{what}: {script}")

    def drawn(self, times: int = 3) -> None:
        """Waits until the page was drawn so often: what it does by itself, and at once, is done by then."""
        self.run(_DRAWN, times)

    def hold(self, *asked: str) -> None:
        """From now on answers to what begins so ('GET /api/x') reach the page when they are released."""
        self.run(_HOLD, asked)

    def release(self, count: int = 1) -> None:
        """So many answers that were held, once they are there."""
        self.until(f"held === {count}", f"{count} that are answered")
        self.run("void release()")
        self.drawn()

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def with_control(self, key: str) -> None:
        from selenium.webdriver.common.keys import Keys

        ActionChains(self.driver).key_down(Keys.CONTROL).send_keys(key).key_up(Keys.CONTROL).perform()

    def click(self, css: str) -> None:
        self.driver.find_element("css selector", css).click()

    def text(self, css: str) -> str:
        return str(self.run("document.querySelector(arguments[0]).textContent", css))

    def errors(self) -> list[str]:
        """What the console told since the last time."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def hosts(self) -> set[str]:
        """Whom the page has asked since the last time."""
        found = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                address = urlsplit(message["params"]["request"]["url"])
                if address.scheme in ("http", "https", "ws", "wss"):
                    found.add(address.netloc)
        return found

    def tell(self, command: str, **values: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, values)


def _started(profile: Path) -> webdriver.Chrome:
    """The driver gives the browser a minute to come up: on a machine with much other work it may take a second try."""
    chromium, driver = needs_chromium()
    for number in range(3):
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for option in (*_OPTIONS, f"--user-data-dir={profile / str(number)}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        try:
            return webdriver.Chrome(options=options, service=Service(driver))
        except SessionNotCreatedException as error:
            trouble = error
    raise trouble


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    running = _started(profile)
    try:
        running.set_script_timeout(60)
        running.set_page_load_timeout(110)
        yield Browser(running)
    finally:
        running.quit()
