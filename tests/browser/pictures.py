"""The pictures of the README, of the demo as it is: `CHROMIUM=… python -m tests.browser.pictures` makes them anew."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from tests.browser import stack as stacks
from tests.browser.people import dialog, open_pause_dialog, pause_all_the_same, sign_in
from tests.browser.stack import ROOT, Stack

DOCS = ROOT / "docs"
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def main() -> None:
    """Start the demo, let Ada pause Ben, and look at it from all sides."""
    with tempfile.TemporaryDirectory() as folder, stacks.start(Path(folder)) as stack, sync_playwright() as play:
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = play.chromium.launch(executable_path=os.environ["CHROMIUM"], args=as_root)
        seen: dict[str, Any] = {"base_url": stack.url, "locale": "en-GB", "viewport": DESK, "reduced_motion": "reduce"}
        day = browser.new_context(**seen, color_scheme="light").new_page()
        sign_in(day, "ada")
        seen["storage_state"] = day.context.storage_state()
        _by_day(stack, day)
        night = {**seen, "color_scheme": "dark"}
        _shoot(browser.new_context(**night).new_page(), "/b/acme/active", "active-tasks")
        _shoot(browser.new_context(**night | {"viewport": PHONE}).new_page(), "/b/acme/tasks", "phone")


def _by_day(stack: Stack, ada: Page) -> None:
    with stack.at_hand():  # nothing of the demo waits any more
        _submit_a_day(stack)
    ada.goto("/b/acme/tasks")
    open_pause_dialog(ada).get_by_role("checkbox", name="Ben Ito").check()
    pause_all_the_same(ada, "Pause user")
    expect(dialog(ada)).to_be_hidden()
    _shoot(ada, "/b/acme/tasks", "async-tasks")
    open_pause_dialog(ada, "Pause Task Type").get_by_role("checkbox", name="Count numbers").check()
    expect(dialog(ada)).to_contain_text("will be paused")
    ada.screenshot(path=DOCS / "pause.png")
    ada.goto("/b/acme/tasks?q=stock")
    ada.locator("tr[id^=task-]").first.get_by_role("link", name="Count numbers").click()
    expect(dialog(ada)).to_contain_text("Round 12 of 60", timeout=60_000)
    ada.screenshot(path=DOCS / "task.png")


def _submit_a_day(stack: Stack) -> None:
    """Ben floods the queue; Cleo and Ada have one task each that runs meanwhile, and the Scheduler one that waits."""
    for _ in range(1_240):
        stack.submit("ben", title="Recount shelf 7", times=3, priority=0)
    stack.submit("cleo", title="Count returns", times=90, priority=12)
    stack.submit("ada", title="Stock of the month", times=60, priority=11)
    stack.submit(None, title="Nightly size report", times=2, priority=0)


def _shoot(page: Page, path: str, name: str) -> None:
    page.goto(path)
    expect(page.locator("[data-state=running]").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=DOCS / f"{name}.png")


if __name__ == "__main__":
    main()
