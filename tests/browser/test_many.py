"""Ada acts on many tasks: she ticks rows, narrows the list down, and keeps the list that she likes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tenants.models import Business
from tests.browser.conftest import Visit
from tests.browser.people import dialog, expect_soon, search_box, toast
from tests.browser.stack import tomorrow
from tests.factories import Cast
from tests.webapp import rows

WIDTHS = [pytest.param(1440, id="desk"), pytest.param(390, id="phone")]


@pytest.fixture
def some(shop: Business, cast: Cast) -> list[int]:
    """Six tasks that wait until tomorrow, oldest first: three of Ben, three of Cleo."""
    return [rows.task(shop, who, next_try_at=tomorrow()) for who in (cast.ben, cast.cleo) for _ in range(3)]


@pytest.fixture
def ada(visit: Visit, shop: Business, some: list[int]) -> Page:
    """Ada at her business."""
    page = visit("ada")
    page.goto(f"/b/{shop.slug}/tasks")
    return page


def ticked(page: Page) -> list[int]:
    """The ids of the ticked rows, from the top."""
    return [
        int(one) for one in page.locator("[data-tick]:checked").evaluate_all("(all) => all.map((one) => one.value)")
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_ada_interrupts_what_she_ticked(ada: Page, some: list[int], width: int) -> None:
    ada.set_viewport_size({"width": width, "height": 900})
    expect(ada.locator(".bulk")).to_be_hidden()
    for id_ in some[:2]:
        ada.get_by_role("checkbox", name=f"Select task {id_}").check()
    expect(ada.get_by_text("2 selected")).to_be_visible()
    ada.get_by_role("button", name="Interrupt", exact=True).click()
    expect(dialog(ada)).to_contain_text("Interrupt 2 tasks in")
    dialog(ada).get_by_role("button", name="Interrupt 2 tasks").click()
    expect(toast(ada)).to_contain_text("2 tasks interrupted.")
    expect(ada.locator(".bulk")).to_be_hidden()
    for id_ in some[:2]:
        expect(ada.locator(f"#task-{id_}")).to_contain_text("Canceled")


def test_shift_ticks_a_range_and_the_header_the_page(ada: Page, some: list[int]) -> None:
    ada.locator(f"#tick-{some[5]}").click()
    ada.locator(f"#tick-{some[2]}").click(modifiers=["Shift"])
    expect_soon(lambda: ticked(ada), [some[5], some[4], some[3], some[2]])
    ada.get_by_role("checkbox", name="Select all tasks of this page").check()
    expect_soon(lambda: ticked(ada), some[::-1])
    expect(ada.get_by_text("6 selected")).to_be_visible()
    ada.get_by_role("button", name="Clear").click()
    expect_soon(lambda: ticked(ada), [])


def test_ticks_and_open_menus_survive_the_refresh(ada: Page, shop: Business, cast: Cast, some: list[int]) -> None:
    ada.locator(f"#tick-{some[1]}").check()
    ada.locator("#tasks-filters summary").click()
    new = rows.task(shop, cast.ben, next_try_at=tomorrow())
    expect(ada.locator(f"#task-{new}")).to_be_visible()
    expect_soon(lambda: ticked(ada), [some[1]])
    expect(ada.get_by_label("Task type", exact=True)).to_be_visible()


def test_all_that_match_is_an_operation_with_a_link(ada: Page, some: list[int]) -> None:
    search_box(ada).fill("user:cleo")
    expect(ada.locator("[data-count]")).to_have_text("3 of 3")
    ada.locator("[data-tick]").first.check()
    ada.get_by_label("Select all 3 matching").check()
    ada.get_by_role("button", name="Interrupt", exact=True).click()
    dialog(ada).get_by_role("button", name="Interrupt 3 tasks").click()
    toast(ada).get_by_role("link").click()
    expect(ada.get_by_role("heading", level=1)).to_contain_text("Interrupt all matching tasks")
    expect(ada.get_by_text("3 of 3")).to_be_visible()
    assert {rows.find_task(id_).state for id_ in some[3:]} == {"canceled"}  # type: ignore[union-attr]
    assert {rows.find_task(id_).state for id_ in some[:3]} == {"pending"}  # type: ignore[union-attr]


def test_filters_narrow_the_list_and_stand_in_the_address(ada: Page, some: list[int]) -> None:
    ada.locator("#tasks-filters summary").click()
    ada.get_by_label("Origin").select_option("System only")
    expect(ada.get_by_text("There are no tasks to show")).to_be_visible()
    ada.wait_for_url("**origin=system**")
    ada.get_by_role("link", name="Remove Origin: system").click()
    expect(ada.locator("[data-count]")).to_have_text("6 of 6")


def test_a_user_is_chosen_by_a_part_of_the_name(ada: Page, some: list[int]) -> None:
    ada.locator("#tasks-filters summary").click()
    field = ada.get_by_role("combobox", name="User", exact=True)
    field.press_sequentially("Mars")
    expect(ada.locator("#palette-people option")).to_have_attribute("value", "cleo@example.com")
    with ada.expect_response(lambda one: one.request.headers.get("hx-source") == "section#tasks-table"):
        pass
    expect(field).to_have_value("Mars")
    expect(field).to_be_focused()
    field.fill("cleo@example.com")
    field.press("Enter")
    expect(ada.locator("[data-count]")).to_have_text("3 of 3")
    expect(field).to_have_value("cleo@example.com")
    ada.get_by_role("link", name="Remove User: Cleo Marsh").click()
    expect(ada.locator("[data-count]")).to_have_text("6 of 6")


def test_ada_opens_the_list_that_she_saved(ada: Page, some: list[int]) -> None:
    search_box(ada).fill("user:cleo")
    expect(ada.locator("[data-count]")).to_have_text("3 of 3")
    ada.locator("#tasks-views summary").click()
    ada.get_by_role("link", name="Save this view").click()
    dialog(ada).get_by_label("Name").fill("Cleo only")
    dialog(ada).get_by_role("button", name="Save view").click()
    expect(toast(ada)).to_contain_text("Cleo only")
    ada.goto(ada.url.partition("?")[0])
    ada.locator("#tasks-views summary").click()
    ada.get_by_role("link", name="Cleo only").click()
    expect(ada.locator("[data-count]")).to_have_text("3 of 3")


def test_columns_are_chosen_and_stay_chosen(ada: Page) -> None:
    ada.locator("#tasks-columns summary").click()
    ada.locator("#column-priority").check()
    expect(ada.get_by_role("columnheader", name="Priority")).to_be_visible()
    ada.reload()
    expect(ada.get_by_role("columnheader", name="Priority")).to_be_visible()
