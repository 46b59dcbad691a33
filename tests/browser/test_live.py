"""The list stays fresh at the rate that Ada chose, costs next to nothing, and says so when it is old."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Page, Request, Response, expect

from tenants.database import transaction
from tenants.models import Business, User
from tests.browser.conftest import Visit
from tests.browser.people import Trouble, dialog, row, sign_in, toast
from tests.factories import Cast
from tests.webapp.rows import task

AGO = """() => { const one = document.querySelector(".cell-created relative-time");
    const told = /^([1-9][0-9]?) seconds? ago$/.exec(one?.shadowRoot?.textContent);
    return told && Number(told[1]); }"""
INSIDE = """() => { const part = document.createElement("p"); part.id = "inside";
    part.setAttribute("hx-get", location.pathname); part.setAttribute("hx-trigger", "every 1s");
    part.setAttribute("hx-swap", "none"); document.getElementById("dialog-body").append(part); htmx.process(part); }"""


@pytest.fixture
def ada(visit: Visit, shop: Business, cast: Cast) -> Iterator[Page]:
    """Ada at her business, with a task. Later she prefers nothing again."""
    task(shop, cast.ben, "completed")
    page = visit("ada")
    page.goto(f"/b/{shop.slug}/tasks")
    yield page
    page.close()
    with transaction() as session:
        session.get_one(User, cast.ada.user.id).preferences = {}


def is_poll(request: Request) -> bool:
    """Whether the table asks for itself."""
    return request.headers.get("hx-source") == request.headers.get("hx-target") == "section#tasks-table"


def poll(response: Response) -> bool:
    """Whether the table was answered."""
    return is_poll(response.request)


def choose(page: Page, rate: str) -> None:
    """Choose a rate from the menu at the live mark."""
    page.locator(".live-menu summary").click()
    page.get_by_role("button", name=rate, exact=True).click()


def test_a_list_that_has_not_changed_is_answered_304_and_empty(ada: Page, shop: Business, cast: Cast) -> None:
    with ada.expect_response(lambda one: poll(one) and one.status == 200):
        pass  # the first poll does not know yet what the page shows
    with ada.expect_response(lambda one: poll(one) and one.status == 304) as unchanged:
        pass
    assert unchanged.value.request.sizes()["responseBodySize"] == 0
    new = task(shop, cast.cleo, "completed")
    with ada.expect_response(lambda one: poll(one) and one.status == 200):
        pass
    expect(row(ada, new)).to_be_visible()
    with ada.expect_response(lambda one: poll(one) and one.status == 304):
        pass
    expect(ada.locator("#live-text")).to_have_text("Updated just now")


def test_times_go_on_while_nothing_is_sent(ada: Page) -> None:
    first = ada.wait_for_function(AGO).json_value()
    ada.wait_for_function(f"(first) => ({AGO})() > first", arg=first)


def test_a_time_goes_on_from_the_moment_itself(ada: Page) -> None:
    created = ada.locator(".cell-created relative-time")
    moment = datetime.fromisoformat(created.get_attribute("datetime") or "")
    ada.clock.set_fixed_time(moment)
    ada.reload()
    expect(created).to_have_text(re.compile("just now$"))
    ada.clock.set_fixed_time(moment + timedelta(seconds=5))
    expect(created).to_have_text(re.compile("5 seconds ago$"))


def test_what_was_fetched_by_another_search_is_not_taken_for_unchanged(ada: Page, shop: Business, cast: Cast) -> None:
    with ada.expect_response(lambda one: poll(one) and one.status == 304):
        pass
    ada.get_by_role("link", name="Failed").click()
    expect(ada.locator("#tasks-table")).to_contain_text("There are no tasks to show")
    ada.locator("#state-all").click()
    expect(ada.locator("tr[id^=task-]")).to_have_count(1)
    with ada.expect_response(poll) as answer:
        pass
    assert answer.value.status in (200, 304)
    expect(ada.locator("tr[id^=task-]")).to_have_count(1)


@pytest.mark.parametrize(("rate", "seconds"), [("Every second", 1), ("Every 5 seconds", 5), ("Every minute", 60)])
def test_she_chooses_how_often(ada: Page, rate: str, seconds: int) -> None:
    with ada.expect_response(poll):
        choose(ada, rate)
    unit = f"Live · every {seconds} s"
    expect(ada.locator("#live-rate")).to_have_text(unit)
    expect(ada.locator("#tasks-table")).to_have_attribute("hx-trigger", re.compile(rf"every {seconds}s$"))
    expect(ada.locator(".live-menu")).not_to_have_attribute("open", "")
    ada.reload()
    expect(ada.locator("#live-rate")).to_have_text(unit)
    ada.locator(".live-menu summary").click()
    expect(ada.get_by_role("button", name=rate)).to_have_attribute("aria-pressed", "true")


def test_after_a_change_of_the_rate_the_old_one_no_longer_counts(visit: Visit, shop: Business, ada: Page) -> None:
    ada.clock.install()
    ada.reload()
    ada.clock.run_for(100)
    with ada.expect_response("**/account/preferences"), ada.expect_response(poll):
        choose(ada, "Every 15 seconds")
    expect(ada.locator("#tasks-table")).to_have_attribute("hx-trigger", re.compile("every 15s$"))
    asked: list[str] = []
    ada.on("request", lambda one: asked.append(one.url) if is_poll(one) else None)
    ada.clock.run_for(14_000)
    assert asked == []
    with ada.expect_response(poll):
        ada.clock.run_for(2_000)
    assert len(asked) == 1


def test_never_means_never(ada: Page, shop: Business, cast: Cast) -> None:
    ada.clock.install()
    ada.reload()
    choose(ada, "Never")
    expect(ada.locator("#live-rate")).to_have_text("Live is off")
    expect(ada.locator("#tasks-table")).to_have_attribute("hx-trigger", re.compile("renew$"))
    asked: list[str] = []
    ada.on("request", lambda one: asked.append(one.url) if "hx-request" in one.headers else None)
    ada.clock.run_for(120_000)
    expect(ada.locator("#live-text")).to_have_text("Updated 2 min ago")
    assert asked == []
    with ada.expect_response(poll):
        ada.locator(".live-menu summary").click()
        ada.get_by_role("button", name="Refresh now").click()
    ada.clock.run_for(1_000)
    expect(ada.locator("#live-text")).to_have_text("Updated just now")


def test_behind_a_dialog_lists_rest_and_inside_it_they_go_on(ada: Page) -> None:
    ada.get_by_role("link", name="Pause User", exact=True).click()
    expect(dialog(ada)).to_be_visible()
    ada.evaluate(INSIDE)
    asked: list[str | None] = []
    ada.on("request", lambda one: asked.append(one.headers.get("hx-source")))
    for _ in range(4):
        with ada.expect_request(lambda one: one.headers.get("hx-source") == "p#inside"):
            pass
    assert set(asked) == {"p#inside"}
    ada.keyboard.press("Escape")
    with ada.expect_response(poll):
        pass


def test_a_server_that_is_lost_turns_the_mark_amber_and_it_comes_back(ada: Page, trouble: Trouble) -> None:
    live = ada.locator("#live")
    rows = ada.locator("tr[id^=task-]")
    ada.context.set_offline(True)
    expect(live).to_have_attribute("data-lost", "", timeout=15_000)
    expect(ada.locator("#live-text")).to_have_text(re.compile(r"^No answer\. Updated \d+ s ago$"))
    expect(ada.locator("#announce")).to_have_text("The connection is lost. What you see may be old.")
    expect(rows).to_have_count(1)
    ada.context.set_offline(False)
    expect(live).not_to_have_attribute("data-lost", "")
    expect(ada.locator("#live-text")).to_have_text("Updated just now")
    assert any("no answer to" in one for one in trouble.met), trouble.met
    trouble.met[:] = [one for one in trouble.met if "ERR_INTERNET_DISCONNECTED" not in one]


def test_what_she_asked_for_and_did_not_get_is_tried_again(ada: Page, trouble: Trouble) -> None:
    rows = ada.locator("tr[id^=task-]")
    ada.route("**/tasks?state=failed*", lambda route: route.fulfill(status=500, body="<p>broken</p>"))
    ada.get_by_role("link", name="Failed").click()
    expect(toast(ada)).to_contain_text("Sluice did not answer. Try again in a moment.")
    expect(rows).to_have_count(1)
    assert "state=failed" not in ada.url
    ada.unroute("**/tasks?state=failed*")
    toast(ada).get_by_role("button", name="Retry").click()
    expect(ada.locator("#tasks-table")).to_contain_text("There are no tasks to show")
    expect(ada).to_have_url(re.compile(r"\?state=failed$"))
    expect(ada.locator(".toast-note")).to_have_count(0)
    trouble.met[:] = [one for one in trouble.met if "status of 500" not in one]


def test_a_login_that_expired_leads_to_the_login_and_back(visit: Visit, shop: Business, cast: Cast) -> None:
    page = visit()
    sign_in(page, "ada")
    page.goto(f"/b/{shop.slug}/tasks?state=failed&sort=user")
    at = page.url
    page.context.clear_cookies()
    page.wait_for_url(re.compile(r"/login\?next="))
    sign_in(page, "ada")
    expect(page).to_have_url(at)
