"""Ada runs Acme: she watches tasks run, pauses Ben, and lets him go on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import select

from jobs import pauses
from jobs.judge import Target
from jobs.models import Task
from jobs.states import WAITING, State
from tenants.database import transaction
from tests import look
from tests.browser.conftest import Visit
from tests.browser.people import dialog, open_pause_dialog, pause_all_the_same, row, sign_in, toast
from tests.browser.stack import Stack
from tests.factories import Cast
from tests.waiting import until

BEGUN = re.compile("Running|Completed")


on_both_databases = pytest.mark.parametrize("stack", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Stack:
    """The main story is told on both databases."""
    found: Stack = request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_stack")
    return found


def starts(cast: Cast) -> dict[int, int]:
    """How often each waiting task of Ben was started."""
    waiting = select(Task.id, Task.attempts).where(Task.user_id == cast.ben.user.id, Task.state.in_(sorted(WAITING)))
    return dict(look.rows(waiting))


def wait_for(ids: list[int], state: State = State.COMPLETED) -> None:
    """Wait until all of these tasks are in that state."""
    until(lambda: all(look.task(one).state == state for one in ids), seconds=30)


def number_in(where: Locator, words: str) -> int:
    """The number that stands in a sentence."""
    expect(where).to_have_text(re.compile(words))
    found = re.search(words, where.inner_text())
    assert found
    return int(found[1])


def post(page: Page, path: str) -> int:
    """The status of a write that no button offers."""
    token = page.locator("meta[name=csrf-token]").get_attribute("content")
    return page.request.post(path, headers={"X-CSRFToken": token or ""}).status


def test_ada_lands_where_she_wanted_and_sees_a_task_run_by_itself(stack: Stack, cast: Cast, visit: Visit) -> None:
    ada = visit()
    ada.goto("/b/acme/pauses")
    sign_in(ada, "ada")
    expect(ada).to_have_url(f"{stack.url}/b/acme/pauses")
    ada.get_by_role("banner").get_by_text("Admin", exact=True).click()
    ada.get_by_role("navigation", name="Admin").get_by_role("link", name="Async Tasks").click()
    expect(ada.get_by_role("heading", level=1)).to_have_text("Async Tasks")
    ada.evaluate("window.stayed = true")
    token = ada.locator("meta[name=csrf-token]").get_attribute("content") or ""
    answer = ada.request.post("/api/taskqueue/test_task", data={"times": 3}, headers={"X-CSRFToken": token})
    new = row(ada, answer.json()["id"])
    for state in ("Running", "Completed"):
        expect(new.locator(".status-badge")).to_have_text(state)
    assert ada.evaluate("window.stayed"), "the page was never loaded again"
    ada.get_by_role("button", name="Log out").click()
    ada.goto("/b/acme/tasks")
    expect(ada).to_have_url(re.compile("/login"))


@on_both_databases
def test_bens_tasks_wait_while_others_go_on_and_run_when_ada_resumes(stack: Stack, cast: Cast, visit: Visit) -> None:
    bens = [stack.submit("ben", times=2) for _ in range(12)]
    ada = visit("ada")
    ada.goto("/b/acme/tasks")
    opened = open_pause_dialog(ada)
    expect(opened.get_by_role("heading")).to_have_text("Pause users in Acme")
    ada.keyboard.type("ITO")
    expect(opened.get_by_role("checkbox")).to_have_count(1)
    opened.get_by_role("checkbox", name="Ben Ito").check()
    expect(opened).to_contain_text(re.compile(r"\d+ waiting tasks will be paused, [0-2] running will finish\."))
    expect(opened).to_contain_text("Other users and the Scheduler go on.")
    expect(opened.get_by_label("Reason")).to_have_value("Too many tasks")
    pause_all_the_same(ada, "Pause user")
    expect(toast(ada)).to_contain_text("Paused Ben Ito")

    before = starts(cast)
    assert number_in(toast(ada), r"(\d+) waiting tasks held back") in (
        len(before),
        len(before) - 1,
    )  # or the demo's new one
    late = stack.submit("ben")
    expect(row(ada, late)).to_contain_text("Paused")
    expect(row(ada, late)).to_contain_text("by Ada Lovelace: Too many tasks")
    script = {"script": "report_sizes"}
    others = [stack.submit("cleo"), stack.submit(None, "script.execute", payload=script), stack.submit(None)]
    wait_for(others)
    for task_id in others:
        expect(row(ada, task_id).locator(".status-badge")).to_have_text("Completed")
    after = starts(cast)
    assert {task_id: after.get(task_id) for task_id in before} == before, "nothing of Ben was started"
    assert after[late] == 0

    ada.get_by_role("link", name="Resume All").click()
    opened = dialog(ada)
    expect(opened).to_contain_text("This pause of Acme ends.")
    expect(opened).to_contain_text("Ben Ito")
    shown = number_in(opened, r"(\d+) tasks wait")
    assert len(before) < shown <= len(starts(cast))
    opened.get_by_role("button", name="Resume all in Acme").click()
    expect(toast(ada)).to_have_text(re.compile(r"\d+ released, 0 still paused by a system-wide pause\."))
    expect(ada.get_by_role("region", name="Active pauses")).not_to_contain_text("Ben Ito")
    for task_id in [one for one in bens if one in before][:2]:
        expect(row(ada, task_id)).to_contain_text(BEGUN)


def test_a_paused_type_waits_for_everybody_and_the_scheduler(stack: Stack, cast: Cast, visit: Visit) -> None:
    ada = visit("ada")
    ada.goto("/b/acme/tasks")
    opened = open_pause_dialog(ada, "Pause Task Type")
    expect(opened.get_by_text("Whole system")).to_have_count(0)
    opened.get_by_role("searchbox").fill("TEST.C")
    expect(opened.get_by_role("checkbox")).to_have_count(1)
    opened.get_by_role("checkbox", name="Count numbers").check()
    opened.get_by_label("Reason").fill("Recounting")
    pause_all_the_same(ada, "Pause task type")
    expect(toast(ada)).to_contain_text("Paused Count numbers")
    held = [stack.submit("ben"), stack.submit("cleo"), stack.submit(None)]
    elsewhere = stack.submit("ada", business="globex")
    wait_for([stack.submit(None, "script.execute", payload={"script": "report_sizes"}), elsewhere])
    for task_id in held:
        expect(row(ada, task_id)).to_contain_text("by Ada Lovelace: Recounting")
    assert [look.task(one).attempts for one in held] == [0, 0, 0]
    ada.get_by_role("button", name="Resume Count numbers").click()
    expect(toast(ada)).to_contain_text("Resumed.")
    until(lambda: look.task(held[0]).attempts, seconds=5)


def test_a_pause_of_the_whole_system_is_not_adas_to_end(stack: Stack, cast: Cast, visit: Visit) -> None:
    root = visit("root")
    root.goto("/b/acme/tasks")
    opened = open_pause_dialog(root, "Pause Task Type")
    opened.get_by_role("checkbox", name="Export tasks").check()
    opened.get_by_role("radio", name="Whole system").check()
    expect(opened.get_by_role("heading")).to_have_text("Pause task types in the whole system")
    opened.get_by_role("button", name="Pause task type").click()
    sure = opened.get_by_label("Type whole system to pause in every business")
    expect(sure).to_be_focused()
    sure.fill("whole system")
    pause_all_the_same(root, "Pause task type")
    expect(toast(root)).to_contain_text("Paused Export tasks")
    export = stack.submit("ada", "tasks.export", payload={"filter": {}})
    with transaction() as session:
        pauses.pause(session, cast.ada, Target(cast.acme.id, user_id=cast.cleo.user.id), "on leave")
    cleos = stack.submit("cleo")

    ada = visit("ada")
    ada.goto("/b/acme/tasks")
    system = ada.get_by_role("listitem").filter(has_text="Whole system")
    expect(system).to_contain_text("Export tasks")
    expect(system.get_by_role("button")).to_have_count(0)
    pause_id = (system.get_attribute("id") or "").removeprefix("pause-")
    assert post(ada, f"/b/acme/pauses/{pause_id}/resumption") == 403
    ada.get_by_role("link", name="Resume All").click()
    expect(dialog(ada)).to_contain_text("1 system-wide pause stays: Export tasks")
    dialog(ada).get_by_role("button", name="Resume all in Acme").click()
    expect(toast(ada)).to_have_text(re.compile(r"[1-9]\d* released, [1-9]\d* still paused by a system-wide pause\."))
    wait_for([cleos])
    assert look.task(export).attempts == 0
    expect(row(ada, export)).to_contain_text("Paused")

    root.get_by_role("button", name="Resume Export tasks").click()
    wait_for([export])
    expect(row(ada, export)).to_contain_text("Completed")
