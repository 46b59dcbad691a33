"""What Ada sees fits, on a desk and on a phone: nothing runs out of sight, lies over another thing, or moves away."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tenants.models import Business
from tests.browser.conftest import Visit
from tests.browser.people import dialog, open_pause_dialog, row
from tests.browser.stack import Stack, tomorrow
from tests.browser.test_accessible import SIDEWAYS
from tests.factories import Cast
from tests.webapp import rows

DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
SMALL_PHONE, DESK_AT_400 = {"width": 360, "height": 740}, {"width": 320, "height": 640}
LONG = "Wolfeschlegelsteinhausenbergerdorff" * 5  # 175 letters
PAINT = "(one) => getComputedStyle(one).backgroundColor"
OUTLINE = "(one) => getComputedStyle(one).outlineStyle"
HEIGHTS = "(all) => all.map((one) => one.getBoundingClientRect().height)"
SMALL = """() => {
  const inside = document.querySelector("dialog[open], .menu[open] > .menu-box") || document.body, small = [];
  for (const one of inside.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary")) {
    const label = document.querySelector(`label[for="${one.id}"]`);
    const isOff = !one.checkVisibility({ visibilityProperty: true }) || one.closest(".visually-hidden, .skip");
    if (isOff || one.closest("p, dd, .help-list")) continue;  // a link in a sentence is as high as its line
    one.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
    const whole = one.matches("[type=checkbox], [type=radio]") && label || one;
    const { x, y, width, height } = whole.getBoundingClientRect(), cx = x + width / 2, cy = y + height / 2;
    const misses = [[0, -21], [0, 21], [-21, 0], [21, 0]].filter(([dx, dy]) => {
      const hit = document.elementFromPoint(cx + dx, cy + dy);
      return !one.contains(hit) && !label?.contains(hit);
    });
    if (misses.length) small.push(`${one.id || one.className || one.innerText}: ${misses.join(" and ")}`);
  }
  return small; }"""
MARK = "(one, which) => getComputedStyle(one, which).content"

both_widths = pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])


def box(what: Locator) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of something that is there."""
    found = what.bounding_box()
    assert found
    return found["x"], found["y"], found["x"] + found["width"], found["y"] + found["height"]


@pytest.fixture
def ada(visit: Visit, viewport: dict[str, int]) -> Page:
    """Ada, at a browser of this size."""
    return visit("ada", viewport=viewport, reduced_motion="reduce")


@both_widths
def test_a_long_title_leaves_the_way_out_in_sight(ada: Page, shop: Business, cast: Cast) -> None:
    id_ = rows.task(shop, cast.ben, "completed", title=LONG)
    ada.goto(f"/b/{shop.slug}/history")
    expect(row(ada, id_).locator(".row-link")).to_have_css("-webkit-line-clamp", "2")
    row(ada, id_).locator(".row-link").click()
    close = dialog(ada).get_by_role("button", name="Close")
    expect(close).to_be_in_viewport(ratio=1)
    title, button = box(dialog(ada).get_by_role("heading", level=2).first), box(close)
    assert title[2] <= button[0], "the title ends before the button"


@both_widths
@pytest.mark.parametrize("menu", ["tasks-filters", "tasks-views", "tasks-columns"])
def test_a_menu_opens_below_its_button_wherever_the_page_is(ada: Page, shop: Business, cast: Cast, menu: str) -> None:
    for _ in range(9):
        rows.task(shop, cast.ben, "completed")
    ada.goto(f"/b/{shop.slug}/tasks")
    button, opened = ada.locator(f"#{menu} > summary"), ada.locator(f"#{menu} > .menu-box")
    button.evaluate("(one) => scrollBy(0, one.getBoundingClientRect().top - 80)")
    button.click()
    expect(opened).to_be_in_viewport(ratio=0.9)
    assert 0 <= box(opened)[1] - box(button)[3] < 12


@both_widths
def test_a_business_with_a_long_name_is_cut_in_the_menu(
    stack: Stack, ada: Page, cast: Cast, viewport: dict[str, int]
) -> None:
    called = f"{viewport['width']} {LONG}"[:100]
    long = stack.found(cast, f"long-{viewport['width']}", called)
    ada.goto(f"/b/{long.slug}/tasks")
    ada.locator(".switcher > summary").click()
    name = ada.get_by_role("navigation", name="Business").get_by_text(called)
    assert box(name)[2] <= box(ada.locator(".switcher .menu-box"))[2] - 6
    assert name.evaluate("(one) => one.scrollWidth > one.clientWidth"), "it ends in dots"


@pytest.mark.parametrize("viewport", [DESK, PHONE, SMALL_PHONE, DESK_AT_400], ids=["desk", "phone", "small", "400 %"])
def test_what_stands_side_by_side_in_the_header_leaves_room_for_each_other(
    ada: Page, shop: Business, cast: Cast, viewport: dict[str, int]
) -> None:
    ada.goto(f"/b/{shop.slug}/tasks")
    badge = ada.locator("#background-badge")
    expect(badge).to_be_hidden()
    before = box(ada.locator("#open-background"))
    for _ in range(12):
        rows.task(shop, cast.ada, next_try_at=tomorrow())
    ada.reload()
    expect(badge).to_have_text("12 open")
    assert box(ada.locator("#open-background")) == before, "the badge had its room"
    mine = [badge, ada.locator(".top-user .tile"), ada.locator(".top-user .cut")]
    out = ada.get_by_role("button", name="Log out").locator("svg")
    places = [box(one) for one in [*mine, out] if one.is_visible()]
    assert all(left[2] <= right[0] for left, right in itertools.pairwise(places)), places
    assert before[0] >= 0
    assert places[-1][2] <= viewport["width"]
    assert box(ada.get_by_role("banner"))[3] < 120, "two rows at most"
    ada.goto(f"/b/{shop.slug}/background-tasks")
    assert ada.evaluate(SIDEWAYS) <= 0


@both_widths
def test_ticking_moves_no_row_and_the_acts_stay_at_hand(
    ada: Page, shop: Business, cast: Cast, viewport: dict[str, int]
) -> None:
    ids = [rows.task(shop, cast.ben, "completed") for _ in range(30)]
    ada.goto(f"/b/{shop.slug}/tasks")
    last = row(ada, ids[0])
    last.scroll_into_view_if_needed()
    before = box(last)
    last.get_by_role("checkbox").check()
    bar = ada.locator("#tasks-bulk")
    expect(bar).to_contain_text("1 selected")
    assert box(last) == before
    for name in ("Interrupt", "Retry", "Priority", "Delete", "Clear"):
        expect(bar.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
    assert box(bar)[2] <= viewport["width"]
    ada.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert box(ada.locator("#page-older"))[3] <= box(bar)[1], "nothing at the end lies below the bar for good"
    ada.locator("#page-older").evaluate("(one) => one.scrollIntoView()")
    bar.get_by_role("button", name="Clear").click()
    expect(bar).to_be_hidden()


@both_widths
def test_each_fold_has_one_mark_and_lines_of_json_stand_evenly(ada: Page, shop: Business, cast: Cast) -> None:
    payload: dict[str, Any] = {"times": 1, "rows": [1, {"a": 2}], "more": [3]}
    id_ = rows.task(shop, cast.ben, "completed", payload=payload)
    ada.goto(f"/b/{shop.slug}/tasks")
    open_pause_dialog(ada)
    folds = dialog(ada).locator("details > summary").filter(has=ada.locator("svg"))
    assert folds.evaluate_all("(all) => all.map((one) => getComputedStyle(one, '::before').content)") == ["none"] * 2
    ada.goto(f"/b/{shop.slug}/tasks/{id_}")
    marks = ada.locator("#payload-text summary")
    assert marks.first.evaluate(MARK, "::before") == '"▾" / ""'
    lines = ada.locator("#payload-text").evaluate("(one) => one.textContent.trimEnd().split('\\n').length")
    inside = ada.locator("#payload-text").evaluate(
        "(one) => one.scrollHeight - 2 * parseFloat(getComputedStyle(one).paddingTop)"
    )
    assert inside == pytest.approx(lines * 24, abs=2), "each line is as high as the others"
    if ada.viewport_size == PHONE:
        assert min(marks.evaluate_all(HEIGHTS)) >= 44, "a finger hits it"


@both_widths
def test_a_dialog_asked_for_in_a_menu_closes_the_menu_and_leads_back_to_it(ada: Page, shop: Business) -> None:
    ada.goto(f"/b/{shop.slug}/tasks")
    ada.locator("#tasks-views > summary").click()
    ada.get_by_role("link", name="Save this view").click()
    expect(dialog(ada).get_by_label("Name")).to_be_focused()
    expect(ada.locator("#tasks-views > .menu-box")).to_be_hidden()
    ada.keyboard.press("Escape")
    expect(ada.locator("#tasks-views > summary")).to_be_focused()


@pytest.mark.parametrize("viewport", [PHONE], ids=["phone"])
def test_a_finger_hits_each_control(ada: Page, shop: Business, cast: Cast) -> None:
    failed = rows.task(shop, cast.ben, "failed", error="ValueError: no such shelf")
    rows.task(shop, cast.ada, next_try_at=tomorrow(), title="A waiting one")
    rows.failure(shop)
    found = {}
    for path in ("tasks", "active", "history", "failures", "pauses", f"tasks/{failed}", "background-tasks", "audit"):
        ada.goto(f"/b/{shop.slug}/{path}")
        found[path] = ada.evaluate(SMALL)
    for path in ("/account", "/help", "/help/keys"):
        ada.goto(path)
        found[path] = ada.evaluate(SMALL)
    ada.goto(f"/b/{shop.slug}/tasks")
    open_pause_dialog(ada)
    found["pause"] = ada.evaluate(SMALL)
    ada.keyboard.press("Escape")
    ada.locator("#tasks-filters > summary").click()
    found["filters"] = ada.evaluate(SMALL)
    ada.keyboard.press("Escape")
    ada.locator("#tasks-columns > summary").click()
    found["columns"] = ada.evaluate(SMALL)
    assert not any(found.values()), found


@both_widths
def test_ada_sorts_and_selects_all_at_any_width(ada: Page, shop: Business, cast: Cast) -> None:
    for who in (cast.cleo, cast.ben):
        rows.task(shop, who, "completed")
    ada.goto(f"/b/{shop.slug}/tasks")
    ada.get_by_role("link", name="User", exact=True).click()
    expect(ada.locator("#tasks-table .cell-user .cut")).to_have_text(["Ben Ito", "Cleo Marsh"])
    heading = ada.locator("th[aria-sort]")
    expect(heading).to_be_in_viewport(ratio=1)
    ada.get_by_role("checkbox", name="Select all tasks of this page").check()
    expect(ada.locator("#tasks-bulk")).to_contain_text("2 selected")


@both_widths
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ticks_choices_and_states_are_seen_where_the_system_paints(
    visit: Visit, viewport: dict[str, int], scheme: str, shop: Business, cast: Cast
) -> None:
    id_, other = rows.task(shop, cast.ben, "completed"), rows.task(shop, cast.ben, "completed")
    ada = visit("ada", viewport=viewport, forced_colors="active", color_scheme=scheme)
    ada.goto(f"/b/{shop.slug}/tasks")
    ticked, free = (row(ada, one).get_by_role("checkbox") for one in (id_, other))
    ticked.check()
    assert ticked.evaluate(PAINT) != free.evaluate(PAINT)
    mark, text = row(ada, id_).locator(".status-mark"), row(ada, id_).locator(".status-badge")
    assert mark.evaluate(PAINT) == text.evaluate("(one) => getComputedStyle(one).color")
    assert ada.locator("#state-all").evaluate(OUTLINE) == "solid"
    assert ada.locator("#state-failed").evaluate(OUTLINE) == "none"
    ada.get_by_role("button", name="Clear").click()
    open_pause_dialog(ada)
    chosen, free = (dialog(ada).get_by_role("radio", name=name) for name in ("I resume", "For 1 hour"))
    assert chosen.evaluate(PAINT) != free.evaluate(PAINT)
