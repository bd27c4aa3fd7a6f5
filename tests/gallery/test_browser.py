"""The gallery in a real browser: keys, focus, undo, comparing, thresholds, arrivals, dropping, small screens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader
from hotfolder.ledger.shown import OF_BEST
from hotfolder.status import mailbox
from hotfolder.types import Kind
from tests.support.browser import SECONDS, Browser, axe, browser
from tests.support.gallery import Client, serving
from tests.support.live import wait_for
from tests.support.roots import daemon, files_in, new_root, picture
from tests.support.scripted import ScriptedExecutor

pytestmark = pytest.mark.slow
#: Scores of the pictures, by number: on both sides of the gate, some equal, one a hair below a threshold.
SCORES = [6.5, 6.6, 6.6, 5.2, 7.5, 6.4999999, 3.0, 8.25, 6.9, 5.0]


def work(layout: Layout) -> None:
    executor = ScriptedExecutor(lambda _, item: SCORES[int(Path(str(item.source)).stem[1:]) % 10])
    daemon(layout, executor, WATCH__MODE="polling", GATE__UPSCALE="never").run(once=True)


def asked(layout: Layout) -> list[str]:
    """Commands that wait, but for what was looked at: that is told when it suits."""
    return [each.command["do"] for each in mailbox.waiting(layout) if each.command["do"] != "seen"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = new_root(tmp_path_factory.mktemp("browser"))
    for number in range(30):
        picture(layout.inbox(Kind.SCORE) / f"p{number:02}.png", number, (320, 240))
    work(layout)
    return layout


@pytest.fixture(scope="module")
def client(root: Layout) -> Iterator[Client]:
    with serving(root) as found:
        yield found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(shared: Browser, client: Client) -> Iterator[Browser]:
    """The page anew; afterwards nothing has gone wrong in it, and it has asked nobody else."""
    shared.open(f"{client.address}/?sort=oldest")
    shared.until("gallery.grid.order.length >= 30", "the grid")
    yield shared
    assert shared.errors() == []
    assert shared.hosts() <= {f"127.0.0.1:{client.port}"}


FOCUS = "gallery.grid.focus"


def test_one_key_is_one_verdict_and_goes_on(page: Browser, root: Layout) -> None:
    first, second, third = page.run("[...gallery.grid.order.slice(0, 3)]")
    place = page.run("gallery.grid.box.scrollTop")
    page.press("x")
    assert page.run(FOCUS) == second
    page.press("p")
    assert page.run(FOCUS) == third
    page.until("document.querySelectorAll('.cell.pending').length === 2", "two that wait for a daemon")
    wait_for(lambda: len(asked(root)) == 2, SECONDS, "two commands")
    work(root)
    page.until("document.querySelectorAll('.cell.pending').length === 0", "both carried out")
    assert page.run(f"gallery.store.verdict({first})") == 2
    assert page.run(f"gallery.store.isMine({second})")
    assert page.run(FOCUS) == third  # what came back moved nothing
    assert page.run("gallery.grid.box.scrollTop") == place
    assert page.run(f"document.querySelector('#cell-{first}').getAttribute('aria-label')").endswith(
        "rejected, by you"
    )

    page.press("u", "u")
    page.until("document.querySelector('#toast').textContent.startsWith('Undone')", "a word of it")
    wait_for(lambda: len(asked(root)) == 2, SECONDS, "two commands to undo")
    work(root)
    page.until(f"gallery.store.verdict({first}) === 1 && !gallery.store.isMine({second})", "both taken back")
    page.with_control("y")
    page.until("document.querySelectorAll('.cell.pending').length === 1", "one done again")
    page.press("u")
    page.until("document.querySelectorAll('.cell.pending').length === 0", "withdrawn")
    wait_for(lambda: asked(root) == [], SECONDS, "nothing to be carried out")


def test_no_key_acts_while_one_writes(page: Browser, root: Layout) -> None:
    page.press("/")
    page.press("x", "p", "0", "1")
    page.until("gallery.grid.order.length === 0", "the search for 'xp01'")
    assert page.text("#empty h2") == "No picture is like that"
    page.with_control("a")
    page.press(*"p01")
    page.until("gallery.grid.order.length === 1", "the search for 'p01'")
    assert page.run("location.search") == "?words=p01&sort=oldest"
    assert asked(root) == []


def test_large_and_on_with_a_verdict(page: Browser, root: Layout) -> None:
    first, second, third = page.run("[...gallery.grid.order.slice(0, 3)]")
    page.press(Keys.ENTER)
    page.until("gallery.loupe.isOpen && document.querySelector('.pane .large').complete", "the picture")
    page.press("x")
    assert page.run("gallery.loupe.id") == second
    page.press("i")
    page.until("document.querySelector('#side .path')", "why")
    assert page.text("#side .path").startswith(("keep/", "reject/"))
    page.press(Keys.ARROW_RIGHT)
    page.until(f"gallery.loupe.id === {third}", "the next one")
    page.press(Keys.ESCAPE, Keys.ESCAPE)
    assert not page.run("gallery.loupe.isOpen")
    assert page.run(FOCUS) == third
    page.press("u")
    page.until(f"!gallery.store.pending.has({first})", "undone")
    wait_for(lambda: asked(root) == [], SECONDS, "nothing to be carried out")


def test_side_by_side_in_step(page: Browser) -> None:
    page.press("c")
    assert page.run("gallery.loupe.panes.length") == 2
    page.press("z")
    page.until("gallery.loupe.panes.every((pane) => pane.viewer?.isOpen())", "both at 100 %")
    page.drawn()
    where = (
        "gallery.loupe.panes.map((p) => [p.viewer.viewport.getCenter(true).x, p.viewer.viewport.getZoom(true)])"
    )
    before = page.run(where)[1]
    page.run("void gallery.loupe.panes[0].viewer.viewport.panBy(new OpenSeadragon.Point(0.1, 0.05), true)")
    page.run("void gallery.loupe.panes[0].viewer.viewport.zoomBy(1.5, undefined, true)")
    page.until(f"Math.abs({where}[1][0] - {before[0] + 0.1}) < 1e-6", "the same part")
    page.until(f"Math.abs({where}[1][1] - {before[1] * 1.5}) < 1e-6", "as large")
    assert page.run(f"{where}[0]") == pytest.approx(page.run(f"{where}[1]"))
    page.drawn()
    # What is told of the one that came along, a frame later, takes nothing back of what was done since.
    zoom = page.run(where)[0][1]
    page.run(
        "void (([one, other]) => {"
        " one.viewer.viewport.panBy(new OpenSeadragon.Point(0.02, 0), true); other.follow(one);"
        " one.viewer.viewport.zoomBy(0.8, undefined, true); other.viewer.raiseEvent('viewport-change');"
        "})(gallery.loupe.panes)"
    )
    page.until(f"Math.abs({where}[1][1] - {zoom * 0.8}) < 1e-6", "as small")
    page.drawn()
    # One of them alone; then it stays off by that much.
    page.run("void (gallery.loupe.isAlone = true)")
    page.run("void gallery.loupe.panes[1].viewer.viewport.panBy(new OpenSeadragon.Point(0.07, 0), true)")
    page.until("Math.abs(gallery.loupe.panes[1].offset.x - 0.07) < 1e-3", "it is known")
    page.drawn()
    page.run("void (gallery.loupe.isAlone = false)")
    page.run("void gallery.loupe.panes[0].viewer.viewport.panBy(new OpenSeadragon.Point(-0.03, 0), true)")
    page.until(f"Math.abs({where}[1][0] - {where}[0][0] - 0.07) < 1e-3", "off by what it was moved")
    page.press(Keys.TAB)
    assert page.run("gallery.loupe.active") == 1
    left = page.run("gallery.loupe.panes[0].id")
    page.press(Keys.ESCAPE, Keys.ARROW_RIGHT)
    assert page.run("gallery.loupe.panes[0].id") == left  # the other side stays
    assert page.run("gallery.loupe.panes[1].id") != left
    page.press("n", "n")
    assert page.run("new Set(gallery.loupe.panes.map((pane) => pane.id)).size") == 4


def test_a_threshold_moves_no_image_of_which_the_best_are_kept(page: Browser) -> None:
    first, *others = page.run("gallery.store.flips(10, true).toReject")
    page.run(f"void (gallery.store.flags[gallery.store.slots.get({first})] |= {OF_BEST})")
    assert page.run("gallery.store.flips(10, true).toReject") == others


def test_a_threshold_shows_exactly_what_reroute_would_move(page: Browser, root: Layout) -> None:
    page.press("t")
    for keep in (1, 5.0, 6.4999999, 6.5, 6.6, 6.9000001, 7.5, 10):
        page.run(
            "void ((field) => { field.value = arguments[0]; field.dispatchEvent(new Event('input')); })"
            "(document.getElementById('threshold'))",
            keep,
        )
        with Reader(root.database) as reader:
            wanted = {each["path"] for each in reader.misplaced(keep, 1000)}
            flips = [reader.image_row(i)["path"] for i in page.run("[...gallery.grid.flipped.keys()]")]  # type: ignore[index]
            counts = reader.misplaced_counts(keep)
        assert set(flips) == wanted, keep
        told = page.run("({...document.getElementById('flips').dataset})")
        assert (int(told["keep"]), int(told["reject"])) == (counts["reject"], counts["keep"])
    page.run(
        "void ((field) => { field.value = 7; field.dispatchEvent(new Event('input')); })"
        "(document.getElementById('threshold'))"
    )
    before = files_in(root, "keep", "reject")
    page.run("void [1, 2].forEach(() => document.getElementById('apply').click())")  # impatient
    wait_for(lambda: len(asked(root)) == 1, SECONDS, "a command")
    work(root)
    page.until("gallery.grid.flipped.size === 0", "nothing left to move")
    assert files_in(root, "keep", "reject") != before
    page.press("u")
    wait_for(lambda: len(asked(root)) == 1, SECONDS, "a command to undo")
    work(root)
    assert files_in(root, "keep", "reject") == before


def test_a_threshold_keeps_up_with_pictures_that_come_all_the_time(page: Browser) -> None:
    page.press("t")
    page.run(
        "void (gallery.changes = 0, gallery.ticking = setInterval(() => {"
        " gallery.changes += 1; gallery.store.apply([], [], gallery.store.changed); }, 50),"
        " gallery.threshold.told.textContent = '')"
    )
    page.until("gallery.threshold.told.textContent !== ''", "it is counted anew")
    page.until("gallery.changes > 4", "several changes")
    page.run("void clearInterval(gallery.ticking)")


def test_stars_by_keys(page: Browser, root: Layout) -> None:
    first, second, third = page.run("[...gallery.grid.order.slice(0, 3)]")
    page.press("4", "1")
    assert page.run(FOCUS) == third
    star = "document.querySelector('#cell-' + arguments[0] + ' .stars').textContent"
    assert [page.run(star, first), page.run(star, second)] == ["★4", "★1"]
    page.until("document.querySelectorAll('.cell.pending').length === 2", "two that wait for a daemon")
    wait_for(lambda: asked(root) == ["stars", "stars"], SECONDS, "two commands")
    work(root)
    page.until("document.querySelectorAll('.cell.pending').length === 0", "both carried out")
    page.until(f"gallery.store.isMine({first})", "its verdict, too")  # it may be told after the stars
    assert page.run("[arguments[0], arguments[1]].map((id) => gallery.store.starsOf(id))", first, second) == [4, 1]
    assert not page.run(f"gallery.store.isMine({second})")
    label = page.run(f"document.querySelector('#cell-{second}').getAttribute('aria-label')")
    assert "1 star of yours" in label
    page.press(Keys.HOME, Keys.ENTER)
    page.until("gallery.loupe.isOpen", "the picture")
    assert page.run("document.querySelectorAll('#loupe .stars [aria-pressed=true]').length") == 4
    page.click("#loupe .stars [data-key=star5]")
    assert page.run("gallery.loupe.id") == second
    page.press("u")
    page.until(f"gallery.store.starsOf({first}) === 4 && gallery.loupe.id === {first}", "taken back, and shown")
    page.press(Keys.ESCAPE, "u", "u")
    wait_for(lambda: asked(root) == ["undo", "undo"], SECONDS, "two commands to undo")
    work(root)
    page.until(f"gallery.store.starsOf({first}) === null && gallery.store.starsOf({second}) === null", "no stars")
    page.with_control("a")
    page.press("0")
    page.until("document.getElementById('sure').open", "a question")
    assert "no stars" in page.text("#sure-text")
    page.click("#sure-no")
    assert asked(root) == []


def test_what_is_like_one_by_a_key_and_a_button(page: Browser, client: Client) -> None:
    count = page.run("gallery.grid.order.length")
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    third = page.run(FOCUS)
    page.press("s")
    page.until("!document.getElementById('unlike').hidden && gallery.grid.order[0] === " + str(third), "the like")
    assert page.run("location.search") == f"?like={third}"
    assert page.run("document.getElementById('sort').value") == "alike"
    assert page.run(FOCUS) == third
    page.open(f"{client.address}/?like={third}&folder=keep")  # its address can be kept
    page.until(f"gallery.grid.order.length > 0 && gallery.grid.order.length < {count}", "of them what was kept")
    page.click("#unlike")
    page.until("document.getElementById('unlike').hidden && location.search === '?folder=keep'", "all again")
    page.run("void history.back()")
    page.until("!document.getElementById('unlike').hidden", "the way back")
    page.press(Keys.ENTER, "i")
    page.until("document.querySelector('#side .path')", "why")
    page.driver.find_element("xpath", "//aside//button[.='Like this one']").click()
    page.until("!gallery.loupe.isOpen && location.search.startsWith('?like=')", "like that one")
    page.press("f")
    page.driver.find_element("name", "shows").send_keys("a red car", Keys.ENTER)
    page.until("document.querySelector('#toast.error')", "what is missing")
    assert "CLIP" in page.text("#toast")
    assert all("422" in error for error in page.errors())


def test_failed_and_waiting_files_in_the_grid(page: Browser, client: Client, root: Layout) -> None:
    for name in ("bad1.png", "bad2.png"):
        (root.root / "inbox/score" / name).write_bytes(b"no picture at all")
    executor = ScriptedExecutor(lambda *_: 6.6)
    daemon(root, executor, WATCH__MODE="polling").run(once=True)
    page.open(f"{client.address}/?state=failed")
    page.until("document.querySelectorAll('.cell[data-kind=file-failed]').length === 2", "two that failed")
    assert page.text("#count") == "2 files that failed"
    assert page.run("document.querySelectorAll('.cell img[src]').length") == 0
    names = page.run("[...document.querySelectorAll('.cell .about')].map((each) => each.textContent).sort()")
    assert names == ["bad1.png", "bad2.png"]
    for key in ("x", "p", "4", "c"):
        page.press(key)
        page.until("document.querySelector('#toast').textContent.startsWith('These are files')", "a word of it")
        page.run("void document.querySelector('#toast').replaceChildren()")
    assert asked(root) == [] and not page.run("gallery.loupe.isOpen")
    page.press("i")
    page.until("document.querySelector('#side[data-shows=file] .path')", "what is known of it")
    page.press("i", "a")
    wait_for(lambda: asked(root) == ["retry"], SECONDS, "one to be tried again")
    page.press("u")
    wait_for(lambda: asked(root) == [], SECONDS, "taken back")
    page.with_control("a")
    page.press("a")
    page.until("document.getElementById('sure').open", "a question")
    page.press(Keys.ENTER)
    wait_for(lambda: asked(root) == ["retry"], SECONDS, "both to be tried again")
    daemon(root, executor, WATCH__MODE="polling").obey()
    page.until(
        "document.querySelectorAll('.cell[data-kind=file-waiting]').length === 2", "both wait, in their places"
    )
    page.press("f")
    page.run(
        "void ((field) => { field.value = 'waiting'; field.dispatchEvent(new Event('input', {bubbles: true})); })"
        "(document.querySelector('[name=state]'))"
    )
    page.until("document.getElementById('count').textContent === '2 files that wait'", "the other filter")
    assert page.run("location.search") == "?state=waiting"
    page.press(Keys.ESCAPE)
    page.run("void gallery.grid.box.focus()")
    page.with_control("a")
    page.press(Keys.DELETE)
    page.until("document.getElementById('sure').open", "a question")
    page.press(Keys.ENTER)
    wait_for(lambda: asked(root) == ["cancel"], SECONDS, "a command")
    daemon(root, executor, WATCH__MODE="polling").run(once=True)
    page.open(f"{client.address}/?state=waiting")
    assert page.text("#empty h2") == "Nothing waits"


def test_arrivals_move_nothing_until_they_are_asked_for(page: Browser, root: Layout) -> None:
    order = page.run("[...gallery.grid.order]")
    page.press("j", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    focus = page.run(FOCUS)
    for number in (90, 91):
        picture(root.inbox(Kind.SCORE) / f"p{number}.png", number, (320, 240))
    work(root)
    page.until("!document.getElementById('pill').hidden", "a word of it")
    page.until("document.getElementById('pill').textContent === '2 new'", "both")
    assert page.run("[...gallery.grid.order]") == order
    page.click("#pill")
    page.until(f"gallery.grid.order.length === {len(order) + 2}", "both shown")
    assert page.run(FOCUS) == focus


def test_what_arrives_while_an_order_is_on_its_way_is_offered(page: Browser, root: Layout) -> None:
    count = page.run("gallery.grid.order.length")
    page.hold("GET /api/order")
    page.press("r")
    page.until("held === 1", "an order")
    picture(root.inbox(Kind.SCORE) / "p92.png", 92, (320, 240))
    work(root)
    page.until("!document.getElementById('pill').hidden", "a word of it")
    page.release()
    assert page.run("gallery.grid.order.length") == count
    assert page.text("#pill") == "1 new" and not page.run("document.getElementById('pill').hidden")
    page.click("#pill")
    page.until(f"gallery.grid.order.length === {count + 1} && document.getElementById('pill').hidden", "it")


def test_what_is_told_while_all_is_read_anew_is_not_lost(page: Browser) -> None:
    first = page.run("gallery.grid.order[0]")
    page.hold("GET /api/columns")
    page.run("void (globalThis.loads = [gallery.store.load()])")
    page.until("held === 1", "what is there now")
    tell = "void gallery.store.apply([[arguments[0], arguments[1], 1, 7, 0]], [], gallery.store.changed + 1)"
    page.run(tell, first, 9.5)
    page.release()
    assert page.run("Promise.all(loads).then(() => gallery.store.score(arguments[0]))", first) == 9.5
    page.run("gallery.store.load()")
    assert page.run("gallery.store.score(arguments[0])", first) != 9.5
    # Of two, the later one counts, and what was told since it was begun.
    page.hold("GET /api/columns")
    page.run("void (globalThis.loads = [gallery.store.load()])")
    page.until("held === 1", "the first answer")
    page.run("void (globalThis.loads.push(gallery.store.load()))")
    page.run(tell, first, 9.5)
    page.release(2)
    assert page.run("Promise.all(loads).then(() => gallery.store.score(arguments[0]))", first) == 9.5


def test_the_panel_that_was_asked_for_last_is_shown(page: Browser, client: Client) -> None:
    second = page.run("gallery.grid.order[1]")
    shows = "document.querySelector('#side').dataset.shows ?? null"
    page.hold("GET /api/images/")
    page.press("i", "t")
    page.release()
    assert page.run(shows) == "threshold"
    page.press("t")
    page.hold("GET /api/images/")
    page.press("i", "i")
    page.release()
    assert page.run(shows) is None
    page.hold("GET /api/images/")
    page.press("i", Keys.ARROW_RIGHT)
    page.release(2)
    assert page.run(shows) == "why"
    assert page.text("#side .path") == client.get(f"/api/images/{second}").json["path"]


FIRST_ORDER_FAILS = """void (() => {
    const real = fetch;
    globalThis.fetch = (address, options) => {
        if (globalThis.fails || !address.startsWith("/api/order")) return real(address, options);
        return new Promise((_, fails) => { globalThis.fails = fails; });
    };
})()"""


def test_an_order_that_another_one_followed_fails_in_silence(page: Browser) -> None:
    page.run(FIRST_ORDER_FAILS)
    page.press("r")
    page.until("Boolean(globalThis.fails)", "an order")
    page.run("void gallery.grid.addEventListener('selection', () => { globalThis.ordered = true; })")
    page.press("r")
    page.until("globalThis.ordered", "another one")
    page.run("void fails(new Error('no'))")
    page.drawn()
    assert page.run("document.getElementById('toast').hidden")


def test_a_cell_that_shows_another_picture_has_its_name(page: Browser) -> None:
    page.until("[...gallery.grid.cells.values()].every((cell) => cell.title)", "all names")
    page.run("void gallery.grid.setOrder([...gallery.grid.order].reverse())")
    page.run("void gallery.grid.setOrder([...gallery.grid.order].reverse())")
    page.run("void gallery.grid.setOrder([gallery.grid.order[1], gallery.grid.order[0]])")
    wrong = (
        "[...gallery.grid.cells.values()].filter((cell) => cell.title !== gallery.grid.names.get(cell.image).path)"
    )
    assert page.run(f"{wrong}.length") == 0


def test_the_line_is_drawn_anew_around_who_uses_it(page: Browser, root: Layout) -> None:
    page.run("void ((real) => { gallery.store.mailbox = (...all) => { globalThis.told = true; real(...all); }; })"
             "(gallery.store.mailbox.bind(gallery.store))")  # fmt: skip
    page.press("l")
    page.until("document.querySelector('#side .work summary')", "the line")
    mark = "void (globalThis.told = false, document.querySelector('.work').firstChild.isOld = true)"
    is_old = "Boolean(document.querySelector('.work').firstChild.isOld)"

    page.run("void document.querySelector('.work details').setAttribute('open', '')")
    page.run("void document.querySelector('.work summary').focus()")
    page.run(mark)
    mailbox.ask(root, {"do": "verdict", "verdict": "keep", "how": "key", "images": [1]})
    page.until(f"told && !{is_old}", "it is drawn anew")
    assert page.run("document.activeElement === document.querySelector('.work summary')")
    assert page.run("document.querySelector('.work details').open")

    page.run(
        "void document.querySelector('.work button').dispatchEvent(new Event('pointerdown', {bubbles: true}))"
    )
    page.run(mark)
    for each in mailbox.waiting(root):
        mailbox.withdraw(each.path)
    page.until("told", "the mailbox is empty")
    page.drawn()
    assert page.run(is_old), "a button that is pressed stays"
    page.run("void document.body.dispatchEvent(new Event('pointerup', {bubbles: true}))")
    page.until(f"!{is_old}", "it is drawn anew")


def test_before_and_after_are_shown_once(page: Browser) -> None:
    first, second = page.run("[...gallery.grid.order.slice(0, 2)]")
    page.press(Keys.ENTER)
    for _ in range(2):
        page.run("void gallery.loupe.startSlider(arguments[0], arguments[1])", first, second)
    assert page.run("document.querySelectorAll('.slider').length") == 1


def test_what_waits_is_what_the_mailbox_has_last(page: Browser) -> None:
    """Told while something is asked, it counts a little later; and not of what is as it was asked."""
    first = page.run("gallery.grid.order[0]")
    page.run("void gallery.store.setPending([arguments[0]], 2)", first)
    page.run("void gallery.store.mailbox([], [])")
    assert page.run("gallery.store.pending.size") == 1  # it may not be in it yet
    page.until("gallery.store.pending.size === 0", "what it was told")
    page.run("void gallery.store.apply([[arguments[0], 5, 2 | 4, 7, 3]], [], gallery.store.changed)", first)
    page.run("void (gallery.store.touched = -1e9)")
    page.run("void gallery.store.mailbox([[arguments[0], 2]], [[arguments[0], 1]])", first)
    assert page.run("gallery.store.isPending(arguments[0])", first) is False
    page.run("void gallery.store.mailbox([[arguments[0], 1]], [])", first)
    assert page.run("gallery.store.pending.get(arguments[0])", first) == 1


def test_several_are_counted_first_and_undone_as_one(page: Browser, root: Layout) -> None:
    page.with_control("a")
    count = page.run("gallery.grid.order.length")
    page.press("x")
    page.until("document.getElementById('sure').open", "a question")
    assert f"{count} pictures" in page.text("#sure-text")
    page.click("#sure-no")
    assert asked(root) == []
    page.press("x")
    page.until("document.getElementById('sure').open", "a question")
    page.press(Keys.ENTER)
    wait_for(lambda: len(asked(root)) == 1, SECONDS, "one command")
    page.until(f"gallery.store.pending.size === {count}", "all of them wait")
    page.press("u")
    page.until("gallery.store.pending.size === 0", "all taken back")
    wait_for(lambda: asked(root) == [], SECONDS, "nothing to be carried out")


KEYS_AT_ONCE = """(() => {
    for (const key of arguments[0]) {
        const more = key.length > 1 ? {ctrlKey: true} : {};
        const event = new KeyboardEvent("keydown", {key: key.at(-1), bubbles: true, cancelable: true, ...more});
        document.body.dispatchEvent(event);
    }
    return gallery.actions.chain.then(() => gallery.actions.done.length);
})()"""


def test_undo_and_redo_before_anything_is_answered(page: Browser, root: Layout) -> None:
    first = page.run("gallery.grid.order[0]")
    assert page.run(KEYS_AT_ONCE, ["x", "u", "^y"]) == 1
    assert asked(root) == ["verdict"]
    assert page.run("[...gallery.store.pending]") == [[first, 2]]
    page.run(
        "void (globalThis.fetch = ((real) => (address, options) => (address === '/api/verdict' ? Promise.reject() :"
        " real(address, options)))(fetch))"
    )
    assert page.run(KEYS_AT_ONCE, ["p", "u"]) == 1  # what did not come about is not undone, nor forgets what did
    assert page.run(KEYS_AT_ONCE, ["u"]) == 0
    assert asked(root) == []


def test_the_undo_that_is_offered_is_of_what_it_says(page: Browser, root: Layout) -> None:
    first, second = page.run("[...gallery.grid.order.slice(0, 2)]")
    page.press("x")
    page.until("document.querySelector('#toast button')", "an offer to undo it")
    page.hold("POST /api/verdict")
    page.press("x")
    page.run("void document.querySelector('#toast button').click()")
    page.release()
    assert page.run("gallery.actions.chain.then(() => gallery.actions.done.map((step) => step.ids))") == [[second]]
    assert page.run("[...gallery.store.pending]") == [[second, 2]]
    assert [each.command["images"] for each in mailbox.waiting(root) if each.command["do"] == "verdict"] == [
        [second]
    ]
    assert page.run(KEYS_AT_ONCE, ["^y", "u", "u"]) == 0
    assert asked(root) == []
    assert page.run("gallery.actions.undone.map((step) => step.ids)") == [[first], [second]]


def test_what_is_selected_while_an_answer_is_waited_for_stays_so(page: Browser, root: Layout) -> None:
    first, second, third = page.run("[...gallery.grid.order.slice(0, 3)]")
    select = "void arguments[0].forEach((id) => gallery.grid.selected.add(id))"
    page.run(select, [first, second])
    page.hold("POST /api/verdict")
    page.press("x")
    page.until("document.getElementById('sure').open", "a question")
    page.press(Keys.ENTER)
    page.until("held === 1", "it is asked")
    page.run(select, [third])
    page.release()
    assert page.run("[...gallery.grid.selected]") == [third]
    assert page.run(KEYS_AT_ONCE, ["u"]) == 0
    assert asked(root) == []


AT_ONCE = """(() => {
    document.getElementById(arguments[0]).click();
    document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "x", bubbles: true, cancelable: true}));
    return document.getElementById("sure").open;
})()"""


def test_a_question_right_after_another_has_its_own_answer(page: Browser, root: Layout) -> None:
    page.with_control("a")
    page.press("x")
    page.until("document.getElementById('sure').open", "a question")
    assert page.run(AT_ONCE, "sure-no"), "a second question, before the browser tells that the first was closed"
    page.run("new Promise((done) => setTimeout(done, 100))")
    assert asked(root) == []
    page.press(Keys.ENTER)
    wait_for(lambda: asked(root) == ["verdict"], SECONDS, "what the second was told")
    page.press("u")
    wait_for(lambda: asked(root) == [], SECONDS, "taken back")

    page.with_control("a")
    page.press("x")
    page.until("document.getElementById('sure').open", "a question")
    assert page.run(AT_ONCE, "sure-yes")
    wait_for(lambda: asked(root) == ["verdict"], SECONDS, "what the first was told")
    page.press(Keys.ESCAPE)
    page.until("!document.getElementById('sure').open", "no question")
    page.run("new Promise((done) => setTimeout(done, 100))")
    assert asked(root) == ["verdict"]
    page.press("u")
    wait_for(lambda: asked(root) == [], SECONDS, "taken back")


def test_what_is_dropped_lands_in_the_inbox(page: Browser, root: Layout, tmp_path: Path) -> None:
    page.press("l")
    page.until("document.querySelector('#side[data-shows=line] .state')", "the line")
    names = ["a b.png", "ü%2f.png"]
    files = [str(picture(tmp_path / name, 70 + at)) for at, name in enumerate(names)]
    page.driver.find_element("id", "files").send_keys("\n".join(files))
    page.until("document.querySelector('#toast').textContent.startsWith('2 files dropped')", "a word of both")
    assert files_in(root, "inbox/score") == [f"inbox/score/{name}" for name in names]
    for name in names:
        (root.root / "inbox/score" / name).unlink()
    page.driver.find_element("id", "prompt").send_keys("a red circle --no-such-thing")
    page.click(".prompt-box button.main")
    page.until("document.querySelector('#toast.error')", "what is wrong")
    assert "no-such-thing" in page.text("#toast")
    page.driver.find_element("id", "prompt").clear()
    page.driver.find_element("id", "prompt").send_keys("a red circle --count 2")
    page.hold("POST /api/prompt")
    page.click(".prompt-box button.main")
    page.click(".prompt-box button.main")  # before it is answered: that is no second one
    page.driver.find_element("id", "prompt").send_keys("00")
    page.release()
    page.until(
        "document.querySelector('.prompt-box [role=status]').textContent === '2 pictures to be drawn'", "it"
    )
    assert page.run("document.getElementById('prompt').value") == "a red circle --count 200"
    assert len(files_in(root, "inbox/generate")) == 1
    for file in files_in(root, "inbox"):
        (root.root / file).unlink()
    # The browser tells of an answer that refuses.
    assert all("422" in error for error in page.errors())


def test_a_small_screen_and_a_finger(page: Browser, client: Client, root: Layout) -> None:
    page.tell("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    page.tell("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        page.open(f"{client.address}/?sort=oldest")
        page.until("gallery.grid.order.length >= 30", "the grid")
        assert page.run("document.documentElement.scrollWidth") <= 360
        small = page.run(
            "[...document.querySelectorAll('header button, header select')].filter((each) => each.offsetParent"
            " && each.getBoundingClientRect().height < 36).map((each) => each.id)"
        )
        assert small == []
        first, second = page.run("[...gallery.grid.order.slice(0, 2)]")
        page.run("void document.querySelector('.cell').click()")
        page.until("gallery.loupe.isOpen", "the picture, by a tap")
        assert page.run("document.querySelector('#loupe .keep').getBoundingClientRect().right") <= 360

        def swipe(start: int, end: int) -> None:
            page.tell("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": start, "y": 300}])
            page.tell("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": end, "y": 305}])
            page.tell("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

        swipe(80, 300)
        page.until(f"gallery.loupe.id === {second}", "the next one")
        assert page.run(f"gallery.store.pending.get({first})") == 1
        assert page.run("gallery.actions.undo().then(() => gallery.store.pending.size)") == 0
        assert asked(root) == []
    finally:
        page.tell("Emulation.clearDeviceMetricsOverride")
        page.tell("Emulation.setTouchEmulationEnabled", enabled=False)


def test_keys_are_shown_and_set(page: Browser) -> None:
    page.press("?")
    page.until("document.getElementById('keys').open", "the card")
    button = page.driver.find_element("xpath", "//th[.='Reject, and go on']/following-sibling::td/button")
    button.click()
    button.send_keys("d")
    page.click("#keys-close")
    page.press("x")
    assert page.run("gallery.store.pending.size") == 0
    page.press("d")
    page.until("gallery.store.pending.size === 1", "the new key")
    page.press("u")
    page.until("gallery.store.pending.size === 0", "undone")
    page.run("void localStorage.removeItem('keys')")


@pytest.mark.parametrize("what", ["grid", "threshold", "line", "large", "keys", "filters", "files"])
def test_nothing_serious_is_in_the_way_of_anybody(page: Browser, client: Client, root: Layout, what: str) -> None:
    script = axe()
    if what == "files":
        (root.root / "inbox/score/bad.png").write_bytes(b"no picture at all")
        daemon(root, ScriptedExecutor(lambda *_: 6.6), WATCH__MODE="polling").run(once=True)
        page.open(f"{client.address}/?state=failed")
        page.until("document.querySelector('.cell[data-kind=file-failed]')", "one that failed")
    keys = {
        "grid": [],
        "threshold": ["t"],
        "line": ["l"],
        "large": [Keys.ENTER, "i"],
        "keys": ["?"],
        "filters": ["f"],
        "files": ["i"],
    }[what]
    page.press(*keys)
    page.run("new Promise((done) => setTimeout(done, 700))")
    page.driver.execute_script(script)
    found = page.driver.execute_async_script(
        "axe.run(document, {resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
    )
    serious = [
        (each["id"], node["html"][:200], node["failureSummary"][:300])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert serious == []
