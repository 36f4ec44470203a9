"""The dashboard in a real browser: it moves, it steers, and it lets nobody else do so.

The browser is the system's Chromium without a window, driven by Playwright. Pictures for the
documentation are taken where DSBALANCE_PICTURES names a folder:

    DSBALANCE_PICTURES=docs python -m pytest tests/acceptance/test_dashboard.py -k pictures
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dsbalance.history
from actors import until
from scenery import Scenery

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

api = pytest.importorskip("playwright.sync_api", reason="there is no Playwright here")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PICTURES = os.environ.get("DSBALANCE_PICTURES")
PATIENCE_MS = 20_000
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Chromium has no sandbox for root.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def staged(loopback: Callable[[], str]) -> Iterator[Callable[..., Scenery]]:
    """Return a function that opens a :class:`Scenery`."""
    made: list[Scenery] = []

    def make(**stats: Any) -> Scenery:
        made.append(Scenery(loopback, **stats))
        return made[-1]

    yield make
    for scenery in made:
        scenery.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page; whatever the browser complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(url: str, **words: Any) -> Page:
        context = browser.new_context(**({"viewport": WIDE} | words))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield make
    for context in contexts:
        context.close()
    # A test that is refused something on purpose is told so by the browser.
    assert [text for text in complaints if "status of 40" not in text] == []


def row(page: Page, section: int, name: str) -> Any:
    """Return the row of a server."""
    return page.locator(f"#b{section} tr.v", has_text=name)


# -- it moves


def test_numbers_move_in_place_while_traffic_runs(
    staged: Callable[..., Scenery], visit: Callable[..., Page]
) -> None:
    scenery = staged()
    scenery.admit(secure=1, plain=0)
    page = visit(scenery.url)
    total = page.locator("#b1 tr.t td[data-k=Total]")
    before = total.inner_text()
    # If the page were loaded anew, or its parts replaced, this would be lost.
    total.evaluate("cell => { cell.mark = 'the same' }")
    scenery.admit(secure=2, plain=2)
    page.wait_for_function(
        "before => document.querySelector('#b1 tr.t td[data-k=Total]').textContent > before",
        arg=before,
    )
    assert total.evaluate("cell => cell.mark") == "the same"


def test_a_machine_that_dies_is_told_at_once_in_words_shape_and_title(
    staged: Callable[..., Scenery], visit: Callable[..., Page]
) -> None:
    scenery = staged()
    page = visit(scenery.url)
    assert page.title().startswith("All 3 servers serve")
    healthy = row(page, 0, "primary-2").locator(".m").evaluate(LOOKS)
    scenery.kill("primary-2")
    page.wait_for_function("() => document.title.startsWith('primary-2 is DOWN')")
    assert "Connection refused" in page.locator(".ill").inner_text()
    ill = row(page, 0, "primary-2")
    assert ill.locator("b").inner_text() == "DOWN"
    assert ill.locator(".m").evaluate(LOOKS) != healthy
    # The link leads to the row.
    page.locator(".ill a").first.click()
    assert page.url.endswith("#b0s1")


LOOKS = "mark => getComputedStyle(mark).clipPath + getComputedStyle(mark).borderRadius"


def test_old_numbers_are_said_to_be_old(
    staged: Callable[..., Scenery], visit: Callable[..., Page], browser: Browser
) -> None:
    scenery = staged()
    context = browser.new_context()
    page = context.new_page()
    page.goto(scenery.url)
    scenery.proxy.stop()
    page.wait_for_selector("body.stale", timeout=PATIENCE_MS)
    context.close()


# -- it steers


def test_a_button_asks_and_then_drains(
    staged: Callable[..., Scenery], visit: Callable[..., Page]
) -> None:
    scenery = staged()
    page = visit(scenery.url)
    row(page, 0, "primary-1").get_by_text("drain").click()
    dialog = page.locator("dialog[open]")
    assert "It keeps the clients that it has" in dialog.inner_text()
    dialog.get_by_text("Leave it as it is").click()
    page.wait_for_selector("dialog", state="detached")
    assert scenery.admin("paragon/primary-1") == "ready"

    row(page, 0, "primary-1").get_by_text("drain").click()
    page.locator("dialog button").click()
    page.wait_for_url("**/;st=DONE")
    assert page.locator(".notice").inner_text() == "Done."
    assert scenery.admin("paragon/primary-1") == "drain"
    assert row(page, 0, "primary-1").locator("b").inner_text().startswith("DRAIN")


def test_all_of_it_works_without_a_script(
    staged: Callable[..., Scenery], visit: Callable[..., Page]
) -> None:
    scenery = staged(refresh=1.0)
    page = visit(scenery.url, java_script_enabled=False)
    with page.expect_navigation():
        # It is loaded anew by itself.
        pass
    row(page, 0, "primary-3").get_by_text("maint").click()
    assert page.locator("h1").inner_text() == "Maint paragon/primary-3?"
    page.locator("button").click()
    page.wait_for_url("**/;st=DONE")
    assert scenery.admin("paragon/primary-3") == "maint"
    page.locator("#find").fill("127.0.0.1")
    page.locator("#find").press("Enter")
    page.wait_for_url("**/;find=127.0.0.1")
    assert "No stick table remembers it." in page.locator(".found").inner_text()


def test_the_search_finds_a_client_and_says_why(
    staged: Callable[..., Scenery], visit: Callable[..., Page]
) -> None:
    scenery = staged()
    scenery.admit(secure=1, plain=0)
    until(lambda: bool(scenery.proxy.stick_entries("paragon")))
    client = ".".join(str(byte) for byte in scenery.proxy.stick_entries("paragon")[0].key)
    page = visit(scenery.url)
    page.locator("#find").fill(client)
    page.get_by_role("button", name="Find").click()
    page.wait_for_url(f"**/;find={client}")
    found = page.locator(".found").inner_text()
    assert "as paragon remembers" in found
    assert "A stick entry says primary-" in found


def test_the_keyboard_is_enough(staged: Callable[..., Scenery], visit: Callable[..., Page]) -> None:
    scenery = staged()
    page = visit(scenery.url)
    row(page, 0, "primary-1").get_by_text("drain").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.locator("dialog[open]").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert scenery.admin("paragon/primary-1") == "ready"


# -- it lets nobody else do so


def test_a_wrong_token_is_refused(
    staged: Callable[..., Scenery], visit: Callable[..., Page]
) -> None:
    scenery = staged()
    page = visit(scenery.url)
    send = """async body => {
        const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
        return (await fetch('/', { method: 'POST', headers, body })).status;
    }"""
    form = "s=primary-1&b=paragon&action=drain"
    assert page.evaluate(send, form) == 403
    assert page.evaluate(send, f"{form}&token={'0' * 64}") == 403
    assert scenery.admin("paragon/primary-1") == "ready"


def test_a_form_on_another_site_is_refused_even_with_the_token(
    staged: Callable[..., Scenery], visit: Callable[..., Page]
) -> None:
    scenery = staged()
    ours = visit(f"{scenery.url};ask=drain;on=paragon/primary-1")
    token = ours.locator("[name=token]").get_attribute("value")

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fields = {"s": "primary-1", "b": "paragon", "action": "drain", "token": token}
            inputs = "".join(f'<input name="{key}" value="{fields[key]}">' for key in fields)
            page = f'<form method="post" action="{scenery.url}">{inputs}<button>Go</button></form>'
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Evil) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        page = visit(f"http://127.0.0.1:{site.server_port}/x")
        with page.expect_navigation() as answer:
            page.get_by_role("button").click()
        site.shutdown()
        thread.join()
    response = answer.value
    assert response is not None
    assert response.status == 403
    assert scenery.admin("paragon/primary-1") == "ready"


def test_a_page_of_somebody_else_cannot_frame_it(
    staged: Callable[..., Scenery], visit: Callable[..., Page]
) -> None:
    scenery = staged()
    context = visit("about:blank").context
    page = context.new_page()
    page.set_content(f'<iframe src="{scenery.url}"></iframe>')
    page.frames[1].wait_for_url("chrome-error://**")


def test_without_the_password_there_is_nothing_to_see(
    staged: Callable[..., Scenery], browser: Browser
) -> None:
    scenery = staged(users=(("anna", "secret"),))
    for word, is_shown in (("wrong", False), ("secret", True)):
        context = browser.new_context(http_credentials={"username": "anna", "password": word})
        page = context.new_page()
        # Whether it says that the password is wrong or shows our page of it is Chromium's choice.
        with contextlib.suppress(api.Error):
            page.goto(scenery.url)
        assert page.locator("#b0").count() == is_shown
        context.close()


# -- how it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "size",
    [WIDE, NARROW, {"width": 320, "height": 700}, {"width": 800, "height": 600}],
    ids=lambda size: str(size["width"]),
)
def test_nothing_is_wider_than_the_window(
    staged: Callable[..., Scenery], visit: Callable[..., Page], size: dict[str, int], scheme: str
) -> None:
    scenery = staged(shows_legends=True)
    page = visit(scenery.url, viewport=size, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    inner = "[...document.querySelectorAll('.box')].map(box => box.scrollWidth - box.clientWidth)"
    assert max(page.evaluate(inner)) <= 1
    # A row is a line, or a card where there is no room for it: not a heap of cells.
    assert page.locator("#b0s0").evaluate("row => row.clientHeight") < 320
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", paper))) > 3 * 128
    assert light == (scheme == "light")


@pytest.mark.skipif(PICTURES is None, reason="DSBALANCE_PICTURES names no folder")
def test_pictures_are_taken(
    staged: Callable[..., Scenery],
    visit: Callable[..., Page],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Four minutes in one and a half.
    monkeypatch.setattr(dsbalance.history, "INTERVAL", 1.5)
    assert PICTURES is not None
    scenery = staged(shows_legends=True, node="", description="")
    scenery.admit(secure=30, plain=6)
    scenery.wait(64)
    scenery.kill("primary-2")
    scenery.wait(26)
    for size in (WIDE, NARROW):
        for scheme in ("light", "dark"):
            page = visit(scenery.url, viewport=size, color_scheme=scheme)
            page.wait_for_timeout(2500)
            name = f"dashboard-{size['width']}{'-dark' if scheme == 'dark' else ''}.png"
            page.screenshot(path=Path(PICTURES) / name)
