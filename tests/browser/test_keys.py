"""Ada works by keyboard: one key each for what she does all day, unless she switched them off."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tenants import preferences
from tenants.database import transaction
from tenants.models import Business, User
from tests.browser.conftest import Visit
from tests.browser.people import dialog, row, search_box
from tests.factories import Cast
from tests.webapp.rows import task


@pytest.fixture
def some(shop: Business, cast: Cast) -> list[int]:
    """Five tasks that are over, newest first."""
    return [task(shop, cast.ben, "completed") for _ in range(5)][::-1]


@pytest.fixture
def ada(visit: Visit, shop: Business, cast: Cast, some: list[int]) -> Iterator[Page]:
    """Ada at her business. Later she prefers nothing again."""
    page = visit("ada")
    page.goto(f"/b/{shop.slug}/tasks")
    expect(page.locator("#open-help")).to_have_attribute("data-htmx-powered", "true")  # till then it is a plain link
    yield page
    with transaction() as session:
        session.get_one(User, cast.ada.user.id).preferences = {}


def test_j_and_k_go_from_row_to_row_and_enter_opens_one(ada: Page, some: list[int]) -> None:
    for key, at in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        ada.keyboard.press(key)
        expect(row(ada, some[at]).locator(".row-link")).to_be_focused()
    ada.keyboard.press("Enter")
    expect(ada.get_by_text(f"#{some[1]}").first).to_be_visible()
    expect(ada).to_have_url(re.compile(rf"{some[1]}"))


def test_k_begins_at_the_end_and_neither_leaves_the_list(ada: Page, some: list[int]) -> None:
    ada.keyboard.press("k")
    expect(row(ada, some[-1]).locator(".row-link")).to_be_focused()
    ada.keyboard.press("j")
    expect(row(ada, some[-1]).locator(".row-link")).to_be_focused()


def test_x_ticks_the_row_if_it_has_a_box(ada: Page, some: list[int]) -> None:
    first = row(ada, some[0])
    ada.keyboard.press("j")
    ada.keyboard.press("x")
    expect(first.get_by_role("checkbox")).to_be_checked()


def test_g_and_a_letter_go_to_a_page(ada: Page, shop: Business) -> None:
    for letter, path in (("p", "pauses"), ("t", "tasks"), ("b", "background-tasks")):
        ada.keyboard.press("g")
        ada.keyboard.press(letter)
        expect(ada).to_have_url(re.compile(rf"/b/{shop.slug}/{path}$"))
    ada.keyboard.press("p")  # without a g it is no key
    expect(ada).to_have_url(re.compile("background-tasks$"))


def test_t_switches_the_theme_and_it_stays(ada: Page) -> None:
    html = ada.locator("html")
    expect(html).to_have_attribute("data-bs-theme", "light")
    ada.keyboard.press("t")
    expect(html).to_have_attribute("data-bs-theme", "dark")
    ada.reload()
    expect(html).to_have_attribute("data-bs-theme", "dark")


def test_r_refreshes_and_l_switches_live_refresh(ada: Page, shop: Business, cast: Cast) -> None:
    ada.keyboard.press("l")
    expect(ada.locator("#live-rate")).to_have_text("Live is off")
    expect(ada.locator("#tasks-table")).to_have_attribute("hx-trigger", re.compile("renew$"))
    new = task(shop, cast.cleo, "completed")
    expect(ada.locator("#live-text")).to_have_text(re.compile(r"Updated ([4-9]|\d\d) s ago"))
    expect(row(ada, new)).not_to_be_attached()
    ada.keyboard.press("r")
    expect(row(ada, new)).to_be_visible()
    expect(ada.locator("#live-text")).to_have_text("Updated just now")
    ada.keyboard.press("l")
    expect(ada.locator("#live-rate")).to_have_text("Live · every 2 s")
    expect(row(ada, task(shop, cast.cleo, "completed"))).to_be_visible(timeout=3500)


def test_a_question_mark_shows_the_keys(ada: Page) -> None:
    ada.keyboard.press("?")
    expect(dialog(ada).get_by_role("heading", name="Keyboard")).to_be_focused()
    expect(dialog(ada)).to_contain_text("Next and previous row")
    ada.keyboard.press("t")  # no key counts behind a dialog
    expect(ada.locator("html")).to_have_attribute("data-bs-theme", "light")
    ada.keyboard.press("Escape")
    expect(dialog(ada)).to_be_hidden()
    expect(ada.get_by_role("link", name="Help and keys")).to_be_focused()


def test_no_key_counts_while_she_types(ada: Page) -> None:
    ada.keyboard.press("/")
    search = search_box(ada)
    expect(search).to_be_focused()
    ada.keyboard.type("gt?jkxrlt/")
    expect(search).to_have_value("gt?jkxrlt/")
    expect(dialog(ada)).to_be_hidden()
    expect(ada.locator("html")).to_have_attribute("data-bs-theme", "light")
    expect(ada.locator("#live-rate")).to_have_text("Live · every 2 s")


def test_she_switches_single_keys_off_and_ctrl_k_still_counts(ada: Page, cast: Cast) -> None:
    ada.get_by_role("link", name="Help and keys").click()
    dialog(ada).get_by_role("button", name="Switch single keys off").click()
    expect(dialog(ada).get_by_role("button", name="Switch single keys on")).to_be_focused()
    ada.keyboard.press("Escape")
    for key in ("t", "?", "j", "/"):
        ada.keyboard.press(key)
    expect(ada.locator("html")).to_have_attribute("data-bs-theme", "light")
    expect(dialog(ada)).to_be_hidden()
    expect(search_box(ada)).not_to_be_focused()
    ada.keyboard.press("Control+k")
    expect(ada.get_by_role("combobox", name="Page, act")).to_be_focused()
    ada.reload()
    expect(ada.locator("body")).to_have_attribute("data-keys", "off")
    with transaction(read_only=True) as session:
        assert preferences.get(session.get_one(User, cast.ada.user.id), "keys") == "off"
