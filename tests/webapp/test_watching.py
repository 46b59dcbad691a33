"""Active tasks and Task history: what waits and runs, and what ran."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tenants.clock import clock
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser


def test_active_tasks_are_those_that_wait_and_run(cast: Cast, ada: Browser) -> None:
    waits, runs = rows.task(cast.acme, cast.ben), rows.task(cast.acme, None, "running")
    rows.task(cast.acme, cast.ben, "completed")
    page = ada.get("/b/acme/active")
    assert page.rows() == [runs, waits]
    heads = [one["class"] for one in page.all("th", scope="col")]
    wanted = "tick origin id status title created started attempts priority code interrupt"
    assert heads == [f"col-{name}" for name in wanted.split()]
    assert {"User", "System", "Untitled", "test.count"} <= set(page.words)


def test_the_history_has_what_runs_and_what_is_over(cast: Cast, ada: Browser) -> None:
    rows.task(cast.acme, cast.ben)
    runs, over = rows.task(cast.acme, cast.ben, "running"), rows.task(cast.acme, None, "failed", title="Nightly")
    page = ada.get("/b/acme/history")
    assert page.rows() == [over, runs]
    assert [one["class"] for one in page.all("th", scope="col")] == [
        f"col-{name}" for name in "tick status created name initiator".split()
    ]
    assert {"Nightly", "Scheduler", "Count numbers", "Ben Ito"} <= set(page.words)


@pytest.mark.parametrize("origin", ["user", "system"])
def test_the_origin_is_who_submitted(cast: Cast, ada: Browser, origin: str) -> None:
    found = {"user": rows.task(cast.acme, cast.ben, "failed"), "system": rows.task(cast.acme, None, "failed")}
    assert ada.get(f"/b/acme/history?origin={origin}").rows() == [found[origin]]


@pytest.mark.parametrize(
    ("priority", "word"), [(-3, "Low"), (4, "Low"), (5, "Medium"), (9, "Medium"), (10, "High"), (4711, "High")]
)
def test_a_priority_is_a_word(cast: Cast, ada: Browser, priority: int, word: str) -> None:
    rows.task(cast.acme, cast.ben, priority=priority)
    page = ada.get("/b/acme/active")
    assert [one["title"] for one in page.all("span", class_="priority", data_level_=word.lower())] or word in page.words


def test_chips_count_under_the_other_filters(cast: Cast, ada: Browser) -> None:
    for state in ("pending", "failed", "failed", "completed"):
        rows.task(cast.acme, cast.ben, state)
    rows.task(cast.acme, cast.cleo, "failed")
    rows.task(cast.initech, cast.zoe, "failed")
    chips = {name: _chip(ada.get("/b/acme/tasks?q=ben"), name) for name in ("all", "pending", "failed", "completed")}
    assert chips == {"all": "4", "pending": "1", "failed": "2", "completed": "1"}
    assert _chip(ada.get("/b/acme/tasks?q=ben&state=pending"), "failed") == "2"


def test_filters_in_use_can_be_taken_off_one_by_one(cast: Cast, ada: Browser) -> None:
    rows.task(cast.acme, cast.ben)
    page = ada.get(f"/b/acme/tasks?q=user:ben+count&type=test.count&user={cast.ben.user.id}")
    labels = [one["aria-label"] for one in page.all("a", class_="applied-chip")]
    assert labels == ["Remove user:ben", "Remove count", "Remove User: Ben Ito", "Remove Type: Count numbers"]
    without = next(one["href"] for one in page.all("a", class_="applied-chip") if one["aria-label"] == "Remove count")
    assert "count&" not in str(without).replace("test.count", "")


def test_a_person_has_a_page_of_their_tasks_and_pauses(cast: Cast, ada: Browser) -> None:
    mine, _ = rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.cleo)
    rows.pause(cast.acme, cast.ada, cast.ben, reason="too loud")
    rows.pause(cast.acme, cast.ada, cast.cleo, reason="another one")
    page = ada.get(f"/b/acme/tasks?user={cast.ben.user.id}")
    assert page.rows() == [mine]
    assert "All tasks of ben@example.com" in page.text
    assert "too loud" in page.text
    assert "another one" not in page.text


def test_nobody_of_another_business_is_named(cast: Cast, ada: Browser) -> None:
    ids = (cast.zoe.user.id, 999_999)
    foreign, missing = (re.sub(rf"\b{id_}\b", "", ada.get(f"/b/acme/tasks?user={id_}").text) for id_ in ids)
    assert "Zoe" not in foreign
    assert foreign == missing


def test_what_runs_too_long_is_marked_and_can_be_found(cast: Cast, ada: Browser) -> None:
    late = rows.task(cast.acme, cast.ben, "running", started_at=clock(-7200))
    rows.task(cast.acme, cast.ben, "running")
    page = ada.get("/b/acme/active?late=1")
    assert page.rows() == [late]
    assert page.all("tr", id_=f"task-{late}", class_="is-late")
    assert page.text.count("Running too long") == 3, "in words, beside the names of the filter"


def test_each_queue_tells_what_waits_and_since_when(cast: Cast, ada: Browser) -> None:
    rows.task(cast.acme, cast.ben, created_at=clock(-90), next_try_at=clock(-90), priority=3)
    rows.task(cast.acme, cast.ben, queue="exports", next_try_at=clock(3600))
    rows.task(cast.initech, cast.zoe)
    part = ada.htmx("/b/acme/active/queues")
    assert part.all("div", id_="queue-default")
    assert "default 1 pending oldest ready since" in part.text
    assert part.text.endswith("exports 1 pending")


@pytest.mark.parametrize("path", ["active", "history", "active/queues"])
def test_members_have_no_such_page(as_user: Callable[..., Browser], path: str) -> None:
    as_user("ben").get(f"/b/acme/{path}", 403)


@pytest.mark.parametrize("path", ["active", "history"])
def test_auditors_look_and_tick_nothing(as_user: Callable[..., Browser], cast: Cast, path: str) -> None:
    task_id = rows.task(cast.acme, cast.ben, "running")
    found = as_user(rows.auditor(cast.acme)).get(f"/b/acme/{path}")
    assert found.rows() == [task_id]
    assert not found.all("input", type="checkbox", name="ids")
    assert "Interrupt" not in found.text


def _chip(page: object, state: str) -> str:
    """What stands in a chip after its word."""
    from tests.webapp.client import Document

    assert isinstance(page, Document)
    label = "All" if state == "all" else state.capitalize()
    place = page.words.index(f"{label} ") if f"{label} " in page.words else _place(page.words, label)
    return page.words[place + 1].strip()


def _place(words: list[str], label: str) -> int:
    return next(place for place, one in enumerate(words) if one.strip() == label)
