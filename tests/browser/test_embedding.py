"""Ben finds his background tasks in the pages of a shop, which is a web server of its own on another port."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import BrowserContext, FrameLocator, Page, expect

from tenants.models import Business
from tests.browser import stack as stacks
from tests.browser.conftest import Visit
from tests.browser.people import Trouble
from tests.browser.stack import Stack, tomorrow
from tests.browser.test_accessible import ALL, AXE, RUN, SIDEWAYS, THEME
from tests.factories import Cast
from tests.webapp import rows

PHONE = {"width": 390, "height": 844}


class Host:
    """A web server with one page, which embeds the dialog, or whatever `body` says."""

    def __init__(self) -> None:
        outer = self
        self.body = ""

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(outer.page().encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.elsewhere = f"http://localhost:{self.port}"  # for browsers this is another site
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def page(self) -> str:
        """A page of a shop."""
        head = '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><title>A shop</title>'
        return f'<!doctype html><html lang="en">{head}<main><h1>A shop</h1>{self.body}</main></html>'

    def embed(self, stack: Stack, shop: Business) -> None:
        """The one line."""
        self.body = f'<script async src="{stack.url}/embed.js" data-business="{shop.slug}"></script>'

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """The shop, whose pages may embed the dialog."""
    host = Host()
    yield host
    host.close()


@pytest.fixture(scope="module")
def stranger() -> Iterator[Host]:
    """A page that may not."""
    host = Host()
    yield host
    host.close()


@pytest.fixture(scope="module")
def embedded_stack(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Iterator[Stack]:
    """Sluice, which knows the shop."""
    with stacks.start(tmp_path_factory.mktemp("embedded"), EMBED_ORIGINS=f"{host.url},{host.elsewhere}") as started:
        yield started


@pytest.fixture
def stack(embedded_stack: Stack) -> Stack:
    return embedded_stack


@pytest.fixture
def trouble(stack: Stack, host: Host) -> Iterator[Trouble]:
    trouble = Trouble(stack.url, host.url)
    yield trouble
    assert trouble.met == []


def opened(page: Page, url: str) -> FrameLocator:
    """The dialog in the host's page."""
    page.goto(url)
    page.get_by_role("button", name="Background-Tasks").click()
    expect(page.get_by_role("dialog", name="Background-Tasks")).to_be_visible()
    return page.frame_locator("iframe")


@pytest.fixture
def in_the_shop(host: Host, stack: Stack, shop: Business, visit: Visit) -> Page:
    """Ben, whose browser knows his login, before a page of the shop."""
    visit("ben").close()
    host.embed(stack, shop)
    return visit("ben")


def test_one_line_gives_a_button_with_a_badge_and_the_dialog(
    in_the_shop: Page, host: Host, cast: Cast, shop: Business, stack: Stack
) -> None:
    ids = [rows.task(shop, cast.ben, next_try_at=tomorrow(), title=f"Order {number}") for number in range(2)]
    frame = opened(in_the_shop, host.url)
    expect(in_the_shop.locator(".badge")).to_have_text("2 open")
    for id_ in ids:
        expect(frame.locator(f"#own-{id_}")).to_be_visible()
    later = rows.task(shop, cast.ben, next_try_at=tomorrow(), title="Renews itself")
    expect(frame.locator(f"#own-{later}")).to_contain_text("Renews itself")
    frame.get_by_role("link", name=re.compile("^Failed")).click()
    expect(frame.get_by_text("There are no tasks to show")).to_be_visible()
    assert in_the_shop.evaluate("history.length") == 2, "Back leads where it did"
    frame.get_by_role("link", name=re.compile("^Pending")).click()
    with in_the_shop.context.expect_page() as tab:
        frame.get_by_role("link", name="Order 0").click()
    expect(tab.value).to_have_url(f"{stack.url}/b/{shop.slug}/tasks/{ids[0]}")


def test_deleting_in_the_frame_asks_there_and_can_be_undone(
    in_the_shop: Page, host: Host, cast: Cast, shop: Business
) -> None:
    id_ = rows.task(shop, cast.ben, next_try_at=tomorrow())
    frame = opened(in_the_shop, host.url)
    frame.get_by_role("link", name=f"Delete task {id_}").click()
    expect(frame.get_by_role("dialog")).to_contain_text("No start will follow.")
    in_the_shop.keyboard.press("Escape")
    expect(frame.get_by_role("dialog")).to_be_hidden()
    expect(in_the_shop.get_by_role("dialog", name="Background-Tasks")).to_be_visible()
    frame.get_by_role("link", name=f"Delete task {id_}").click()
    frame.get_by_role("dialog").get_by_role("button", name="Delete task").click()
    expect(frame.locator(f"#own-{id_}")).to_have_count(0)
    frame.get_by_role("button", name="Undo").click()
    expect(frame.locator(f"#own-{id_}")).to_be_visible()


@pytest.mark.parametrize("how", ["escape", "button", "outside"])
def test_the_dialog_closes_and_the_focus_returns(in_the_shop: Page, host: Host, how: str) -> None:
    frame = opened(in_the_shop, host.url)
    expect(frame.get_by_role("heading", level=1)).to_be_focused()
    if how == "escape":
        in_the_shop.keyboard.press("Escape")
    elif how == "button":
        in_the_shop.get_by_role("button", name="Close").click()
    else:
        in_the_shop.mouse.click(5, 5)
    expect(in_the_shop.get_by_role("dialog")).to_be_hidden()
    expect(in_the_shop.locator("iframe")).to_have_count(0)
    expect(in_the_shop.get_by_role("button", name="Background-Tasks")).to_be_focused()


def test_only_the_frame_closes_the_dialog(in_the_shop: Page, host: Host) -> None:
    frame = opened(in_the_shop, host.url)
    expect(frame.get_by_role("heading", level=1)).to_be_focused()
    in_the_shop.evaluate("postMessage('sluice:close', '*')")
    in_the_shop.evaluate("new Promise((done) => { onmessage = () => done(); postMessage('another', '*'); })")
    expect(in_the_shop.get_by_role("dialog", name="Background-Tasks")).to_be_visible()


def test_whoever_is_not_logged_in_logs_in_in_a_tab_and_finds_the_tasks(
    visit: Visit, host: Host, stack: Stack, shop: Business, cast: Cast
) -> None:
    id_ = rows.task(shop, cast.ben, next_try_at=tomorrow())
    host.embed(stack, shop)
    page = visit()
    frame = opened(page, host.url)
    expect(page.locator(".badge")).to_be_hidden()
    with page.context.expect_page() as tab:
        frame.get_by_role("link", name="Log in").click()
    tab.value.get_by_label("E-mail").fill("ben@example.com")
    tab.value.get_by_label("Password").fill("sluice-demo")
    tab.value.get_by_role("button", name="Log in", exact=True).click()
    expect(tab.value).to_have_url(f"{stack.url}/b/{shop.slug}/background-tasks")
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".badge")).to_have_text("1 open")
    page.get_by_role("button", name="Background-Tasks").click()
    expect(frame.locator(f"#own-{id_}")).to_be_visible()
    tab.value.get_by_role("button", name="Log out").click()
    expect(frame.get_by_role("link", name="Log in")).to_be_visible()  # the next refresh, and no dead frame


def test_axe_finds_nothing_on_a_desk_and_on_a_phone(in_the_shop: Page, host: Host, cast: Cast, shop: Business) -> None:
    rows.task(shop, cast.ben, next_try_at=tomorrow(), title="x" * 200)
    in_the_shop.emulate_media(reduced_motion="reduce")
    frame = opened(in_the_shop, host.url)
    expect(frame.locator(".own-task")).to_be_visible()
    inside = in_the_shop.frames[1]
    for one in (in_the_shop.main_frame, inside):
        one.evaluate(AXE)
    for size in ({"width": 1440, "height": 900}, PHONE):
        in_the_shop.set_viewport_size(size)
        for theme in ("light", "dark"):
            in_the_shop.emulate_media(color_scheme=theme)
            inside.evaluate(THEME, theme)
            assert [inside.evaluate(RUN, ALL), in_the_shop.evaluate(RUN, ALL)] == [[], []], (size, theme)
            assert inside.evaluate(SIDEWAYS) <= 0
            assert in_the_shop.evaluate(SIDEWAYS) <= 0
    box = in_the_shop.get_by_role("dialog").bounding_box()
    assert box
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, PHONE["width"], PHONE["height"])


@pytest.mark.parametrize("path", ["/tasks/{task}", "/background-tasks", "/pauses/new", "/../../login"])
def test_no_other_page_can_be_framed_even_by_the_shop(
    new_context: Callable[..., BrowserContext], stack: Stack, host: Host, shop: Business, path: str
) -> None:
    url = f"{stack.url}/b/{shop.slug}" + path.format(task=rows.task(shop))
    host.body = f'<iframe src="{url}"></iframe>'
    assert refused(new_context(storage_state=stack.logins.get("ben")), host.url)


def test_a_page_that_is_not_named_cannot_frame_it_nor_read_the_number(
    new_context: Callable[..., BrowserContext], stack: Stack, stranger: Host, shop: Business, cast: Cast
) -> None:
    address = f"{stack.url}/b/{shop.slug}/background-tasks/embed"
    stranger.body = f'<iframe src="{address}"></iframe>'
    context = new_context(storage_state=stack.logins.get("ben"))
    assert refused(context, stranger.url)
    page = context.new_page()
    page.goto(stranger.url)
    read = "(url) => fetch(url, { credentials: 'include' }).then((answer) => answer.text(), (error) => error.name)"
    assert page.evaluate(read, f"{address}/count") == "TypeError"


def test_on_another_site_nobody_is_logged_in_since_browsers_keep_the_cookie(
    in_the_shop: Page, new_context: Callable[..., BrowserContext], stack: Stack, host: Host
) -> None:
    expect(opened(in_the_shop, host.url).get_by_role("link", name=re.compile("^Pending"))).to_be_visible()
    elsewhere = new_context(storage_state=stack.logins["ben"]).new_page()
    frame = opened(elsewhere, host.elsewhere)
    expect(frame.get_by_role("link", name="Log in")).to_be_visible()


def refused(context: BrowserContext, url: str) -> bool:
    """Whether the browser shows its own error in place of the frame, and names the rule."""
    page = context.new_page()
    with page.expect_console_message(lambda one: "frame-ancestors" in one.text):
        page.goto(url)
    return page.frames[1].url.startswith("chrome-error:")
