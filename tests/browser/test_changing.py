"""Ada edits and deletes tasks, as long as the rules allow it; Ben deletes his own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from jobs import tasks
from jobs.tasks import Changes
from tenants import members
from tenants.database import transaction
from tenants.models import Business
from tests import look
from tests.browser.conftest import Visit
from tests.browser.people import dialog, row, toast
from tests.browser.stack import Stack, tomorrow
from tests.factories import Cast
from tests.waiting import until
from tests.webapp.rows import find_task
from tests.webapp.rows import task as task_row


@pytest.fixture
def waiting(stack: Stack, shop: Business) -> int:
    """A task of Ben that starts next year."""
    return stack.submit("ben", business=shop.slug, times=30, title="Count it", start_at=tomorrow())


@pytest.fixture
def ada(visit: Visit, shop: Business, waiting: int) -> Page:
    """Ada at her business."""
    page = visit("ada")
    page.goto(f"/b/{shop.slug}/tasks")
    return page


def begin(cast: Cast, shop: Business, task_id: int) -> None:
    """Root lets the task start now; wait until a worker runs it."""
    with transaction() as session:
        root = members.enter(session, cast.root.user, shop.slug)
        tasks.edit(session, root, task_id, Changes("Count it", 90, datetime.now(UTC), {"times": 3}))
    until(lambda: look.task(task_id).state == "running")


def test_ada_edits_a_task_that_has_not_started(ada: Page, waiting: int) -> None:
    ada.get_by_role("link", name=f"Edit task {waiting}").click()
    title = dialog(ada).get_by_label("Title")
    expect(title).to_be_focused()
    expect(title).to_have_value("Count it")
    title.fill("Count twice")
    dialog(ada).get_by_label("Priority").fill("7")
    dialog(ada).get_by_label("Payload").fill('{"times": 0}')
    dialog(ada).get_by_role("button", name="Save task").click()
    payload = dialog(ada).get_by_label("Payload")
    expect(payload).to_be_focused()
    expect(payload).to_have_attribute("aria-invalid", "true")
    expect(title).to_have_value("Count twice")
    payload.fill('{"times": 2}')
    dialog(ada).get_by_role("button", name="Save task").click()
    expect(toast(ada)).to_contain_text(f"Task {waiting} is saved.")
    expect(dialog(ada)).to_be_hidden()
    expect(row(ada, waiting)).to_contain_text("Count twice")
    saved = look.task(waiting)
    assert (saved.title, saved.priority, saved.payload) == ("Count twice", 7, {"times": 2})
    expect(ada.get_by_role("link", name=f"Edit task {waiting}")).to_be_focused()


def test_a_task_that_started_meanwhile_is_not_edited(ada: Page, cast: Cast, shop: Business, waiting: int) -> None:
    ada.get_by_role("link", name=f"Edit task {waiting}").click()
    dialog(ada).get_by_label("Title").fill("Too late")
    begin(cast, shop, waiting)
    dialog(ada).get_by_role("button", name="Save task").click()
    expect(dialog(ada).get_by_role("alert")).to_have_text("This task has started, so it can no longer be edited.")
    expect(dialog(ada).get_by_label("Title")).to_have_value("Too late")
    assert look.task(waiting).title == "Count it"
    dialog(ada).get_by_role("button", name="Keep as it is").click()
    expect(row(ada, waiting)).to_contain_text("Running")
    expect(row(ada, waiting).get_by_role("link", name="Edit")).to_have_count(0)
    expect(row(ada, waiting).get_by_role("link", name="Delete")).to_have_count(0)


def test_a_task_that_started_meanwhile_is_not_deleted(ada: Page, cast: Cast, shop: Business, waiting: int) -> None:
    ada.get_by_role("link", name=f"Delete task {waiting}").click()
    expect(dialog(ada)).to_contain_text("No start will follow.")
    begin(cast, shop, waiting)
    dialog(ada).get_by_role("button", name="Delete task").click()
    expect(dialog(ada).get_by_role("alert")).to_contain_text("This task is running.")
    expect(dialog(ada).get_by_role("button", name="Delete task")).to_have_count(0)
    until(lambda: look.task(waiting).state == "completed")


def test_deleting_a_waiting_task_cancels_it(ada: Page, waiting: int) -> None:
    ada.get_by_role("link", name=f"Delete task {waiting}").click()
    expect(dialog(ada)).to_contain_text("The task becomes Canceled and stays in the list")
    dialog(ada).get_by_role("button", name="Keep task").click()
    expect(row(ada, waiting)).to_contain_text("Pending")
    ada.get_by_role("link", name=f"Delete task {waiting}").click()
    dialog(ada).get_by_role("button", name="Delete task").click()
    expect(toast(ada)).to_contain_text(f"Task {waiting} will not start.")
    expect(row(ada, waiting)).to_contain_text("Cancelling")
    expect(row(ada, waiting)).to_contain_text("deleted")
    toast(ada).get_by_role("button", name="Undo").click()
    expect(row(ada, waiting)).to_contain_text("Pending")


def test_deleting_what_is_over_takes_it_away_and_the_focus_goes_on(
    ada: Page, shop: Business, cast: Cast, waiting: int
) -> None:
    over = task_row(shop, cast.cleo, "failed")
    ada.get_by_role("button", name=f"Delete task {over}").click()
    expect(row(ada, over)).to_have_count(0)
    expect(toast(ada).get_by_role("button", name="Undo")).to_be_visible()
    task = find_task(over)
    assert task
    assert task.undo_until, "for half a minute"
    expect(row(ada, waiting).locator(":focus")).to_have_count(1)


def test_ben_deletes_his_own_task(visit: Visit, shop: Business, waiting: int) -> None:
    ben = visit("ben")
    ben.goto(f"/b/{shop.slug}/background-tasks")
    ben.get_by_role("link", name=f"Delete task {waiting}").click()
    expect(dialog(ben)).to_contain_text("No start will follow.")
    dialog(ben).get_by_role("button", name="Delete task").click()
    expect(ben.locator("#background-list")).to_contain_text("There are no tasks to show")
    ben.get_by_role("link", name="Failed").click()
    expect(row(ben, waiting)).to_contain_text("Deleted by Ben Ito")
