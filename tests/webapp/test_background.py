"""Background-Tasks: one's own tasks in three tabs, and how many are not over in the header."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import PART, Browser, Document

BADGE = {"HX-Target": "span#background-badge", "HX-Source": "span#background-badge"}


def badge(browser: Browser) -> str:
    return browser.htmx("/b/acme/background-tasks", **BADGE).text


@pytest.mark.parametrize(
    ("tab", "states"),
    [
        ("pending", ["pending", "paused", "running", "cancelling"]),
        ("failed", ["failed", "canceled"]),
        ("finished", ["completed"]),
    ],
)
def test_each_state_has_its_tab(cast: Cast, as_user: Callable[..., Browser], tab: str, states: list[str]) -> None:
    for who in ("ben", "ada"):
        actor = getattr(cast, who)
        ids = [rows.task(cast.acme, actor, state) for state in states]
        assert as_user(who).get(f"/b/acme/background-tasks?tab={tab}").rows() == ids[::-1]
        rows.task(cast.acme, cast.cleo, states[0])
        assert as_user(who).get(f"/b/acme/background-tasks?tab={tab}").rows() == ids[::-1]


def test_it_opens_on_pending_and_each_empty_tab_says_so(cast: Cast, ben: Browser) -> None:
    for query in ("", "?tab=pending", "?tab=failed", "?tab=finished", "?tab=odd"):
        page = ben.get(f"/b/acme/background-tasks{query}")
        assert "There are no tasks to show" in page.text
    tabs = [a["id"] for a in ben.get("/b/acme/background-tasks").all("a") if a.get("class") == "tab"]
    assert tabs == ["tab-pending", "tab-failed", "tab-finished"]


def test_the_dialog_gets_the_view_and_a_refresh_only_the_list(ben: Browser) -> None:
    target = {"HX-Target": "section#background-list", "HX-Source": "section#background-list"}
    view, part = ben.htmx("/b/acme/background-tasks"), ben.htmx("/b/acme/background-tasks", **target)
    assert [one.roots[0][1]["id"] for one in (view, part)] == ["background-index", "background-list"]
    assert "Background-Tasks yours in Acme" in view.text


def test_the_badge_counts_what_is_not_over_and_no_more_than_99(cast: Cast, ben: Browser, ada: Browser) -> None:
    assert ben.htmx("/b/acme/background-tasks", **BADGE).roots[0][1].get("data-none", "-") is None
    for state in ("pending", "running", "completed", "failed"):
        rows.task(cast.acme, cast.ben, state)
    rows.task(cast.globex, cast.ada)
    assert badge(ben) == "2 open"
    assert badge(ada) == "0 open"
    assert "Background-Tasks 2 open" in ben.get("/help").text
    for _ in range(98):
        rows.task(cast.acme, cast.ben)
    assert badge(ben) == "99+ open"


def test_a_member_of_elsewhere_gets_no_badge(cast: Cast, as_user: Callable[..., Browser]) -> None:
    answers = [
        as_user("zoe").raw("GET", f"/b/{slug}/background-tasks", headers=PART | BADGE) for slug in ("acme", "no")
    ]
    assert [one.status_code for one in answers] == [404, 404]
    assert answers[0].data == answers[1].data


def test_what_waits_for_a_time_says_for_which(cast: Cast, ben: Browser) -> None:
    later = datetime(2099, 3, 2, 8, tzinfo=UTC)
    rows.task(cast.acme, cast.ben, next_try_at=later)
    assert "Starts 2 Mar 2099, 08:00" in ben.get("/b/acme/background-tasks").text
    rows.task(cast.acme, cast.ben, next_try_at=later, attempts=1)
    assert "Next attempt 2 Mar 2099, 08:00" in ben.get("/b/acme/background-tasks").text
    rows.pause(cast.acme, cast.ada, cast.ben, reason="too loud")
    text = ben.get("/b/acme/background-tasks").text
    assert "Paused by Ada Lovelace: too loud" in text
    assert "Mar 2099" not in text


def test_what_one_may_do_with_each(cast: Cast, ben: Browser) -> None:
    waiting, running = rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.ben, "running")
    page = ben.get("/b/acme/background-tasks")
    assert [a["href"] for a in page.all("a", id_=f"own-delete-{waiting}")] == [f"/b/acme/tasks/{waiting}/deletion"]
    assert page.all("a", id_=f"own-interrupt-{running}")
    assert not page.all("a", id_=f"own-delete-{running}")
    failed = rows.task(cast.acme, cast.ben, "failed")
    page = ben.get("/b/acme/background-tasks?tab=failed")
    assert page.all("form", action=f"/b/acme/tasks/{failed}/deletion"), "no question"


def test_it_says_who_deleted_a_task_and_why_one_is_paused(cast: Cast, ben: Browser, ada: Browser) -> None:
    gone, held = rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.ben)
    ada.act(f"/b/acme/tasks/{gone}/deletion")
    until = datetime(2100, 1, 2, 14, tzinfo=UTC)
    rows.pause(cast.acme, cast.ada, cast.ben, reason="too loud", until=until)
    assert "Deleted by Ada Lovelace" in ben.get("/b/acme/background-tasks?tab=failed").text
    page = ben.get("/b/acme/background-tasks")
    assert page.rows() == [held]
    assert "Paused by Ada Lovelace: too loud, until 2 Jan 2100, 14:00 UTC" in page.text
    response = ben.act(f"/b/acme/tasks/{held}/deletion")
    assert Document(response).text == ""
