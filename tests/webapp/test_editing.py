"""Editing a task that has not started."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from tenants.database import transaction
from tenants.models import User
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser, Document

NOON = datetime(2026, 11, 1, 12, 0, 30, tzinfo=UTC)
GOOD = {"title": "Recount", "priority": "12", "payload": '{"times": 3}'}


def form_of(document: Document) -> dict[str, Any]:
    """What the form would send if nobody typed anything."""
    fields = {str(a["name"]): a.get("value") or "" for a in document.all("input") if a.get("name") != "csrf_token"}
    return {**fields, "payload": document.response.text.split("<textarea")[1].split(">", 1)[1].split("</")[0]}


def test_an_edit_changes_title_priority_start_and_payload(cast: Cast, ada: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, next_try_at=NOON)
    part = ada.htmx(f"/b/acme/tasks/{id_}/edit")
    assert part.roots[0][1]["id"] == "tasks-edit"
    response = ada.act(f"/b/acme/tasks/{id_}/edit", **GOOD, start_at="2027-01-02T03:04")
    assert "tasks-changed" in json.loads(response.headers["HX-Trigger"])
    task = rows.find_task(id_)
    assert task
    assert (task.title, task.priority, task.payload) == ("Recount", 12, {"times": 3})
    assert task.next_try_at == datetime(2027, 1, 2, 3, 4, tzinfo=UTC)
    (entry,) = rows.audited("edit")
    assert entry.before
    assert entry.after
    assert (entry.before["priority"], entry.after["priority"]) == (0, 12)


def test_a_start_time_that_nobody_touched_stays_exact(cast: Cast, ada: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, next_try_at=NOON)
    form = form_of(ada.get(f"/b/acme/tasks/{id_}/edit"))
    ada.post(f"/b/acme/tasks/{id_}/edit", **form | GOOD)
    task = rows.find_task(id_)
    assert task
    assert task.next_try_at == NOON


def test_start_times_are_in_the_users_zone(cast: Cast, ada: Browser) -> None:
    with transaction() as session:
        session.execute(update(User).where(User.id == cast.ada.user.id).values(time_zone="Asia/Tokyo"))
    id_ = rows.task(cast.acme, cast.ben, next_try_at=NOON)
    assert form_of(ada.get(f"/b/acme/tasks/{id_}/edit"))["start_at"] == "2026-11-01T21:00"
    ada.post(f"/b/acme/tasks/{id_}/edit", **GOOD, start_at="2026-11-02T00:00")
    task = rows.find_task(id_)
    assert task
    assert task.next_try_at == datetime(2026, 11, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"payload": "{"}, "This is not JSON"),
        ({"payload": "[" * 5000}, "This is not JSON"),
        ({"payload": "[]"}, "A payload is a JSON object."),
        ({"payload": "{}"}, "The payload does not fit test.count: times: Field required."),
        ({"payload": '{"times": 1e999}'}, "The payload"),
        ({"payload": '{"times": 3, "more": 1}'}, "The payload does not fit"),
        ({"payload": '{"times": 5000}'}, "The payload does not fit"),
        ({"priority": ""}, "Type a whole number."),
        ({"priority": "high"}, "Not a valid integer value."),
        ({"priority": "9" * 30}, "A priority is a whole number"),
        ({"title": "x" * 201}, "A title has 200 characters at most."),
        ({"start_at": "tomorrow"}, "Not a valid datetime value."),
    ],
)
def test_wrong_input_is_said_at_its_field_and_changes_nothing(
    cast: Cast, ada: Browser, wrong: dict[str, str], says: str
) -> None:
    id_ = rows.task(cast.acme, cast.ben, title="As it was")
    part = Document(ada.act(f"/b/acme/tasks/{id_}/edit", 422, **GOOD | wrong))
    assert part.roots[0][1]["id"] == "tasks-edit"
    assert says in part.text
    ((name, typed),) = wrong.items()
    assert name == "payload" or part.all("input", name=name)[0]["value"] == typed
    task = rows.find_task(id_)
    assert task
    assert (task.title, task.payload) == ("As it was", {"times": 1})


@pytest.mark.parametrize("state", ["running", "completed", "failed", "canceled"])
def test_a_task_that_has_started_is_edited_no_more(cast: Cast, ada: Browser, state: str) -> None:
    id_ = rows.task(cast.acme, cast.ben, state)
    part = ada.htmx(f"/b/acme/tasks/{id_}/edit", 409)
    assert "This task has started, so it can no longer be edited." in part.text
    part = Document(ada.act(f"/b/acme/tasks/{id_}/edit", 409, **GOOD))
    assert part.roots[0][1]["id"] == "tasks-edit"
    assert "This task has started" in part.text
    task = rows.find_task(id_)
    assert task
    assert task.title is None


def test_members_edit_nothing(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben)
    ben.get(f"/b/acme/tasks/{id_}/edit", 403)
    ben.post(f"/b/acme/tasks/{id_}/edit", 403, **GOOD)
    assert [one.outcome for one in rows.audited("tasks.edit")] == ["refused"]
