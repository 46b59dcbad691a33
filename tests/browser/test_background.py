"""Ben finds his own tasks from every page, at the top right, and does with them what he may."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tenants.clock import clock
from tenants.models import Business
from tests.browser.conftest import Visit
from tests.browser.people import dialog, row, toast
from tests.browser.stack import Stack, tomorrow
from tests.browser.test_accessible import faults
from tests.factories import Cast
from tests.webapp import rows

DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
both_widths = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])


def background(page: Page, shop: Business, path: str = "account") -> Locator:
    """Open Background-Tasks from a page, with one click."""
    page.goto(f"/b/{shop.slug}/background-tasks")  # so that the header is that of the shop
    page.goto(f"/{path}")
    page.get_by_role("banner").get_by_role("link", name="Background-Tasks").click()
    expect(dialog(page).locator("#background-list")).to_be_visible()
    return dialog(page)


@both_widths
def test_one_click_opens_the_dialog_and_back_leads_to_the_page(
    visit: Visit, shop: Business, cast: Cast, size: dict[str, int]
) -> None:
    ben = visit("ben", viewport=size)
    opened = background(ben, shop)
    expect(ben).to_have_url(re.compile(rf"/b/{shop.slug}/background-tasks$"))
    for tab in ("Failed", "Finished", "Pending"):
        opened.get_by_role("link", name=re.compile(f"^{tab}")).click()
        expect(opened.get_by_role("link", name=re.compile(f"^{tab}"))).to_have_attribute("aria-current", "page")
        expect(opened).to_contain_text("There are no tasks to show")
    ben.go_back()
    expect(dialog(ben)).to_be_hidden()
    expect(ben).to_have_url(re.compile("/account$"))
    expect(ben.get_by_role("link", name="Background-Tasks")).to_be_focused()


def test_the_rows_renew_themselves_inside_the_dialog(visit: Visit, shop: Business, cast: Cast, stack: Stack) -> None:
    ben = visit("ben")
    opened = background(ben, shop)
    id_ = stack.submit("ben", business=shop.slug, times=3, title="Count it")
    expect(row(ben, id_)).to_be_visible(timeout=3000)
    expect(row(ben, id_).locator(".status-badge")).to_have_text("Running")
    expect(row(ben, id_)).to_have_count(0)
    opened.get_by_role("link", name=re.compile("^Finished")).click()
    expect(row(ben, id_)).to_contain_text("Completed")


def test_the_badge_follows_what_is_not_over(visit: Visit, shop: Business, cast: Cast) -> None:
    ben = visit("ben")
    ben.goto(f"/b/{shop.slug}/background-tasks")
    ben.goto("/help")
    badge = ben.locator("#background-badge")
    expect(badge).to_be_hidden()
    for _ in range(2):
        rows.task(shop, cast.ben, next_try_at=tomorrow())
    expect(badge).to_have_text("2 open")
    assert ben.locator("#live").count() == 0


@both_widths
def test_ben_deletes_with_and_without_a_warning_and_undoes_both(
    visit: Visit, shop: Business, cast: Cast, size: dict[str, int]
) -> None:
    waiting, failed = rows.task(shop, cast.ben, next_try_at=tomorrow()), rows.task(shop, cast.ben, "failed")
    ben = visit("ben", viewport=size)
    opened = background(ben, shop)
    opened.get_by_role("link", name=f"Delete task {waiting}").click()
    expect(dialog(ben)).to_contain_text("No start will follow.")
    expect(dialog(ben)).to_contain_text("Work that was done stays done.")
    dialog(ben).get_by_role("button", name="Delete task").click()
    expect(opened).to_contain_text("There are no tasks to show")
    opened.get_by_role("link", name=re.compile("^Failed")).click()
    expect(row(ben, waiting)).to_contain_text("Deleted by Ben Ito")
    row(ben, waiting).get_by_role("button", name="Undo").click()
    expect(row(ben, waiting)).to_have_count(0)
    opened.get_by_role("button", name=f"Delete task {failed}").click()
    expect(row(ben, failed)).to_have_count(0)
    expect(toast(ben)).to_contain_text(f"Task {failed} is deleted.")
    toast(ben).get_by_role("button", name="Undo").click()
    expect(row(ben, failed)).to_be_visible()


def test_ben_interrupts_a_running_one_and_comes_back_to_his_list(
    visit: Visit, shop: Business, cast: Cast, stack: Stack
) -> None:
    id_ = stack.submit("ben", business=shop.slug, times=300)
    ben = visit("ben")
    opened = background(ben, shop)
    expect(row(ben, id_)).to_contain_text("Running")
    opened.get_by_role("link", name=f"Interrupt task {id_}").click()
    expect(dialog(ben)).to_contain_text("Only if it is stuck or not needed.")
    dialog(ben).get_by_role("button", name="Interrupt task").click()
    expect(dialog(ben).locator("#background-list")).to_be_visible()
    expect(row(ben, id_)).to_have_count(0)
    opened.get_by_role("link", name=re.compile("^Failed")).click()
    expect(row(ben, id_)).to_contain_text("Interrupted by Ben Ito")


def test_from_the_list_to_a_task_and_back(visit: Visit, shop: Business, cast: Cast) -> None:
    id_ = rows.task(shop, cast.ben, next_try_at=tomorrow(), title="Later")
    ben = visit("ben")
    opened = background(ben, shop)
    opened.get_by_role("link", name="Later").click()
    expect(ben).to_have_url(re.compile(rf"/tasks/{id_}$"))
    expect(opened.locator("#tasks-details")).to_be_visible()
    ben.go_back()
    expect(opened.locator("#background-list")).to_be_visible()
    opened.get_by_role("link", name="Later").click()
    expect(opened.locator("#tasks-details")).to_be_visible()
    ben.keyboard.press("Escape")
    expect(dialog(ben)).to_be_hidden()
    expect(ben).to_have_url(re.compile("/account$"))


def test_what_is_closed_while_its_content_settles_stays_closed(visit: Visit, shop: Business, cast: Cast) -> None:
    rows.task(shop, cast.ben, next_try_at=tomorrow(), title="Later")
    ben = visit("ben")
    opened = background(ben, shop)
    opened.get_by_role("link", name="Later").click()
    expect(opened.locator("#tasks-details")).to_be_visible()
    ben.go_back()
    expect(opened.locator("#background-list")).to_be_visible()
    ben.evaluate(
        """() => {
            let closed = false;
            document.addEventListener("htmx:finally:swap", () => { if (closed) document.body.dataset.settled = ""; });
            const watch = new MutationObserver(() => {
                if (!document.getElementById("tasks-details")) return;
                watch.disconnect();
                document.getElementById("dialog").close();
                closed = true;
            });
            watch.observe(document.getElementById("dialog-body"), { childList: true });
        }"""
    )
    opened.get_by_role("link", name="Later").click()
    expect(ben.locator("body")).to_have_attribute("data-settled", "")
    expect(ben).to_have_url(re.compile("/account$"))
    expect(dialog(ben)).to_be_hidden()


def test_an_answer_that_comes_after_escape_opens_nothing(visit: Visit, shop: Business, cast: Cast) -> None:
    id_ = rows.task(shop, cast.ben, next_try_at=tomorrow(), title="Later")
    ben = visit("ben")
    opened = background(ben, shop)
    held: list[Route] = []
    ben.route(f"**/tasks/{id_}", lambda route: held.append(route))  # noqa: PLW0108 - Playwright asks for its arity
    ben.evaluate(
        """() => document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
            if (ctx.request.action.includes("/tasks/")) document.body.dataset.answered = "";
        })"""
    )
    with ben.expect_request(f"**/tasks/{id_}"):
        opened.get_by_role("link", name="Later").click()
    ben.keyboard.press("Escape")
    expect(ben).to_have_url(re.compile("/account$"))
    held[0].continue_()
    expect(ben.locator("body")).to_have_attribute("data-answered", "")
    expect(dialog(ben)).to_be_hidden()
    expect(ben).to_have_url(re.compile("/account$"))


def test_over_the_page_of_a_task_another_one_takes_its_place(visit: Visit, shop: Business, cast: Cast) -> None:
    first, second = (rows.task(shop, cast.ben, "failed", title=title) for title in ("One", "Two"))
    ben = visit("ben")
    ben.goto(f"/b/{shop.slug}/tasks/{first}")
    ben.get_by_role("banner").get_by_role("link", name="Background-Tasks").click()
    expect(ben).to_have_url(re.compile("/background-tasks$"))
    ben.get_by_role("link", name=re.compile("^Failed")).click()
    ben.get_by_role("link", name="Two").click()
    expect(ben).to_have_url(re.compile(rf"/tasks/{second}$"))
    expect(ben.locator("#tasks-details")).to_have_count(1)


def test_every_tab_is_accessible(visit: Visit, shop: Business, cast: Cast) -> None:
    for state in ("running", "failed", "canceled", "completed"):
        rows.task(shop, cast.ben, state, title="A long name " * 9)
    rows.task(shop, cast.ben, next_try_at=tomorrow())
    rows.task(shop, cast.ben, "cancelling", cause="deleted", undo_until=clock(600), ended_by=cast.ben.user.id)
    rows.pause(shop, cast.ada, cast.ben, reason="too loud")
    ben = visit("ben", reduced_motion="reduce")
    found = {}
    for tab in ("Pending", "Failed", "Finished"):
        ben.set_viewport_size(DESK)
        opened = background(ben, shop)
        opened.get_by_role("link", name=re.compile(f"^{tab}")).click()
        expect(opened.locator(".own-task").first).to_be_visible()
        found[tab] = faults(ben)
    assert not any(found.values()), found
