"""Zoe runs another business and sees nothing of Acme; Ben works at Acme and sees only what is his."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests import look
from tests.browser.conftest import Visit
from tests.browser.people import open_pause_dialog, row, rows
from tests.browser.stack import Stack
from tests.factories import Cast
from tests.waiting import until


def test_zoe_sees_nothing_of_acme(stack: Stack, cast: Cast, visit: Visit) -> None:
    bens = stack.submit("ben")
    zoe = visit("zoe")
    zoe.goto("/b/initech/tasks")
    zoe.get_by_text("Initech").first.click()
    expect(zoe.get_by_role("navigation", name="Business").get_by_role("link")).to_have_text([re.compile("Initech")])
    for foreign, missing in (
        ("/b/acme/tasks", "/b/no-such/tasks"),
        ("/b/acme/pauses", "/b/no-such/pauses"),
        (f"/b/acme/tasks/{bens}", "/b/no-such/tasks/1"),
        (f"/b/initech/tasks/{bens}", "/b/initech/tasks/987654321"),
    ):
        # Her own tasks of the demo come and go, and the header counts them: between two requests, too.
        until(lambda: answer(zoe, foreign) == answer(zoe, missing), seconds=5)  # noqa: B023 - called at once
    zoe.goto("/b/initech/tasks?q=ben")
    expect(zoe.locator("#tasks-table")).to_contain_text("Nothing matches “ben”.")
    zoe.goto("/b/initech/tasks")
    opened = open_pause_dialog(zoe)
    expect(opened.get_by_role("checkbox", name=re.compile("Ben|Cleo|Ada"))).to_have_count(0)


def answer(page: Page, path: str) -> bytes:
    """The page that says that there is nothing."""
    found = page.request.get(path)
    assert found.status == 404
    return found.body()


def test_ben_has_no_admin_menu_and_sees_only_his_own_tasks(stack: Stack, cast: Cast, visit: Visit) -> None:
    mine, cleos = stack.submit("ben"), stack.submit("cleo")
    ben = visit("ben")
    ben.goto("/")
    expect(ben.get_by_role("heading", level=1)).to_contain_text("Background-Tasks")
    ben.goto("/b/acme/background-tasks")  # he may work elsewhere, too, and begin there
    expect(ben.get_by_role("link", name="Pending")).to_have_attribute("aria-current", "page")
    expect(ben.get_by_role("banner").get_by_text("Admin", exact=True)).to_have_count(0)
    until(lambda: all(look.task(one).ended_at for one in (mine, cleos)))
    ben.get_by_role("link", name="Finished").click()
    expect(row(ben, mine)).to_contain_text("Completed")
    assert cleos not in rows(ben)
    assert {look.task(one).user_id for one in rows(ben)} == {cast.ben.user.id}
    for path in ("tasks", "pauses", "audit"):
        assert ben.request.get(f"/b/acme/{path}").status == 403
