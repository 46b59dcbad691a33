"""What a visit costs: bytes on the wire, from one origin, and nothing that jumps."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tenants.models import Business
from tests.browser.conftest import Visit
from tests.browser.stack import ROOT
from tests.browser.test_accessible import SIDEWAYS
from tests.factories import Cast
from tests.waiting import until
from tests.webapp.rows import task

KB = 1024
STATIC = ROOT / "webapp" / "static"
OWN_SCRIPTS = """performance.getEntriesByType("resource")
    .filter((one) => one.name.includes(".js") && !one.name.includes("/vendor/"))
    .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
SHIFTS = """new Promise((done) => { let sum = 0;
    const add = (one) => { if (!one.hadRecentInput) sum += one.value; };
    new PerformanceObserver((list) => list.getEntries().forEach(add))
        .observe({ type: "layout-shift", buffered: true });
    setTimeout(() => done(sum), 5000); })"""


class Wire:
    """Listens to the wire: `spent` is every address with the bytes that came for it."""

    def __init__(self, page: Page) -> None:
        self.spent: dict[str, float] = {}
        self._named: dict[str, str] = {}
        session = page.context.new_cdp_session(page)
        session.on(
            "Network.responseReceived", lambda one: self._named.update({one["requestId"]: one["response"]["url"]})
        )
        session.on("Network.loadingFinished", self._on_end)
        session.send("Network.enable")

    def _on_answer(self, answer: dict[str, Any]) -> None:
        self._named[answer["requestId"]] = answer["response"]["url"]

    def _on_end(self, end: dict[str, Any]) -> None:
        url = self._named.get(end["requestId"], "")
        self.spent[url] = self.spent.get(url, 0) + float(end["encodedDataLength"])

    def take(self) -> float:
        """All bytes since the last time."""
        total = sum(self.spent.values())
        self.spent.clear()
        return total


@pytest.fixture
def full(shop: Business, cast: Cast) -> Business:
    """A business with a full page of tasks."""
    for number in range(55):
        task(shop, cast.ben, "completed", title=f"Count shelf {number}")
    return shop


def test_a_first_visit_and_a_later_one(visit: Visit, full: Business) -> None:
    visit("ada").close()  # who was never here may have to log in, and then has everything already
    page = visit("ada")
    wire = Wire(page)
    page.goto(f"/b/{full.slug}/tasks", wait_until="networkidle")
    html = next(size for url, size in wire.spent.items() if url.endswith("/tasks"))
    own = page.evaluate(OWN_SCRIPTS)
    assert html <= 10 * KB, f"50 rows: {html} bytes"
    assert 0 < own <= 10 * KB, f"own scripts: {own} bytes"
    first = wire.take()
    page.goto(f"/b/{full.slug}/tasks?sort=user", wait_until="networkidle")
    later = wire.take()
    assert 50 * KB < first <= 200 * KB, f"{first} bytes"
    assert later <= 15 * KB, f"{later} bytes"


def test_our_own_scripts_have_ten_kilobytes_compressed() -> None:
    sizes = {one.name: len(gzip.compress(one.read_bytes(), 9)) for one in STATIC.glob("*.js")}
    assert sum(sizes.values()) <= 10 * KB, sizes


def test_the_line_of_a_host_application_costs_two_kilobytes() -> None:
    assert len(gzip.compress((STATIC / "embed" / "button.js").read_bytes(), 9)) <= 2 * KB
    loaded = [
        *(STATIC / f"{name}.js" for name in ("app", "live", "dialog", "toasts", "theme")),
        STATIC / "embed/frame.js",
    ]
    assert sum(len(gzip.compress(one.read_bytes(), 9)) for one in loaded) <= 10 * KB


def test_nothing_jumps_while_a_page_appears_and_renews_itself(visit: Visit, full: Business) -> None:
    page = visit("ada")
    for path in ("tasks", "pauses", "background-tasks"):
        page.goto(f"/b/{full.slug}/{path}")
        assert page.evaluate(SHIFTS) < 0.01, path


def test_a_kept_theme_is_there_before_anything_is_painted(visit: Visit, full: Business) -> None:
    page = visit("ada", color_scheme="light")
    page.add_init_script("localStorage.theme = 'dark'; window.seen = new Set();"
        "new PerformanceObserver(() => window.seen.add(document.documentElement.dataset.bsTheme))"
        ".observe({ type: 'paint', buffered: true });")  # fmt: skip
    page.goto(f"/b/{full.slug}/tasks")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    assert until(lambda: page.evaluate("[...window.seen]")) == ["dark"]


@pytest.mark.parametrize("width", [360, 390, 720, 900, 1024, 1440, 2560])
def test_the_page_never_scrolls_sideways_and_wide_screens_are_used(visit: Visit, full: Business, width: int) -> None:
    page = visit("ada", viewport={"width": width, "height": 900})
    page.goto(f"/b/{full.slug}/tasks")
    assert page.evaluate(SIDEWAYS) <= 0
    help_button, mine = (
        page.get_by_role("link", name="Help and keys"),
        page.get_by_role("link", name="Background-Tasks"),
    )
    for one in (help_button, mine, page.locator(".switcher summary"), page.locator(".palette-open")):
        box = one.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    if width <= 390:
        header = page.get_by_role("banner").bounding_box()
        assert header
        assert header["height"] < 120, "two rows, not three"
    table = page.locator("table.list").bounding_box()
    assert table
    assert table["width"] > min(width, 1800) * 0.9


def test_at_twice_the_size_nothing_is_lost(visit: Visit, full: Business) -> None:
    """200 % of 1280 px is a viewport of 640."""
    page = visit("ada", viewport={"width": 640, "height": 450}, device_scale_factor=2)
    page.goto(f"/b/{full.slug}/tasks")
    assert page.evaluate(SIDEWAYS) <= 0
    page.keyboard.press("?")
    close = page.get_by_role("dialog").get_by_role("button", name="Close")
    expect(close).to_be_in_viewport(ratio=1)
    close.click()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Page, act")).to_be_in_viewport(ratio=1)
