"""Ada looks for tasks: she searches, sorts and turns pages, and the address always says what she sees."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from jobs.models import Task
from tenants.database import transaction
from tenants.models import Business
from tests.browser.conftest import Visit
from tests.browser.people import column, expect_column, expect_rows, row, rows, search_box
from tests.browser.stack import tomorrow
from tests.factories import Cast
from tests.webapp.rows import task

TITLES = {"test.count": "Count numbers", "tasks.export": "Export tasks", "script.execute": "Run script"}
STATES = ["Running", "Cancelling", "Pending", "Paused", "Failed", "Canceled", "Completed"]
ORDERS = {"user": str.lower, "type": str.lower, "status": STATES.index}


@pytest.fixture
def some(shop: Business, cast: Cast) -> list[int]:
    """Nine tasks: of Ben, of Cleo and of the Scheduler, one of each type, in three states; oldest first."""
    people = (cast.ben, cast.cleo, None)
    states = ("completed", "failed", "pending")
    return [
        task(shop, who, states[(i + j) % 3], task_type=name, next_try_at=tomorrow())
        for i, who in enumerate(people)
        for j, name in enumerate(TITLES)
    ]


@pytest.fixture
def many(shop: Business, cast: Cast) -> list[int]:
    """Sixty tasks of Ben, oldest first."""
    with transaction() as session:
        values = {"task_type": "test.count", "queue": "default", "payload": {"times": 1}, "state": "canceled"}
        new = [Task(business_id=shop.id, user_id=cast.ben.user.id, **values) for _ in range(60)]
        session.add_all(new)
        session.flush()
        return [one.id for one in new]


@pytest.fixture
def ada(visit: Visit, shop: Business) -> Page:
    """Ada at her business."""
    page = visit("ada")
    page.goto(f"/b/{shop.slug}/tasks")
    return page


def count(page: Page, text: str) -> None:
    """How many rows of how many the foot of the table tells."""
    expect(page.locator("[data-count]")).to_have_text(text)


@pytest.mark.parametrize(
    ("typed", "name", "shown"),
    [
        ("ITO", "user", "Ben Ito"),
        ("marsh", "user", "Cleo Marsh"),
        ("sched", "user", "Scheduler"),
        ("count num", "type", "Count numbers"),
        ("SCRIPT.EX", "type", "Run script"),
    ],
)
def test_ada_searches_by_user_and_by_type(ada: Page, some: list[int], typed: str, name: str, shown: str) -> None:
    ada.keyboard.press("/")
    ada.keyboard.type(typed)
    count(ada, "3 of 3")
    expect_column(ada, name, [shown] * 3)
    expect(ada).to_have_url(re.compile(r"\?q=" + typed.replace(" ", r"(\+|%20)")))
    expect(search_box(ada)).to_be_focused()
    expect(ada.locator("#announce")).to_have_text("3 of 3 tasks")


@pytest.mark.parametrize(("heading", "name"), [("User", "user"), ("Task Type", "type"), ("Status", "status")])
def test_ada_sorts_both_ways(ada: Page, visit: Visit, some: list[int], heading: str, name: str) -> None:
    ada.reload()
    ada.get_by_role("link", name=heading, exact=True).click()
    expect(ada).to_have_url(re.compile(rf"\?sort={name}$"))
    head = ada.get_by_role("columnheader", name=heading)
    expect(head).to_have_attribute("aria-sort", "ascending")
    up = column(ada, name)
    assert up == sorted(up, key=ORDERS[name])
    ids = rows(ada)
    ada.get_by_role("link", name=heading, exact=True).click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(ada).to_have_url(re.compile(rf"\?sort=-{name}$"))
    expect_rows(ada, ids[::-1])  # ties by id, both ways

    copied = visit("ada")
    copied.goto(ada.url)
    expect_rows(copied, ids[::-1])
    ada.go_back()
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect_rows(ada, ids)
    ada.go_back()
    expect(ada.get_by_role("columnheader", name="Created At")).to_have_attribute("aria-sort", "descending")
    expect_rows(ada, some[::-1])


def test_ada_sorts_by_time(ada: Page, some: list[int]) -> None:
    ada.reload()
    expect_rows(ada, some[::-1])  # newest first
    ada.get_by_role("link", name="Created At", exact=True).click()
    expect(ada).to_have_url(re.compile(r"\?sort=created$"))
    expect_rows(ada, some)
    ada.get_by_role("link", name="Created At", exact=True).click()
    expect(ada).to_have_url(re.compile(r"/tasks$"))
    expect_rows(ada, some[::-1])


def test_ada_turns_pages(ada: Page, visit: Visit, many: list[int]) -> None:
    ada.reload()
    newest = many[::-1]
    count(ada, "50 of 60")
    for size, shown in ((100, "60 of 60"), (25, "25 of 60")):
        ada.get_by_role("navigation", name="Rows on a page").get_by_role("link", name=f"{size}").click()
        count(ada, shown)
        expect(ada).to_have_url(re.compile(rf"size={size}$"))
    pages = ada.get_by_role("navigation", name="Pages")
    expect(pages.get_by_role("link", name="Newer")).to_have_count(0)
    pages.get_by_role("link", name="Older").click()
    expect(ada).to_have_url(re.compile("after="))
    expect_rows(ada, newest[25:50])
    copied = visit("ada")
    copied.goto(ada.url)
    expect_rows(copied, newest[25:50])
    pages.get_by_role("link", name="Older").click()
    count(ada, "10 of 60")
    expect_rows(ada, newest[50:])
    expect(pages.get_by_role("link", name="Older")).to_have_count(0)
    pages.get_by_role("link", name="Newer").click()
    count(ada, "25 of 60")
    expect_rows(ada, newest[25:50])
    ada.go_back()
    count(ada, "10 of 60")
    expect_rows(ada, newest[50:])


def test_a_change_of_search_or_order_leads_to_the_first_page(ada: Page, many: list[int]) -> None:
    ada.goto(f"{ada.url}?size=25")
    ada.get_by_role("link", name="Older").click()
    expect(ada).to_have_url(re.compile("after="))
    search_box(ada).fill("ben")
    expect(ada).to_have_url(re.compile(r"\?q=ben&size=25$"))
    count(ada, "25 of 60")
    expect_rows(ada, many[:-26:-1])


@pytest.mark.parametrize("path", ["tasks", "active", "history", "background-tasks"])
@pytest.mark.parametrize("width", [1440, 390])
def test_a_title_without_end_takes_two_lines(visit: Visit, shop: Business, cast: Cast, path: str, width: int) -> None:
    state = {} if path == "history" else {"next_try_at": tomorrow()}
    short, long = (
        task(shop, cast.ben, "failed" if path == "history" else "pending", title=title, **state)
        for title in ("Sums", "W" * 200)
    )
    page = visit("ben" if path == "background-tasks" else "ada", viewport={"width": width, "height": 900})
    page.goto(f"/b/{shop.slug}/{path}")
    heights = [(row(page, one).bounding_box() or {})["height"] for one in (short, long)]
    assert heights[1] - heights[0] < 30, heights


def test_nothing_yet_and_nothing_found_are_told_apart(ada: Page, shop: Business, cast: Cast) -> None:
    table = ada.locator("#tasks-table")
    expect(table.get_by_text("There are no tasks to show", exact=True)).to_be_visible()
    expect(table.get_by_role("link", name="How to submit a task")).to_be_visible()
    only = task(shop, cast.ben, "completed")
    expect(ada.locator(f"#task-{only}")).to_be_visible()
    search_box(ada).fill("nobody")
    expect(table.get_by_text("There are no tasks to show", exact=True)).to_be_visible()
    expect(table).to_contain_text("Nothing matches “nobody”.")
    ada.get_by_role("link", name="Failed").click()
    expect(table).to_contain_text("Nothing matches “nobody” among Failed tasks.")
    ada.get_by_role("link", name="Clear filters").click()
    count(ada, "1 of 1")
    expect(ada).to_have_url(re.compile(r"/tasks$"))
    expect(search_box(ada)).to_have_value("")
