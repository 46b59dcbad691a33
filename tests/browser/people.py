"""What people do at a browser, and what they see there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Locator, Page, Request, expect

from tenants.accounts import DEMO_PASSWORD
from tests.waiting import until

_ANSWERED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")
_UNFETCHED = "Failed to fetch"  # htmx says so also of what a page asked for and then was left: `_on_failure` tells why
_LEFT = "net::ERR_ABORTED"


class Trouble:
    """Listens to browsers. `met` is every request to another host or without an answer and every error in a console."""

    def __init__(self, *urls: str) -> None:
        self.met: list[str] = []
        self._ours = (*(f"{url}/" for url in urls), "data:", "about:")

    def watch(self, context: BrowserContext) -> None:
        """Listen to all pages of a browser."""
        context.on("request", self._on_request)
        context.on("requestfailed", self._on_failure)
        context.on("console", self._on_console)
        context.on("weberror", lambda one: self.met.append(f"{one.error}"))

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(self._ours):
            self.met.append(f"asked for {request.url}")

    def _on_failure(self, request: Request) -> None:
        if request.resource_type == "fetch" and request.failure != _LEFT:
            self.met.append(f"no answer to {request.url}: {request.failure}")

    def _on_console(self, message: ConsoleMessage) -> None:
        evaluated = not message.location["url"]  # a script of a test, such as axe-core
        told = _ANSWERED.match(message.text) or _UNFETCHED in message.text
        if message.type in ("error", "warning") and not evaluated and not told:
            self.met.append(f"{message.type}: {message.text}")


def sign_in(page: Page, who: str) -> None:
    """Log in, from the login page that stands in the way or from the start page."""
    if "/login" not in page.url:
        page.goto("/login")
    page.get_by_label("E-mail").fill(f"{who}@example.com")
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def row(page: Page, task_id: int) -> Locator:
    """The row of a task in a list."""
    return page.locator(f"#task-{task_id}, #own-{task_id}")


def rows(page: Page) -> list[int]:
    """The ids of the tasks that a list shows, in order."""
    ids = page.locator("tr[id^=task-], li[id^=own-]").evaluate_all("all => all.map((one) => one.id)")
    return [int(one.partition("-")[2]) for one in ids]


def column(page: Page, name: str) -> list[str]:
    """What stands in one column of the table, from top to bottom."""
    place = {"user": ".cell-user .cut", "type": ".cell-type .row-link", "status": ".cell-status .status-badge"}[name]
    return page.locator(f"#tasks-table tbody {place}").all_inner_texts()


def expect_rows(page: Page, ids: list[int]) -> None:
    """A list shows these tasks in this order, at once or when the page that was asked for is there."""
    expect_soon(lambda: rows(page), ids)


def expect_column(page: Page, name: str, texts: list[str]) -> None:
    """One column of the table says this from top to bottom, at once or soon."""
    expect_soon(lambda: column(page, name), texts)


def expect_soon(look: Callable[[], list[Any]], wanted: list[Any]) -> None:
    """`look` sees what is wanted within 10 seconds: pages come in pieces, and a look at half of one is no look."""

    def seen() -> bool:
        with contextlib.suppress(Error):  # the page that was looked at went away meanwhile
            return look() == wanted
        return False

    with contextlib.suppress(AssertionError):
        until(seen, seconds=10)
    assert look() == wanted


def dialog(page: Page) -> Locator:
    """The open dialog."""
    return page.get_by_role("dialog")


def toast(page: Page) -> Locator:
    """The newest toast."""
    return page.locator(".toast-note").last


def search_box(page: Page) -> Locator:
    """Where people type what tasks they look for; it completes terms, so it is a combo box."""
    return page.get_by_role("combobox", name="Search by user, task type, title or id")


def open_pause_dialog(page: Page, what: str = "Pause User") -> Locator:
    """Click one of the two buttons that pause; the dialog, ready to be typed into."""
    page.get_by_role("link", name=what, exact=True).click()
    opened = dialog(page)
    expect(opened.get_by_role("searchbox")).to_be_focused()
    return opened


def pause_all_the_same(page: Page, button: str) -> None:
    """Press the button that pauses; once more if the numbers grew since they were shown, as a demo's do."""
    dialog(page).get_by_role("button", name=button).click()
    grown = dialog(page).get_by_text("There is more now than was shown.")
    expect(grown.or_(page.locator(".toast-note")).first).to_be_visible()
    if grown.is_visible():
        dialog(page).get_by_role("button", name=button).click()
