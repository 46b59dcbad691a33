"""Deleting tasks on pages, with half a minute to undo it: nobody is asked twice."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import update

from jobs.models import Task
from tenants.clock import clock
from tenants.database import transaction
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser, Document


def toast(response: object) -> dict[str, str]:
    """What the toast says, and where its Undo leads."""
    found: dict[str, str] = json.loads(response.headers["HX-Trigger"])["toast"]  # type: ignore[attr-defined]
    return found


def state(id_: int) -> str | None:
    task = rows.find_task(id_)
    return task.state if task else None


@pytest.mark.parametrize("before", ["pending", "paused"])
def test_a_waiting_task_is_cancelling_until_nobody_can_undo_it(cast: Cast, ada: Browser, before: str) -> None:
    id_ = rows.task(cast.acme, cast.ben, before)
    assert "No start will follow." in ada.htmx(f"/b/acme/tasks/{id_}/deletion").text
    told = toast(ada.act(f"/b/acme/tasks/{id_}/deletion"))
    assert (told["message"], told["undo"]) == (f"Task {id_} will not start.", f"/b/acme/tasks/{id_}/restoration")
    task = rows.find_task(id_)
    assert task
    assert (task.state, task.cause, task.ended_by) == ("cancelling", "deleted", cast.ada.user.id)
    page = ada.get(f"/b/acme/tasks/{id_}")
    assert "Deleted by Ada Lovelace. It becomes Canceled" in page.text
    assert page.all("form", action=told["undo"])
    assert toast(ada.act(told["undo"]))["message"] == f"Task {id_} is back."
    assert state(id_) == "pending"
    assert [one.subject for one in rows.audited("delete") + rows.audited("undo delete")] == [f"task:{id_}"] * 2


@pytest.mark.parametrize("before", ["completed", "failed", "canceled"])
def test_a_final_task_is_gone_at_once_and_comes_back(cast: Cast, ada: Browser, before: str) -> None:
    id_ = rows.task(cast.acme, cast.ben, before)
    undo = toast(ada.act(f"/b/acme/tasks/{id_}/deletion"))["undo"]
    assert ada.get("/b/acme/tasks").rows() == []
    for page in ("", "/file", "/edit", "/rerun", "/interruption"):
        ada.get(f"/b/acme/tasks/{id_}{page}", 404)
    ada.act(undo)
    assert ada.get("/b/acme/tasks").rows() == [id_]


def test_final_ones_are_deleted_without_a_question(cast: Cast, ada: Browser) -> None:
    final, waiting = rows.task(cast.acme, cast.ben, "failed"), rows.task(cast.acme, cast.ben)
    page = ada.get("/b/acme/tasks")
    (button,) = page.all("button", id_=f"delete-{final}")
    assert page.all("form", id_=str(button["form"]), method="post")
    ada.post(str(button["formaction"]))
    assert ada.get("/b/acme/tasks").rows() == [waiting]
    assert page.all("a", href=f"/b/acme/tasks/{waiting}/deletion")


def test_too_late_is_a_conflict_that_says_so(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben)
    undo = toast(ben.act(f"/b/acme/tasks/{id_}/deletion"))["undo"]
    with transaction() as session:
        session.execute(update(Task).values(undo_until=clock(-1)))
    assert "This deletion can no longer be undone." in Document(ben.act(undo, 409)).text
    ben.act(f"/b/acme/tasks/{id_}/deletion")
    assert state(id_) == "cancelling", "deleting it again gives no more time"


def test_a_running_task_stays(cast: Cast, ada: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, "running")
    ada.get(f"/b/acme/tasks/{id_}/deletion")
    part = Document(ada.act(f"/b/acme/tasks/{id_}/deletion", 409))
    assert part.roots[0][1]["id"] == "tasks-deletion"
    assert "This task is running." in part.text
    assert state(id_) == "running"


def test_members_delete_and_undo_their_own_tasks_only(cast: Cast, ben: Browser) -> None:
    own, other = rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.cleo)
    page = ben.get(str(ben.post(f"/b/acme/tasks/{own}/deletion").location))
    assert f"Task {own} will not start." in page.text
    assert page.all("form", action=f"/b/acme/tasks/{own}/restoration"), "Undo works without JavaScript"
    assert ben.get("/b/acme/background-tasks?tab=failed").rows() == [own]
    for act in ("deletion", "restoration"):
        ben.post(f"/b/acme/tasks/{other}/{act}", 404)
    ben.post(f"/b/acme/tasks/{own}/restoration")
    assert [state(id_) for id_ in (own, other)] == ["pending", "pending"]


def test_auditors_find_no_control_that_deletes(cast: Cast, as_user: Callable[..., Browser]) -> None:
    id_ = rows.task(cast.acme, cast.ben, "failed")
    otto = as_user(rows.auditor(cast.acme))
    for path in ("tasks", f"tasks/{id_}"):
        page = otto.get(f"/b/acme/{path}")
        assert not [a for a in page.all("form") if "/tasks/" in str(a.get("action"))], path
    otto.act(f"/b/acme/tasks/{id_}/deletion", 403)
    otto.act(f"/b/acme/tasks/{id_}/restoration", 403)
