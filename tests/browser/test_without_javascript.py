"""Ada's browser runs no scripts: dialogs are pages, and every act leads to a page that says what was done."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tenants.models import Business
from tests.browser.conftest import Visit
from tests.browser.people import expect_column, expect_rows, row, search_box, sign_in, toast
from tests.browser.stack import Stack, tomorrow
from tests.factories import Cast
from tests.webapp.rows import find_pause, pause, task


@pytest.fixture
def ada(visit: Visit) -> Page:
    """Ada, not logged in yet."""
    return visit(java_script_enabled=False)


@pytest.fixture
def inside(ada: Page, shop: Business) -> Page:
    """Ada at her business."""
    ada.goto(f"/b/{shop.slug}/tasks")
    sign_in(ada, "ada")
    return ada


def test_she_logs_in_switches_the_business_and_leaves(ada: Page, stack: Stack, shop: Business, cast: Cast) -> None:
    ada.goto(f"/b/{shop.slug}/tasks?sort=user")
    sign_in(ada, "ada")
    expect(ada).to_have_url(f"{stack.url}/b/{shop.slug}/tasks?sort=user")
    ada.locator(".switcher summary").click()
    ada.get_by_role("navigation", name="Business").get_by_role("link", name="Globex").click()
    expect(ada).to_have_url(f"{stack.url}/b/globex/tasks?sort=user")
    ada.locator(".admin summary").click()
    ada.get_by_role("navigation", name="Admin").get_by_role("link", name="Pauses").click()
    expect(ada).to_have_url(f"{stack.url}/b/globex/pauses")
    ada.get_by_role("button", name="Log out").click()
    expect(ada).to_have_url(f"{stack.url}/login")


def test_she_searches_sorts_and_turns_pages(inside: Page, shop: Business, cast: Cast) -> None:
    bens = [task(shop, cast.ben, "completed") for _ in range(27)]
    cleos = task(shop, cast.cleo, "failed")
    inside.reload()
    expect(row(inside, cleos)).to_be_visible()
    inside.get_by_role("link", name="25", exact=True).click()
    search_box(inside).fill("ben")
    inside.get_by_role("button", name="Search").click()
    expect_rows(inside, bens[:-26:-1])
    inside.get_by_role("link", name="Older").click()
    expect_rows(inside, bens[1::-1])
    search_box(inside).fill("")
    inside.get_by_role("button", name="Search").click()
    inside.get_by_role("link", name="User", exact=True).click()
    expect_column(inside, "user", ["Ben Ito"] * 25)
    inside.get_by_role("link", name="User", exact=True).click()
    expect_column(inside, "user", ["Cleo Marsh", *["Ben Ito"] * 24])
    inside.get_by_role("link", name="Failed").click()
    expect_rows(inside, [cleos])


def test_she_pauses_ben_and_resumes_him(inside: Page, shop: Business, cast: Cast) -> None:
    bens = task(shop, cast.ben, next_try_at=tomorrow())
    inside.get_by_role("link", name="Pause User", exact=True).click()
    inside.get_by_role("searchbox").fill("ito")
    inside.get_by_role("button", name="Search").click()
    expect(inside.get_by_role("checkbox")).to_have_count(1)
    inside.get_by_role("button", name="Pause user").click()
    expect(inside.get_by_text("Choose at least one user.")).to_be_visible()
    inside.get_by_role("checkbox", name="Ben Ito").check()
    inside.get_by_label("Reason").fill("By hand")
    inside.get_by_role("button", name="Pause user").click()
    expect(toast(inside)).to_contain_text("Paused Ben Ito: 1 waiting task held back")
    inside.get_by_role("button", name="Resume Ben Ito").click()
    expect(toast(inside)).to_contain_text("Resumed.")
    expect(inside.locator("main")).to_contain_text("Nothing is paused")
    inside.goto(f"/b/{shop.slug}/tasks")
    expect(row(inside, bens)).to_contain_text("Pending")


def test_she_resumes_all(inside: Page, shop: Business, cast: Cast) -> None:
    bens = task(shop, cast.ben, next_try_at=tomorrow())
    ended = [pause(shop, cast.ada, cast.ben), pause(shop, cast.ada, cast.cleo)]
    inside.reload()
    expect(row(inside, bens)).to_contain_text("Paused")
    inside.get_by_role("link", name="Resume All").click()
    expect(inside.locator("main")).to_contain_text(f"These 2 pauses of {shop.name} end. 1 task waits")
    inside.get_by_role("button", name=f"Resume all in {shop.name}").click()
    expect(toast(inside)).to_contain_text("1 released, 0 still paused by a system-wide pause.")
    assert all(find_pause(one).ended_at for one in ended)


def test_she_edits_and_deletes(inside: Page, shop: Business, cast: Cast) -> None:
    bens, over = task(shop, cast.ben, next_try_at=tomorrow()), task(shop, cast.ben, "failed")
    inside.reload()
    inside.get_by_role("link", name=f"Edit task {bens}").click()
    inside.get_by_label("Title").fill("Count by hand")
    inside.get_by_role("button", name="Save task").click()
    expect(toast(inside)).to_contain_text(f"Task {bens} is saved.")
    expect(inside.get_by_role("heading", level=1)).to_contain_text("Count by hand")
    inside.get_by_role("link", name="Delete").click()
    inside.get_by_role("button", name="Delete task").click()
    expect(toast(inside)).to_contain_text(f"Task {bens} will not start.")
    toast(inside).get_by_role("button", name="Undo").click()
    expect(toast(inside)).to_contain_text(f"Task {bens} is back.")
    inside.goto(f"/b/{shop.slug}/tasks")
    expect(row(inside, bens)).to_contain_text("Pending")
    inside.get_by_role("button", name=f"Delete task {over}").click()
    expect(row(inside, over)).to_have_count(0)
    toast(inside).get_by_role("button", name="Undo").click()
    expect(inside.get_by_role("heading", level=1)).to_contain_text(f"#{over}")


def test_she_interrupts_and_runs_again(inside: Page, shop: Business, cast: Cast) -> None:
    running, over = task(shop, cast.ben, "running"), task(shop, cast.ben, "failed", title="Sums")
    inside.goto(f"/b/{shop.slug}/tasks/{running}")
    inside.get_by_role("link", name="Interrupt").click()
    inside.get_by_role("button", name="Interrupt task").click()
    expect(toast(inside)).to_contain_text(f"Task {running} is asked to stop.")
    inside.goto(f"/b/{shop.slug}/tasks/{over}")
    inside.get_by_role("link", name="Run again").click()
    inside.get_by_label("Payload").fill('{"times": 1}')
    inside.get_by_role("button", name="Run again").click()
    expect(inside.get_by_role("heading", level=1)).to_contain_text("Sums")
    expect(inside.get_by_text(f"Runs #{over} again")).to_be_visible()
