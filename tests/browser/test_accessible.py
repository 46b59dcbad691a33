"""Everybody can use every page: axe-core finds nothing wrong, in light and dark, on a desk and on a phone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from jobs import pauses
from jobs.judge import Target
from tenants import accounts, members
from tenants.clock import clock
from tenants.database import transaction
from tenants.models import Business
from tests.browser.conftest import Visit
from tests.browser.people import dialog, open_pause_dialog, row, toast
from tests.browser.stack import tomorrow
from tests.factories import Cast
from tests.webapp import rows

AXE = (Path(__file__).parents[1] / "vendor" / "axe-core-4.14.1" / "axe.min.js").read_text()
ALL = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
RUN = """async (rules) => (await axe.run(document, {runOnly: rules, resultTypes: ["violations"]}))
    .violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.target} ${node.failureSummary}`))"""
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}  # the rules that look at colours
PLACES = """() => JSON.stringify([...document.querySelectorAll("body, body *:not(#theme *)")].map((one) =>
    [one.tagName, one.getBoundingClientRect(), getComputedStyle(one).visibility]))"""
SIDEWAYS = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
THEME = "(theme) => { document.documentElement.dataset.bsTheme = theme; }"

TYPES = ("test.count", "tasks.export", "script.execute")
PAGES = {
    "tasks": "/b/{shop}/tasks",
    "active": "/b/{shop}/active",
    "history": "/b/{shop}/history",
    "failures": "/b/{shop}/failures",
    "ignored failures": "/b/{shop}/failures?state=ignored",
    "no failures": "/b/{shop}/failures?state=resolved",
    "a person": "/b/{shop}/tasks?user={cleo}&q=user:cleo+count",
    "nothing found": "/b/{shop}/tasks?q=nobody",
    "paused": "/b/{shop}/tasks/{paused}",
    "failed": "/b/{shop}/tasks/{failed}",
    "completed": "/b/{shop}/tasks/{completed}",
    "pauses": "/b/{shop}/pauses",
    "pause users, as a page": "/b/{shop}/pauses/new?of=user",
    "resume all, as a page": "/b/{shop}/pauses/resumption",
    "own tasks": "/b/{shop}/background-tasks",
    "own failures": "/b/{shop}/background-tasks?tab=failed",
    "audit": "/b/{shop}/audit",
    "account": "/account",
    "help": "/help",
    "keys, as a page": "/help/keys",
    "palette, as a page": "/b/{shop}/palette?q=pause",
    "not found": "/b/no-such/tasks",
}


def edit_wrongly(page: Page) -> None:
    """Type a payload that the server refuses."""
    page.get_by_role("link", name="Edit task").first.click()
    dialog(page).get_by_label("Payload").fill("?")
    dialog(page).get_by_role("button", name="Save task").click()
    expect(dialog(page).get_by_label("Payload")).to_have_attribute("aria-invalid", "true")


def export(page: Page) -> None:
    """Export the list, which answers with a toast that has a link."""
    page.get_by_role("button", name="Export CSV").click()
    expect(toast(page).get_by_role("link", name="View task")).to_be_visible()


def tick_and(page: Page, act: str) -> None:
    """Tick a task and ask for an act on what is ticked."""
    page.locator("[data-tick]").first.check()
    page.get_by_role("button", name=act, exact=True).click()
    expect(dialog(page).get_by_role("heading")).to_be_visible()


def save_view(page: Page) -> None:
    """Ask to save the list as it is."""
    page.locator("#tasks-views summary").click()
    page.get_by_role("link", name="Save this view").click()


def search_palette(page: Page, words: str, first: str = "") -> None:
    """Open the palette, type, and wait for what it offers."""
    page.keyboard.press("Control+k")
    page.keyboard.type(words)
    expect(page.locator("#palette").get_by_role("option").filter(has_text=first).first).to_be_visible()


def open_menu(page: Page, menu: str) -> None:
    """Open a menu of the header."""
    page.locator(f".{menu} summary").click()
    expect(page.locator(f".{menu} .menu-box")).to_be_visible()


ACTS: dict[str, Callable[[Page], Any]] = {
    "pause users": lambda page: open_pause_dialog(page).get_by_role("checkbox", name="Ben Ito").check(),
    "pause nobody": lambda page: open_pause_dialog(page).get_by_role("searchbox").fill("nobody"),
    "pause task types": lambda page: open_pause_dialog(page, "Pause Task Type"),
    "resume all": lambda page: page.get_by_role("link", name="Resume All").click(),
    "edit": lambda page: page.get_by_role("link", name="Edit task").first.click(),
    "edit wrongly": edit_wrongly,
    "delete": lambda page: page.get_by_role("link", name="Delete task").first.click(),
    "interrupt many": lambda page: tick_and(page, "Interrupt"),
    "a priority for many": lambda page: tick_and(page, "Priority"),
    "ticked": lambda page: page.locator("[data-tick]").first.check(),
    "filters": lambda page: page.locator("#tasks-filters summary").click(),
    "views": lambda page: page.locator("#tasks-views summary").click(),
    "columns": lambda page: page.locator("#tasks-columns summary").click(),
    "save a view": save_view,
    "toast": export,
    "businesses": lambda page: open_menu(page, "switcher"),
    "admin": lambda page: open_menu(page, "admin"),
    "live": lambda page: open_menu(page, "live-menu"),
    "palette": lambda page: search_palette(page, ""),
    "palette, searched": lambda page: search_palette(page, "pau", "Pauses"),
    "palette, nothing": lambda page: search_palette(page, "pau zzz", "zzz"),
    "keys": lambda page: page.get_by_role("link", name="Help and keys").click(),
}

MENUS = ("businesses", "admin", "live")
WITHOUT_DIALOG = ("toast", "ticked", "filters", "views", "columns", *MENUS)


@pytest.fixture
def at(shop: Business, cast: Cast) -> dict[str, Any]:
    """A business in which there is something of everything; where to find it."""
    found: dict[str, Any] = {"shop": shop.slug, "cleo": cast.cleo.user.id}
    for state in ("running", "failed", "completed", "canceled"):
        found[state] = rows.task(shop, cast.root, state, title=f"A {state} one")
    rows.failure(shop, message="row # " + "of a very long table " * 8, returned_at=clock(-60))
    rows.failure(shop, message="", kind="", task_type="not.known", state="ignored", changed_at=clock())
    rows.entry(found["completed"], shop, "a line of its log")
    rows.task(shop, None, next_try_at=tomorrow())
    found["paused"] = rows.task(shop, cast.cleo, next_try_at=tomorrow(), title="x" * 200)
    with transaction() as session:
        ada = members.enter(session, cast.ada.user, shop.slug)
        over = pauses.pause(session, ada, Target(shop.id, task_type="tasks.export"), "only for a moment")
        pauses.resume(session, ada, over.id)
        pauses.pause(session, ada, Target(shop.id, user_id=cast.cleo.user.id), "on leave")
        for who, name in itertools.product((cast.ada, cast.ben), TYPES):
            pauses.pause(session, ada, Target(shop.id, who.user.id, name), "a long list")
        pauses.pause(session, cast.root, Target(None, task_type="script.execute"), "a vendor is down")
    return found


@pytest.fixture
def root(visit: Visit) -> Page:
    """Root, who sees everything that there is to see."""
    return visit("root", reduced_motion="reduce")


def faults(page: Page) -> list[str]:
    """What is wrong with the page as it stands, in each theme and at each width; it may never scroll sideways."""
    found: list[str] = []
    page.evaluate(AXE)
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        found += [f"{width} px: {one}" for one in faults_in_both_themes(page)]
    for width in (390, 360):
        page.set_viewport_size({"width": width, "height": 900})
        found += [f"it scrolls sideways at {width} px"] if page.evaluate(SIDEWAYS) > 0 else []
    return found


def faults_in_both_themes(page: Page) -> list[str]:
    """What is wrong in light, then in dark. There only colours are looked at if everything stands where it stood."""
    page.evaluate(THEME, "light")
    found = [f"light: {one}" for one in page.evaluate(RUN, ALL)]
    places = page.evaluate(PLACES)
    page.evaluate(THEME, "dark")
    rules = COLOURS if page.evaluate(PLACES) == places else ALL
    return found + [f"dark: {one}" for one in page.evaluate(RUN, rules)]


def is_half_covered(fault: str) -> bool:
    """Whether an open menu lies over a part of a target, which axe then takes for a small one."""
    return "target-size: " in fault and ".menu-box" not in fault and "menu-choice" not in fault


def test_every_page(root: Page, at: dict[str, Any]) -> None:
    found = {}
    for name, path in PAGES.items():
        root.goto(path.format(**at))
        expect(root.get_by_role("heading", level=1)).to_have_count(1)
        found[name] = faults(root)
    assert not any(found.values()), found


def test_every_dialog_menu_and_toast(root: Page, at: dict[str, Any]) -> None:
    found = {}
    for name, act in ACTS.items():
        root.set_viewport_size({"width": 1440, "height": 900})
        root.goto(PAGES["tasks"].format(**at))
        act(root)
        if name not in WITHOUT_DIALOG:
            expect(dialog(root).locator(":focus")).to_have_count(1)
        found[name] = [one for one in faults(root) if name not in MENUS or not is_half_covered(one)]
    assert not any(found.values()), found


def test_the_pages_of_somebody_without_rights(visit: Visit, cast: Cast, shop: Business) -> None:
    nobody = visit(reduced_motion="reduce")
    nobody.goto("/login")
    assert faults(nobody) == []
    nobody.get_by_label("E-mail").fill("ada@example.com")
    nobody.get_by_label("Password").fill("wrong")
    nobody.get_by_role("button", name="Log in", exact=True).click()
    expect(nobody.get_by_text("do not match")).to_be_visible()
    assert faults(nobody) == []
    ben = visit("ben", reduced_motion="reduce")
    ben.goto(f"/b/{shop.slug}/tasks")
    expect(ben.get_by_role("heading", level=1)).to_have_text("Not allowed")
    assert faults(ben) == []
    ben.goto(f"/b/{shop.slug}/background-tasks")
    assert faults(ben) == []


def test_the_page_of_somebody_without_a_business(visit: Visit, cast: Cast) -> None:
    with transaction() as session:
        accounts.register(session, "new@example.com", "Newcomer", accounts.DEMO_PASSWORD, demo=True)
    new = visit("new", reduced_motion="reduce")
    expect(new.locator("main")).to_contain_text("You are in no business yet")
    assert faults(new) == []


def test_ada_pauses_ben_by_keyboard_alone(visit: Visit, shop: Business, cast: Cast) -> None:
    bens = rows.task(shop, cast.ben, next_try_at=tomorrow())
    ada = visit("ada")
    ada.goto(f"/b/{shop.slug}/tasks")
    press = ada.keyboard.press
    opener = ada.get_by_role("link", name="Pause User", exact=True)

    def tab_to(what: Locator) -> None:
        for _ in range(40):
            if what.evaluate("(one) => one === document.activeElement"):
                return
            press("Tab")
        raise AssertionError(f"the Tab key does not lead to {what}")

    press("Tab")
    expect(ada.get_by_role("link", name="Skip to content")).to_be_focused()
    tab_to(opener)
    press("Enter")
    search = dialog(ada).get_by_role("searchbox")
    expect(search).to_be_focused()
    press("Escape")
    expect(dialog(ada)).to_be_hidden()
    expect(opener).to_be_focused()

    press("Enter")
    expect(search).to_be_focused()
    ada.keyboard.type("ben")
    expect(dialog(ada).get_by_role("checkbox")).to_have_count(1)
    press("Enter")
    expect(dialog(ada)).to_be_visible()
    tab_to(dialog(ada).get_by_role("checkbox", name="Ben Ito"))
    press("Space")
    expect(dialog(ada)).to_contain_text("1 waiting task will be paused, 0 running will finish.")
    press("Escape")
    expect(dialog(ada)).to_be_visible()  # something was chosen: only a button leaves
    tab_to(dialog(ada).get_by_label("Reason"))
    ada.keyboard.type("By keyboard")  # over the suggestion, which is selected
    tab_to(dialog(ada).get_by_role("button", name="Pause user"))
    press("Enter")
    expect(dialog(ada)).to_be_hidden()
    expect(opener).to_be_focused()
    expect(row(ada, bens)).to_contain_text("Ada Lovelace: By keyboard")
