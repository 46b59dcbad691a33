"""Resuming one pause, and all of a business."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser

As = Callable[..., Browser]


def test_a_resumed_users_tasks_are_pending_again(cast: Cast, ada: Browser) -> None:
    task, pause = rows.task(cast.acme, cast.ben), rows.pause(cast.acme, cast.ada, cast.ben)
    assert ada.get("/b/acme/tasks?state=paused").rows() == [task]
    response = ada.act(f"/b/acme/pauses/{pause}/resumption")
    assert json.loads(response.headers["HX-Trigger"]).keys() == {"pauses-changed", "tasks-changed", "toast"}
    assert ada.get("/b/acme/tasks?state=pending").rows() == [task]
    ended = rows.find_pause(pause)
    assert ended.ended_at
    assert ended.ended_by == cast.ada.user.id
    assert [one.subject for one in rows.audited("resume")] == [f"pause:{pause}"]


def test_resuming_twice_changes_nothing(cast: Cast, ada: Browser) -> None:
    pause = rows.pause(cast.acme, cast.ada, cast.ben)
    ada.act(f"/b/acme/pauses/{pause}/resumption")
    first = rows.find_pause(pause).ended_at
    ada.act(f"/b/acme/pauses/{pause}/resumption")
    assert rows.find_pause(pause).ended_at == first
    assert len(rows.audited("resume")) == 1


def test_ended_pauses_stay_listed(cast: Cast, ada: Browser) -> None:
    pause = rows.pause(cast.acme, cast.ada, cast.ben, reason="vendor outage")
    ada.post(f"/b/acme/pauses/{pause}/resumption")
    page = ada.get("/b/acme/pauses")
    assert "Resumed" in page.text
    assert "vendor outage" in page.text
    assert "Nothing is paused" in page.text


def test_resume_all_ends_the_pauses_of_this_business_and_no_other(cast: Cast, ada: Browser) -> None:
    for _ in range(3):
        rows.task(cast.acme, cast.ben)
    held = rows.task(cast.acme, task_type="script.execute")
    ours = [rows.pause(cast.acme, cast.ada, cast.ben), rows.pause(cast.acme, cast.ada, cast.cleo)]
    others = [
        rows.pause(cast.globex, cast.ada, cast.ben),
        rows.pause(None, cast.root, task_type="script.execute"),
    ]
    dialog = ada.htmx("/b/acme/pauses/resumption")
    assert dialog.roots[0][1]["id"] == "pauses-resumption"
    assert "Resume all in Acme" in dialog.text
    response = ada.act("/b/acme/pauses/resumption")
    toast = json.loads(response.headers["HX-Trigger"])["toast"]
    assert toast["message"] == "3 released, 1 still paused by a system-wide pause."
    assert all(rows.find_pause(one).ended_at for one in ours)
    assert not any(rows.find_pause(one).ended_at for one in others)
    assert ada.get("/b/acme/tasks?state=paused").rows() == [held]


def test_only_a_platform_admin_ends_a_system_wide_pause(cast: Cast, as_user: As) -> None:
    pause = rows.pause(None, cast.root)
    as_user("ada").act(f"/b/acme/pauses/{pause}/resumption", 403)
    assert [one.outcome for one in rows.audited("pauses.resume")] == ["refused"]
    as_user("root").act(f"/b/acme/pauses/{pause}/resumption")
    assert rows.find_pause(pause).ended_at


def test_a_member_cannot_resume(cast: Cast, ben: Browser) -> None:
    pause = rows.pause(cast.acme, cast.ada, cast.ben)
    ben.post(f"/b/acme/pauses/{pause}/resumption", 403)
    ben.post("/b/acme/pauses/resumption", 403)
    assert rows.find_pause(pause).ended_at is None


def test_an_id_that_is_too_big_for_the_database_is_nobodys(ada: Browser) -> None:
    for id_ in (2**31, 2**63 - 1, 2**63):
        ada.post(f"/b/acme/pauses/{id_}/resumption", 404)
        ada.post(f"/account/logins/{id_}/revocation", 404)


def test_resuming_works_without_javascript(cast: Cast, ada: Browser) -> None:
    rows.task(cast.acme, cast.ben)
    rows.pause(cast.acme, cast.ada, cast.ben)
    ada.get("/b/acme/pauses/resumption")
    response = ada.post("/b/acme/pauses/resumption")
    assert "1 released, 0 still paused by a system-wide pause." in ada.get(str(response.location)).text
