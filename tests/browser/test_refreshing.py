"""The list renews itself while Ada works in it, and takes nothing out of her hands."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tenants.models import Business
from tests.browser.conftest import Visit
from tests.browser.people import open_pause_dialog, row, search_box
from tests.factories import Cast
from tests.webapp.rows import task

SELECT = "(one) => getSelection().selectAllChildren(one)"


@pytest.fixture
def old(shop: Business, cast: Cast) -> list[int]:
    """Forty tasks that are over, oldest first."""
    return [task(shop, cast.ben, "completed") for _ in range(40)]


@pytest.fixture
def ada(visit: Visit, shop: Business, old: list[int]) -> Page:
    """Ada at her business."""
    page = visit("ada")
    page.goto(f"/b/{shop.slug}/tasks")
    return page


def test_a_new_task_is_there_within_three_seconds(ada: Page, shop: Business, cast: Cast) -> None:
    expect(ada.locator("#live-text")).to_have_text("Updated just now")
    expect(ada.locator("#live-rate")).to_have_text("Live · every 2 s")
    new = task(shop, cast.cleo, "completed")
    expect(row(ada, new)).to_be_visible(timeout=3000)


def test_what_is_typed_keeps_its_focus_and_selection(ada: Page, shop: Business, cast: Cast) -> None:
    search = search_box(ada)
    search.fill("ben it")
    expect(ada).to_have_url(re.compile("q=ben"))
    search.evaluate("(one) => one.setSelectionRange(1, 4)")
    expect(row(ada, task(shop, cast.ben, "completed"))).to_be_visible()
    expect(search).to_be_focused()
    expect(search).to_have_value("ben it")
    assert search.evaluate("(one) => [one.selectionStart, one.selectionEnd]") == [1, 4]


def test_typing_on_while_rows_come_in_loses_no_letter(ada: Page, shop: Business, cast: Cast) -> None:
    search = search_box(ada)
    search.click()
    ada.keyboard.type("count numbers cannot be so long", delay=90)  # through at least one refresh
    expect(search).to_have_value("count numbers cannot be so long")
    expect(ada.locator("#tasks-table")).to_contain_text("Nothing matches “count numbers cannot be so long”.")


def test_selected_text_and_the_place_on_the_page_stay(ada: Page, shop: Business, cast: Cast, old: list[int]) -> None:
    middle = row(ada, old[20])
    middle.scroll_into_view_if_needed()
    ada.evaluate("scrollBy(0, 100)")
    middle.locator(".row-link").evaluate(SELECT)
    before = middle.evaluate("(one) => one.getBoundingClientRect().top")
    new = task(shop, cast.cleo, "completed")
    expect(row(ada, new)).to_be_attached()
    assert ada.evaluate("String(getSelection())") == "Count numbers"
    assert abs(middle.evaluate("(one) => one.getBoundingClientRect().top") - before) < 2


def test_a_focused_row_and_the_order_stay(ada: Page, shop: Business, cast: Cast, old: list[int]) -> None:
    ada.get_by_role("link", name="Created At", exact=True).click()
    link = row(ada, old[3]).locator(".row-link")
    link.focus()
    new = task(shop, cast.cleo, "completed")
    expect(row(ada, new)).to_be_attached()
    expect(ada.locator("#tasks-table tbody tr").last).to_have_attribute("id", f"task-{new}")
    expect(link).to_be_focused()


def test_an_open_dialog_stays_as_it_is_and_the_list_rests_behind_it(ada: Page, shop: Business, cast: Cast) -> None:
    opened = open_pause_dialog(ada)
    opened.get_by_label("Reason").fill("half a sente")
    expect(ada.locator("#live")).to_have_attribute("data-rests", "")
    new = task(shop, cast.cleo, "completed")
    expect(ada.locator("#live-text")).to_have_text(re.compile(r"Updated ([5-9]|\d\d) s ago"))
    expect(opened.get_by_label("Reason")).to_be_focused()
    expect(opened.get_by_label("Reason")).to_have_value("half a sente")
    expect(row(ada, new)).not_to_be_attached()
    opened.get_by_role("button", name="Keep running").click()
    expect(row(ada, new)).to_be_visible()
