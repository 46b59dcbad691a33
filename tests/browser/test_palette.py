"""Ada goes anywhere from the command palette, by keyboard alone or with a finger."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tenants import businesses, members
from tenants.database import transaction
from tenants.models import Business, Role
from tests.browser.conftest import Visit
from tests.browser.people import dialog, row, search_box
from tests.factories import Cast
from tests.webapp.rows import task


@pytest.fixture
def ada(visit: Visit, shop: Business) -> Page:
    """Ada at her business."""
    page = visit("ada")
    page.goto(f"/b/{shop.slug}/tasks")
    return page


def open_palette(page: Page) -> Locator:
    """Press Ctrl K; the field to type into."""
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Page, act")
    expect(field).to_be_focused()
    expect(option(page, "Background-Tasks")).to_be_visible()
    return field


def option(page: Page, name: str) -> Locator:
    """One choice of the palette."""
    return page.get_by_role("option", name=name)


def active(page: Page) -> Locator:
    """The choice that Enter would take, which is also the one that a screen reader tells."""
    chosen = page.locator("#palette [aria-selected=true]")
    expect(chosen).to_have_count(1)
    field = page.get_by_role("combobox", name="Page, act")
    expect(field).to_have_attribute("aria-activedescendant", chosen.get_attribute("id") or "")
    return chosen


def test_arrows_choose_and_enter_goes(ada: Page, shop: Business) -> None:
    field = open_palette(ada)
    expect(active(ada)).to_contain_text("Async Tasks")
    ada.keyboard.press("ArrowUp")
    expect(active(ada)).to_have_id(ada.get_by_role("option").last.get_attribute("id") or "")
    ada.keyboard.press("ArrowDown")
    expect(active(ada)).to_contain_text("Async Tasks")
    ada.keyboard.type("paus")
    expect(field).to_have_value("paus")
    expect(option(ada, "Account")).to_have_count(0)
    expect(ada.locator("#palette-count")).to_have_text("4 choices")
    ada.keyboard.press("ArrowDown")
    expect(active(ada)).to_contain_text("Pause User")
    ada.keyboard.press("ArrowUp")
    expect(active(ada)).to_have_text("Pauses")
    ada.keyboard.press("Enter")
    expect(ada).to_have_url(re.compile(rf"/b/{shop.slug}/pauses$"))


def test_escape_closes_it_and_the_focus_is_where_it_was(ada: Page) -> None:
    search = search_box(ada)
    search.focus()
    open_palette(ada)
    ada.keyboard.press("Escape")
    expect(ada.locator("#palette")).to_be_hidden()
    expect(search).to_be_focused()
    assert open_palette(ada).input_value() == ""


def test_an_act_opens_its_dialog_and_leads_back(ada: Page, shop: Business) -> None:
    open_palette(ada)
    ada.keyboard.type("pause user")
    expect(active(ada)).to_contain_text("Pause User")
    ada.keyboard.press("Enter")
    expect(dialog(ada).get_by_role("searchbox")).to_be_focused()
    expect(dialog(ada)).to_contain_text(f"Pause users in {shop.name}")
    expect(ada.locator("#palette")).to_be_hidden()
    ada.keyboard.press("Escape")
    expect(dialog(ada)).to_be_hidden()
    expect(ada.get_by_role("link", name="Search or go to")).to_be_focused()


def test_a_number_leads_to_its_task_and_words_search(ada: Page, shop: Business, cast: Cast) -> None:
    mine = task(shop, cast.ben, "completed", title="Count the stock")
    open_palette(ada)
    ada.keyboard.type(str(mine))
    expect(active(ada)).to_contain_text(f"Task #{mine}: Count the stock")
    ada.keyboard.press("Enter")
    expect(ada).to_have_url(re.compile(rf"/tasks/{mine}$"))
    open_palette(ada)
    ada.keyboard.type("ito")
    expect(active(ada)).to_contain_text("Search tasks for “ito”")
    ada.keyboard.press("Enter")
    expect(ada).to_have_url(re.compile(r"/tasks\?q=ito$"))
    expect(row(ada, mine)).to_be_visible()


def test_the_theme_switches_from_the_palette(ada: Page) -> None:
    open_palette(ada)
    ada.keyboard.type("dark")
    ada.keyboard.press("Enter")  # sooner than the choices for these words are there
    expect(ada.locator("html")).to_have_attribute("data-bs-theme", "dark")
    expect(ada.locator("#palette")).to_be_hidden()


def test_it_does_not_open_over_a_dialog(ada: Page) -> None:
    ada.get_by_role("link", name="Pause User", exact=True).click()
    expect(dialog(ada)).to_be_visible()
    ada.keyboard.press("Control+k")
    expect(ada.locator("#palette")).to_be_hidden()


def test_words_typed_before_htmx_has_seen_the_page_are_searched_for(ada: Page) -> None:
    ada.add_init_script("const soon = setTimeout; setTimeout = (act, ms = 1500) => soon(act, ms)")
    ada.reload()
    ada.keyboard.press("Control+k")
    ada.keyboard.type("pau zzz")
    expect(option(ada, "Search tasks for “pau zzz”")).to_be_visible()
    expect(option(ada, "Account")).to_have_count(0)


def test_nothing_fits(ada: Page, visit: Visit) -> None:
    ben = visit("ben")
    ben.goto("/b/acme/background-tasks")
    ben.get_by_role("link", name="Search or go to").click()
    ben.keyboard.type("zzz")
    expect(ben.locator("#palette")).to_contain_text("Nothing fits “zzz”.")
    ben.keyboard.press("Enter")
    expect(ben.locator("#palette")).to_be_visible()


def test_with_a_finger_on_a_phone(visit: Visit, shop: Business) -> None:
    phone = visit("ada", viewport={"width": 390, "height": 844}, has_touch=True)
    phone.goto(f"/b/{shop.slug}/tasks")
    phone.get_by_role("link", name="Search or go to").tap()
    expect(phone.get_by_role("combobox", name="Page, act")).to_be_focused()
    expect(option(phone, "Globex")).to_be_visible()
    heights = "(all) => all.map((one) => one.getBoundingClientRect().height)"
    assert min(phone.locator("[role=option]").evaluate_all(heights)) >= 43.95
    option(phone, "Globex").tap()
    expect(phone).to_have_url(re.compile("/b/globex/"))


def test_from_eight_businesses_on_the_switcher_has_a_search(visit: Visit, cast: Cast) -> None:
    with transaction() as session:
        for number in range(8):
            new = businesses.create(session, f"branch-{number}", f"Branch {number}")
            members.add(session, new, cast.cleo.user, Role.MEMBER)
    cleo = visit("cleo")
    cleo.goto("/b/acme/background-tasks?tab=failed")
    cleo.locator(".switcher summary").click()
    search = cleo.get_by_role("searchbox", name="Search businesses")
    expect(search).to_be_focused()
    cleo.keyboard.type("branch 3")
    menu = cleo.get_by_role("navigation", name="Business")
    expect(menu.get_by_role("link")).to_have_text([re.compile("Branch 3")])
    cleo.keyboard.type("999")
    expect(menu).to_contain_text("No business has this name.")
    search.fill("3")
    menu.get_by_role("link", name="Branch 3").click()
    expect(cleo).to_have_url(re.compile(r"/b/branch-3/background-tasks\?tab=failed$"))
