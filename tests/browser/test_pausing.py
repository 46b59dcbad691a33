"""Ada uses all of the pause dialog, on a desk and on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tenants.models import Business
from tests.browser.conftest import Visit
from tests.browser.people import dialog, open_pause_dialog, row, toast
from tests.browser.stack import Stack, tomorrow
from tests.browser.test_accessible import faults
from tests.factories import Cast
from tests.webapp.rows import pause, task

at_both_widths = pytest.mark.parametrize("width", [1440, 390])


@pytest.fixture
def ada(visit: Visit, shop: Business) -> Page:
    """Ada at her business."""
    page = visit("ada", reduced_motion="reduce")
    page.goto(f"/b/{shop.slug}/tasks")
    return page


@pytest.fixture
def bens(shop: Business, cast: Cast) -> list[int]:
    """Three tasks of Ben that start next year."""
    return [task(shop, cast.ben, next_try_at=tomorrow()) for _ in range(3)]


def tick(opened: Locator, name: str) -> None:
    opened.get_by_role("checkbox", name=name).check()


@at_both_widths
def test_ada_pauses_bens_counting_until_tomorrow_and_takes_it_back(
    ada: Page, shop: Business, cast: Cast, bens: list[int], width: int
) -> None:
    ada.set_viewport_size({"width": width, "height": 844})
    export = task(shop, cast.ben, task_type="tasks.export", next_try_at=tomorrow())
    opened = open_pause_dialog(ada)
    tick(opened, "Ben Ito")
    expect(opened).to_contain_text("4 waiting tasks will be paused, 0 running will finish.")
    opened.get_by_text("Only some task types?").click()
    tick(opened, "Count numbers")
    expect(opened).to_contain_text("3 waiting tasks will be paused")
    expect(opened).to_contain_text("Their other task types go on")

    opened.get_by_role("radio", name="Date and time").check()
    when = opened.locator("input[type=datetime-local]")
    expect(when).to_be_in_viewport()
    when.fill("2020-01-01T08:00")
    opened.get_by_role("button", name="Pause user").click()
    expect(when).to_be_focused()
    expect(when).to_have_value("2020-01-01T08:00")
    expect(opened).to_contain_text("A pause ends at a time in the future")
    expect(opened.get_by_role("checkbox", name="Ben Ito")).to_be_checked()
    opened.get_by_role("radio", name="Tomorrow 08:00").check()

    late = task(shop, cast.ben, next_try_at=tomorrow())
    opened.get_by_role("button", name="Pause user").click()
    expect(opened.get_by_role("alert")).to_contain_text("There is more now than was shown.")
    expect(opened.locator("#pauses-impact")).to_be_focused()
    expect(opened).to_contain_text("4 waiting tasks will be paused")
    expect(opened.get_by_role("radio", name="Tomorrow 08:00")).to_be_checked()
    opened.get_by_role("button", name="Pause user").click()
    expect(dialog(ada)).to_be_hidden()
    expect(toast(ada)).to_contain_text("Paused Ben Ito with Count numbers, until ")
    expect(toast(ada)).to_contain_text("4 waiting tasks held back")
    for one in (*bens, late):
        expect(row(ada, one)).to_contain_text("Paused")
    expect(row(ada, export)).to_contain_text("Pending")
    toast(ada).get_by_role("button", name="Undo").click()
    expect(toast(ada)).to_contain_text("Taken back: 1 pause ended.")
    expect(row(ada, bens[0])).to_contain_text("Pending")


@at_both_widths
def test_ticks_survive_searches_and_count_together(
    ada: Page, shop: Business, cast: Cast, bens: list[int], width: int
) -> None:
    ada.set_viewport_size({"width": width, "height": 844})
    task(shop, cast.cleo, next_try_at=tomorrow())
    opened = open_pause_dialog(ada)
    ada.keyboard.type("ito")
    expect(opened.get_by_role("checkbox")).to_have_count(1)
    tick(opened, "Ben Ito")
    expect(opened).to_contain_text("3 waiting tasks will be paused")
    opened.get_by_role("searchbox").fill("cleo")
    tick(opened, "Cleo Marsh")
    expect(opened.get_by_role("checkbox", checked=True)).to_have_count(2)
    expect(opened).to_contain_text("4 waiting tasks will be paused")
    opened.get_by_role("button", name="Pause 2 users").click()
    expect(toast(ada)).to_contain_text("Paused Ben Ito, Cleo Marsh: 4 waiting tasks held back")


def test_ada_pauses_a_type_in_two_businesses_and_somebody_unknown_in_none(
    stack: Stack, ada: Page, shop: Business, cast: Cast
) -> None:
    other = stack.found(cast, f"{shop.slug}-too", f"{shop.name} too")
    held = [task(one, cast.cleo, next_try_at=tomorrow()) for one in (shop, other)]
    opened = open_pause_dialog(ada, "Pause Task Type")
    tick(opened, "Count numbers")
    opened.get_by_text("Also in my other businesses").click()
    tick(opened, other.name)
    expect(opened.get_by_role("heading", level=2)).to_have_text(f"Pause task types in {shop.name} and 1 more")
    expect(opened).to_contain_text("2 waiting tasks will be paused")
    opened.get_by_role("button", name="Pause task type").click()
    expect(toast(ada)).to_contain_text(f"Paused Count numbers in {shop.name}, {other.name}: 2 waiting tasks")
    expect(row(ada, held[0])).to_contain_text("Paused")
    ada.goto(f"/b/{other.slug}/tasks")
    expect(row(ada, held[1])).to_contain_text("Paused")

    opened = open_pause_dialog(ada)
    tick(opened, "Ben Ito")
    opened.get_by_text("Also in my other businesses").click()
    tick(opened, "Globex")
    opened.get_by_role("button", name="Pause user").click()
    expect(opened).to_contain_text("Ben Ito is unknown in Globex.")
    expect(opened.locator("#pauses-also")).to_be_focused()
    expect(opened.get_by_role("checkbox", name="Globex")).to_be_checked()


def test_what_folds_has_one_arrow(ada: Page, shop: Business) -> None:
    opened = open_pause_dialog(ada)
    summary = opened.locator("summary").filter(has_text="Only some task types?")
    expect(summary.locator(".icon")).to_have_count(1)
    assert summary.evaluate("(one) => getComputedStyle(one, '::before').content") == "none"


def test_a_reason_that_was_just_typed_does_not_swallow_the_click(ada: Page, shop: Business, bens: list[int]) -> None:
    opened = open_pause_dialog(ada)
    tick(opened, "Ben Ito")
    expect(opened).to_contain_text("3 waiting tasks will be paused")
    opened.get_by_label("Reason").fill("Recounting")
    opened.get_by_role("button", name="Pause user").click()
    expect(row(ada, bens[0])).to_contain_text("by Ada Lovelace: Recounting")


def test_whoever_is_paused_already_is_resumed_in_the_dialog(ada: Page, shop: Business, cast: Cast) -> None:
    pause(shop, cast.root, cast.ben, reason="on leave")
    opened = open_pause_dialog(ada)
    expect(opened).to_contain_text("Paused by Root")
    expect(opened.get_by_role("checkbox", name="Ben Ito")).to_have_count(0)
    tick(opened, "Cleo Marsh")
    opened.get_by_role("button", name="Resume Ben Ito").click()
    expect(opened.get_by_role("checkbox", name="Ben Ito")).to_be_visible()
    expect(opened.get_by_role("checkbox", name="Cleo Marsh")).to_be_checked()


def test_the_whole_dialog_is_accessible_in_every_state(ada: Page, shop: Business, cast: Cast, bens: list[int]) -> None:
    found = {}
    opened = open_pause_dialog(ada)
    found["open"] = faults(ada)
    tick(opened, "Ben Ito")
    for fold in ("Only some task types?", "Also in my other businesses"):
        opened.get_by_text(fold).click()
    tick(opened, "Globex")
    opened.get_by_role("radio", name="Date and time").check()
    expect(opened).to_contain_text("3 waiting tasks will be paused")
    found["unfolded"] = faults(ada)
    opened.get_by_role("button", name="Pause user").click()
    expect(opened).to_contain_text("Type a date and a time.")
    found["without a date"] = faults(ada)
    opened.get_by_role("radio", name="I resume").check()
    opened.get_by_role("button", name="Pause user").click()
    expect(opened).to_contain_text("Ben Ito is unknown in Globex.")
    found["unknown"] = faults(ada)
    opened.get_by_role("checkbox", name="Globex").uncheck()
    expect(opened).not_to_contain_text("Counted in")
    task(shop, cast.ben, next_try_at=tomorrow())
    opened.get_by_role("button", name="Pause user").click()
    expect(opened.get_by_role("alert")).to_be_visible()
    found["grown"] = faults(ada)
    opened.get_by_role("button", name="Pause user").click()
    expect(toast(ada).get_by_role("button", name="Undo")).to_be_visible()
    found["toast"] = faults(ada)
    ada.goto(f"/b/{shop.slug}/pauses/banner")
    expect(ada.locator("main")).to_contain_text("Ben Ito paused by Ada Lovelace")
    found["banner"] = faults(ada)
    assert not any(found.values()), found


def test_without_javascript_she_searches_twice_counts_pauses_and_takes_it_back(
    visit: Visit, shop: Business, cast: Cast, bens: list[int]
) -> None:
    ada = visit("ada", java_script_enabled=False)
    ada.goto(f"/b/{shop.slug}/pauses/new?of=user")
    main = ada.locator("main")
    main.get_by_role("searchbox").fill("ito")
    main.get_by_role("searchbox").press("Enter")
    tick(main, "Ben Ito")
    main.get_by_role("searchbox").fill("cleo")
    main.get_by_role("button", name="Search").click()
    expect(main.get_by_role("checkbox", name="Ben Ito")).to_be_checked()
    tick(main, "Cleo Marsh")
    main.get_by_text("For 1 hour").click()
    main.get_by_role("button", name="Count first").click()
    expect(main).to_contain_text("3 waiting tasks will be paused")
    expect(main.get_by_role("radio", name="For 1 hour")).to_be_checked()
    task(shop, cast.cleo, next_try_at=tomorrow())
    main.get_by_role("button", name="Pause 2 users").click()
    expect(main.get_by_role("alert")).to_contain_text("There is more now than was shown.")
    main.get_by_role("button", name="Pause 2 users").click()
    expect(toast(ada)).to_contain_text("Paused Ben Ito, Cleo Marsh, until ")
    expect(toast(ada)).to_contain_text("4 waiting tasks held back")
    toast(ada).get_by_role("button", name="Undo").click()
    expect(toast(ada)).to_contain_text("Taken back: 2 pauses ended.")
    expect(main).to_contain_text("Nothing is paused")
