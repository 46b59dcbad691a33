"""Deleting tasks: waiting ones become Canceled, final ones go, running ones stay."""

from __future__ import annotations

import json

import pytest

from jobs.models import Attempt, Entry
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser, Document


@pytest.mark.parametrize("state", ["pending", "paused"])
def test_a_waiting_task_becomes_canceled(cast: Cast, ada: Browser, state: str) -> None:
    id_ = rows.task(cast.acme, cast.ben, state)
    assert "No start will follow." in ada.htmx(f"/b/acme/tasks/{id_}/deletion").text
    response = ada.act(f"/b/acme/tasks/{id_}/deletion")
    assert json.loads(response.headers["HX-Trigger"])["toast"]["message"] == f"Task {id_} is canceled."
    task = rows.find_task(id_)
    assert task
    assert (task.state, task.cause, task.ended_by) == ("canceled", "deleted", cast.ada.user.id)
    assert [one.subject for one in rows.audited("delete")] == [f"task:{id_}"]


@pytest.mark.parametrize("state", ["completed", "failed", "canceled"])
def test_a_final_task_goes_with_its_log(cast: Cast, ada: Browser, state: str) -> None:
    id_ = rows.task(cast.acme, cast.ben, state)
    rows.entry(id_, cast.acme, "a line")
    ada.act(f"/b/acme/tasks/{id_}/deletion")
    assert rows.find_task(id_) is None
    assert (rows.number_of(Attempt), rows.number_of(Entry)) == (0, 0)
    ada.act(f"/b/acme/tasks/{id_}/deletion", 404)


def test_a_running_task_stays(cast: Cast, ada: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, "running")
    ada.get(f"/b/acme/tasks/{id_}/deletion")
    part = Document(ada.act(f"/b/acme/tasks/{id_}/deletion", 409))
    assert part.roots[0][1]["id"] == "tasks-deletion"
    assert "This task is running." in part.text
    task = rows.find_task(id_)
    assert task
    assert task.state == "running"


def test_members_delete_their_own_tasks_only(cast: Cast, ben: Browser) -> None:
    own, other = rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.cleo)
    response = ben.post(f"/b/acme/tasks/{own}/deletion")
    ben.get(str(response.location), 302)
    assert f"Task {own} is canceled." in ben.get("/b/acme/background-tasks?tab=failed").text
    ben.post(f"/b/acme/tasks/{other}/deletion", 404)
    left = [rows.find_task(id_) for id_ in (own, other)]
    assert [one.state for one in left if one] == ["canceled", "pending"]
