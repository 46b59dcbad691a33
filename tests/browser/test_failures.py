"""Ada resolves and ignores what failed, and it comes back when it fails again: on a desk and on a phone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tenants.clock import clock
from tenants.models import Business
from tests.browser.conftest import Visit
from tests.browser.people import expect_rows, toast
from tests.browser.test_accessible import faults
from tests.factories import Cast
from tests.webapp import rows

DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def group(page: Page, text: str) -> Locator:
    """The line of a group of failures."""
    return page.locator("tr[id^=failure-]", has_text=text)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_ada_resolves_and_ignores_what_failed(visit: Visit, shop: Business, cast: Cast, size: dict[str, int]) -> None:
    rows.task(shop, cast.ben, "failed", "ValueError: 3 of 400 are wrong", ended_at=clock(-60))
    failed = [rows.task(shop, cast.ben, "failed", f"LookupError: row {number} is broken") for number in (17, 18)]
    ada = visit("ada", viewport=size, reduced_motion="reduce")
    ada.goto(f"/b/{shop.slug}/history")
    ada.get_by_role("main").get_by_role("link", name="Failures").click()
    lookup, value = group(ada, "row # is broken"), group(ada, "# of # are wrong")
    expect(lookup.locator(".cell-count strong")).to_have_text("2")  # the scheduler's beat has grouped them
    expect(value.locator(".cell-count strong")).to_have_text("1")

    ada.get_by_role("button", name="Resolve LookupError").click()
    expect(lookup).to_have_count(0)
    expect(value.locator(":focus")).to_have_count(1)
    expect(ada.get_by_role("link", name="Resolved 1")).to_be_visible()
    toast(ada).get_by_role("button", name="Undo").click()
    expect(lookup).to_be_visible()

    ada.get_by_role("button", name="Resolve LookupError").click()
    ada.get_by_role("button", name="Ignore ValueError").click()
    expect(ada.get_by_text("There are no failures to show")).to_be_visible()
    assert faults(ada) == []
    ada.set_viewport_size(size)  # type: ignore[arg-type]

    rows.task(shop, cast.ben, "failed", "ValueError: 4 of 500 are wrong")
    failed.append(rows.task(shop, cast.ben, "failed", "LookupError: row 19 is broken"))
    expect(lookup).to_contain_text("Returned")
    expect(lookup.locator(".cell-count strong")).to_have_text("3")
    expect(value).to_have_count(0)
    lookup.get_by_role("link", name="LookupError").click()
    expect(ada).to_have_url(re.compile("/history[?]q=failure"))
    expect(ada.get_by_role("link", name="Remove Failure: LookupError: row # is broken")).to_be_visible()
    expect_rows(ada, failed[::-1])

    ada.go_back()
    ada.get_by_role("link", name="Ignored 1").click()
    expect(value.locator(".cell-count strong")).to_have_text("2")
    ada.get_by_role("button", name="Stop ignoring ValueError").click()
    ada.get_by_role("link", name="Open 2").click()
    expect(value).to_be_visible()
    assert faults(ada) == []


def test_the_keys_lead_to_failures(visit: Visit, shop: Business, cast: Cast) -> None:
    ada = visit("ada")
    ada.goto(f"/b/{shop.slug}/tasks")
    ada.keyboard.press("g")
    ada.keyboard.press("f")
    expect(ada.get_by_role("heading", level=1)).to_have_text("Failures")
