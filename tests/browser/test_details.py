"""A task in the dialog, at its own address: Ada follows it, acts on it, and comes back to her list as it was."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from jobs.models import Entry, Task
from tenants.clock import clock
from tenants.database import transaction
from tenants.models import Business
from tests import look
from tests.browser.conftest import Visit
from tests.browser.people import dialog, expect_rows, row, toast
from tests.browser.stack import Stack, tomorrow
from tests.browser.test_accessible import faults
from tests.factories import Cast
from tests.webapp.rows import entry, find_task
from tests.webapp.rows import task as task_row

DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
both_widths = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])


def at_list(visit: Visit, shop: Business, who: str = "ada", **options: object) -> Page:
    """Somebody at the list of a business, with a view on it of their own."""
    page = visit(who, **options)
    page.goto(f"/b/{shop.slug}/tasks?size=25")
    page.evaluate("window.stayed = true")
    return page


def opened(page: Page, id_: int) -> Page:
    """The task in the dialog."""
    row(page, id_).locator(".row-link").click()
    expect(dialog(page).locator("#tasks-details")).to_be_visible()
    return page


@both_widths
def test_a_click_opens_it_at_its_address_and_closing_leads_back_to_the_same_list(
    visit: Visit, shop: Business, cast: Cast, size: dict[str, int]
) -> None:
    ids = [task_row(shop, cast.ben, "failed", title=f"Sums {n}") for n in range(3)]
    ada = at_list(visit, shop, viewport=size)
    listed = ada.url
    opened(ada, ids[1])
    expect(ada).to_have_url(re.compile(rf"/tasks/{ids[1]}$"))
    expect(dialog(ada).get_by_role("heading", level=2).first).to_have_text(f"Sums 1 #{ids[1]} in {shop.name}")
    ada.get_by_role("button", name="Close").click()
    expect(dialog(ada)).to_be_hidden()
    expect(ada).to_have_url(listed)
    expect(row(ada, ids[1]).locator(".row-link")).to_be_focused()

    opened(ada, ids[0])
    ada.go_back()
    expect(dialog(ada)).to_be_hidden()
    expect(ada).to_have_url(listed)
    expect_rows(ada, ids[::-1])
    assert ada.evaluate("window.stayed"), "the list below was never loaded again"

    opened(ada, ids[2])
    ada.keyboard.press("Escape")
    expect(ada).to_have_url(listed)
    opened(ada, ids[2])
    ada.reload()
    expect(dialog(ada)).to_be_hidden()
    expect(ada.get_by_role("heading", level=1)).to_contain_text("Sums 2")
    ada.go_back()
    expect(row(ada, ids[0])).to_be_visible()
    expect(ada).to_have_url(listed)


def test_it_follows_a_task_to_its_end_in_the_dialog_and_then_rests(
    visit: Visit, shop: Business, cast: Cast, stack: Stack
) -> None:
    ada = at_list(visit, shop)
    id_ = stack.submit("ben", business=shop.slug, times=4, title="Count it")
    expect(row(ada, id_)).to_be_visible()
    opened(ada, id_)
    expect(dialog(ada).locator(".status-badge")).to_have_text("Running")
    expect(dialog(ada).get_by_role("progressbar")).to_be_visible()
    expect(dialog(ada)).to_contain_text("Attempt 1 started")
    expect(dialog(ada).locator(".status-badge")).to_have_text("Completed")
    expect(dialog(ada)).to_contain_text("Attempt 1: completed")
    asked: list[str] = []
    ada.on("request", lambda one: asked.append(one.url) if f"/tasks/{id_}" in one.url else None)
    ada.wait_for_timeout(2500)
    assert asked == [], "what is over is not asked for again"


def test_what_a_script_says_follows_its_end_and_earlier_lines_come_on_demand(
    visit: Visit, shop: Business, cast: Cast
) -> None:
    held = {"claim_token": "t", "lease_until": clock(600), "started_at": clock(), "attempts": 1}
    id_ = task_row(shop, cast.ben, "running", **held)
    about = {"business_id": shop.id, "task_id": id_, "attempt": 1, "kind": "log"}
    with transaction() as session:
        session.add_all([Entry(at=clock(), text=f"line {n:04}", **about) for n in range(250)])
    ada = opened(at_list(visit, shop, viewport=DESK), id_)
    lines = dialog(ada).locator(".log-line")
    expect(lines).to_have_count(200)
    expect(lines.last).to_be_in_viewport()
    entry(id_, shop, "one more")
    expect(lines.last).to_contain_text("one more")
    expect(lines.last).to_be_in_viewport()
    ada.reload()
    expect(ada.locator(".log-line").last).to_be_in_viewport()
    ada.go_back()
    opened(ada, id_)
    dialog(ada).get_by_role("link", name="Show earlier lines").click()
    expect(lines).to_have_count(251)
    entry(id_, shop, "and another")
    expect(lines).to_have_count(252)
    expect(lines.first).to_contain_text("line 0000")
    expect(dialog(ada).get_by_role("link", name="Show earlier lines")).to_have_count(0)


@both_widths
def test_ben_interrupts_his_running_task_and_sees_it_stop(
    visit: Visit, shop: Business, cast: Cast, stack: Stack, size: dict[str, int]
) -> None:
    id_ = stack.submit("ben", business=shop.slug, times=300, title="Endless")
    ben = visit("ben", viewport=size)
    ben.goto(f"/b/{shop.slug}/tasks/{id_}")
    ben.get_by_role("link", name="Interrupt").click()
    expect(dialog(ben)).to_contain_text("Only if it is stuck or not needed.")
    dialog(ben).get_by_role("button", name="Keep running").click()
    expect(dialog(ben)).to_be_hidden()
    ben.get_by_role("link", name="Interrupt").click()
    dialog(ben).get_by_role("button", name="Interrupt task").click()
    expect(toast(ben)).to_contain_text(f"Task {id_} is asked to stop.")
    expect(ben.locator("#tasks-details .status-badge")).to_have_text("Canceled")
    expect(ben.locator("#tasks-details")).to_contain_text("Interrupted by Ben Ito")


def test_a_form_in_front_of_the_details_leads_back_to_them(visit: Visit, shop: Business, cast: Cast) -> None:
    id_ = task_row(shop, cast.ben, next_try_at=tomorrow(), title="Later")
    ada = opened(at_list(visit, shop), id_)
    listed = ada.url
    expect(dialog(ada)).to_contain_text("Waits for its start time. Earliest start")
    dialog(ada).get_by_role("link", name="Edit").click()
    dialog(ada).get_by_label("Title").fill("Never")
    dialog(ada).get_by_role("button", name="Keep as it is").click()
    expect(dialog(ada).locator("#tasks-details")).to_be_visible()
    expect(ada).to_have_url(listed)
    dialog(ada).get_by_role("link", name="Start now").click()
    dialog(ada).get_by_role("button", name="Start now").click()
    expect(toast(ada)).to_contain_text(f"Task {id_} starts as soon as a worker is free.")
    expect(dialog(ada).locator(".status-badge")).to_have_text(re.compile("Running|Completed"))
    ada.get_by_role("button", name="Close").click()
    expect(ada).to_have_url(re.compile(r"/tasks\?size=25$"))


def test_a_failed_task_runs_again_from_the_dialog(visit: Visit, shop: Business, cast: Cast) -> None:
    id_ = task_row(shop, cast.ben, "failed", title="Sums")
    ada = opened(at_list(visit, shop), id_)
    dialog(ada).get_by_role("link", name="Run again").click()
    expect(dialog(ada)).to_contain_text("LookupError: gone")
    payload = dialog(ada).get_by_label("Payload")
    expect(payload).to_be_focused()
    payload.fill("?")
    dialog(ada).get_by_role("button", name="Run again").click()
    expect(payload).to_have_attribute("aria-invalid", "true")
    payload.fill('{"times": 2}')
    dialog(ada).get_by_role("button", name="Run again").click()
    expect(toast(ada)).to_contain_text(f"runs task {id_} again.")
    new = look.scalar(select(Task.id).where(Task.rerun_of == id_))
    expect(dialog(ada)).to_contain_text(f"Run again as #{new}")
    dialog(ada).get_by_role("link", name=f"#{new}").click()
    expect(ada).to_have_url(re.compile(rf"/tasks/{new}$"))
    expect(dialog(ada)).to_contain_text(f"Runs #{id_} again")
    ada.go_back()
    expect(dialog(ada)).to_contain_text(f"Run again as #{new}")
    ada.get_by_role("button", name="Close").click()
    expect(ada).to_have_url(re.compile(r"/tasks\?size=25$"))
    expect(row(ada, id_).locator(".row-link")).to_be_focused()


def test_the_page_of_a_task_links_to_what_runs_it_again_at_once(visit: Visit, shop: Business, cast: Cast) -> None:
    id_ = task_row(shop, cast.ben, "failed", title="Sums")
    ada = visit("ada")
    ada.goto(f"/b/{shop.slug}/tasks/{id_}")
    ada.get_by_role("link", name="Run again").click()
    dialog(ada).get_by_role("button", name="Run again").click()
    expect(ada.get_by_role("main")).to_contain_text("Run again as #")
    expect(ada).to_have_url(re.compile(rf"/tasks/{id_}$"))


def test_a_deleted_final_task_comes_back_with_undo(visit: Visit, shop: Business, cast: Cast) -> None:
    id_, other = (task_row(shop, cast.ben, "failed") for _ in range(2))
    ada = opened(at_list(visit, shop), id_)
    dialog(ada).get_by_role("button", name="Delete").click()
    expect(dialog(ada)).to_be_hidden()
    expect(ada).to_have_url(re.compile(r"/tasks\?size=25$"))
    expect(row(ada, id_)).to_have_count(0)
    toast(ada).get_by_role("button", name="Undo").click()
    expect(row(ada, id_)).to_be_visible()
    expect_rows(ada, [other, id_])
    ada.goto(f"/b/{shop.slug}/tasks/{id_}")
    ada.get_by_role("button", name="Delete").click()
    expect(ada).to_have_url(re.compile(r"/tasks$"))
    toast(ada).get_by_role("button", name="Undo").click()
    expect(ada.get_by_role("heading", level=1)).to_contain_text("Count numbers")
    task = find_task(id_)
    assert task
    assert task.undo_until is None


def test_a_deleted_waiting_task_comes_back_with_undo_and_without_it_does_not(
    visit: Visit, shop: Business, cast: Cast
) -> None:
    id_ = task_row(shop, cast.ben, next_try_at=tomorrow())
    ada = opened(at_list(visit, shop), id_)
    dialog(ada).get_by_role("link", name="Delete").click()
    dialog(ada).get_by_role("button", name="Delete task").click()
    expect(dialog(ada)).to_contain_text("Deleted by Ada Lovelace. It becomes Canceled")
    toast(ada).get_by_role("button", name="Undo").click()
    expect(dialog(ada).locator(".status-badge")).to_have_text("Pending")
    dialog(ada).get_by_role("link", name="Delete").click()
    dialog(ada).get_by_role("button", name="Delete task").click()
    expect(dialog(ada).locator(".status-badge")).to_have_text("Cancelling")
    with transaction() as session:
        one = session.get_one(Task, id_)
        one.undo_until = one.created_at
    expect(dialog(ada).locator(".status-badge")).to_have_text("Canceled")
    expect(dialog(ada)).to_contain_text("Canceled by Ada Lovelace: deleted")


def test_what_somebody_else_deletes_meanwhile_is_told(visit: Visit, shop: Business, cast: Cast) -> None:
    held = {"claim_token": "t", "lease_until": clock(600), "started_at": clock(), "attempts": 1}
    id_ = task_row(shop, cast.ben, "running", **held)
    ada = opened(at_list(visit, shop), id_)
    with transaction() as session:
        session.delete(session.get_one(Task, id_))
    expect(dialog(ada)).to_contain_text("Not found")
    asked: list[str] = []
    ada.on("request", lambda one: asked.append(one.url) if f"/tasks/{id_}" in one.url else None)
    ada.wait_for_timeout(1500)
    assert asked == []
    ada.get_by_role("button", name="Close").click()
    expect(ada).to_have_url(re.compile(r"/tasks\?size=25$"))


def test_copying_works_where_browsers_keep_their_clipboard(visit: Visit, shop: Business, cast: Cast) -> None:
    id_ = task_row(shop, cast.ben, "failed", payload={"times": 2**70})
    ada = at_list(visit, shop)
    ada.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    ada.evaluate("document.addEventListener('copy', () => { window.copied = document.activeElement.value; }, true)")
    opened(ada, id_)
    dialog(ada).get_by_role("button", name="Copy the payload").click()
    expect(ada.locator("#announce")).to_have_text("Copied")
    assert str(2**70) in ada.evaluate("window.copied")
    expect(dialog(ada).get_by_role("button", name="Copy the payload")).to_be_focused()


def test_every_dialog_of_a_task_is_accessible(visit: Visit, shop: Business, cast: Cast) -> None:
    ids = {state: task_row(shop, cast.ben, state, title="A long name " * 9) for state in ("failed", "running")}
    ids["pending"] = task_row(shop, cast.ben, next_try_at=tomorrow())
    ids["deleted"] = task_row(shop, cast.ben, "cancelling", cause="deleted", undo_until=clock(600))
    entry(ids["failed"], shop, "a line of its log")
    found = {}
    ada = visit("ada", reduced_motion="reduce")
    acts = {"failed": ("", "rerun"), "running": ("", "interrupt"), "pending": ("", "start", "delete"), "deleted": ("",)}
    for name, act in [(name, act) for name, some in acts.items() for act in some]:
        ada.set_viewport_size(DESK)
        ada.goto(f"/b/{shop.slug}/tasks")
        opened(ada, ids[name])
        if act:
            dialog(ada).locator(f"#details-{act}").click()
            expect(dialog(ada).locator("form.dialog-form")).to_be_visible()
        found[f"{name} {act}"] = faults(ada)
    assert not any(found.values()), found


def test_json_folds_and_stays_as_ada_left_it_while_it_renews_itself(visit: Visit, shop: Business, cast: Cast) -> None:
    payload = {"times": 2**70, "few": [1, 2], "many": list(range(40))}
    id_ = task_row(shop, cast.ben, "running", payload=payload)
    ada = visit("ada", reduced_motion="reduce")
    ada.goto(f"/b/{shop.slug}/tasks/{id_}")
    few, many = ada.locator("#payload-text > details").all()
    expect(few).to_have_attribute("open", "")
    expect(many).not_to_have_attribute("open", "")
    few.locator("summary").click()
    many.locator("summary").press("Enter")
    entry(id_, shop, "a line that shows that it was renewed")
    expect(ada.locator("#tasks-details")).to_contain_text("a line that shows")
    expect(many).to_have_attribute("open", "")
    expect(few).not_to_have_attribute("open", "")
    text = ada.locator("#payload-text").evaluate("(one) => one.textContent")
    assert text == json.dumps(payload, indent=2)
    assert faults(ada) == []
