"""What pages and programs submit: exports, and the task to try the queue with."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from flask import Flask

from config import Config
from jobs import files
from jobs.models import Task
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser

As = Callable[..., Browser]


def test_an_export_is_a_task_with_the_filter_of_the_list(cast: Cast, ada: Browser) -> None:
    response = ada.act("/b/acme/exports", q="ben", state="failed", sort="user", nonsense="x")
    toast = json.loads(response.headers["HX-Trigger"])["toast"]
    id_ = int(toast["href"].rpartition("/")[2])
    task = rows.find_task(id_)
    assert task
    assert (task.task_type, task.user_id, task.business_id) == ("tasks.export", cast.ada.user.id, cast.acme.id)
    wanted = {"q": "ben", "state": "failed", "sort": "user"}
    assert task.payload == {"filter": wanted, "view": "all", "zone": "UTC"}
    ada.get(toast["href"])


def test_an_export_as_json_is_another_button_of_the_same_form(cast: Cast, ada: Browser, config: Config) -> None:
    (button,) = ada.get("/b/acme/tasks").all("button", id_="tasks-export-json")
    response = ada.act("/b/acme/exports", **{str(button["name"]): button["value"]})
    asked = rows.find_task(int(json.loads(response.headers["HX-Trigger"])["toast"]["href"].rpartition("/")[2]))
    assert asked
    assert asked.payload == {"filter": {}, "view": "all", "zone": "UTC", "format": "json"}
    done = rows.task(cast.acme, cast.ada, "completed", task_type="tasks.export", payload=asked.payload)
    path = files.path_of(config.data_dir, "acme", done, "json")
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    assert "Download JSON" in ada.get(f"/b/acme/tasks/{done}").text
    with ada.raw("GET", f"/b/acme/tasks/{done}/file") as file:
        assert (file.mimetype, file.data) == ("application/json", b"[]")
        assert file.headers["Content-Disposition"] == f"attachment; filename=tasks-{done}.json"


def test_its_file_can_be_fetched_when_it_is_completed(cast: Cast, ada: Browser, ben: Browser, config: Config) -> None:
    waits, done = (
        rows.task(cast.acme, cast.ada, state, task_type="tasks.export") for state in ("pending", "completed")
    )
    for id_ in (waits, done):
        ada.get(f"/b/acme/tasks/{id_}/file", 404)
    path = files.path_of(config.data_dir, "acme", done)
    path.parent.mkdir(parents=True)
    path.write_text("id,user\r\n1,Ben\r\n")
    response = ada.raw("GET", f"/b/acme/tasks/{done}/file")
    assert (response.status_code, response.mimetype, response.text) == (200, "text/csv", "id,user\r\n1,Ben\r\n")
    assert response.headers["Content-Disposition"] == f"attachment; filename=tasks-{done}.csv"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Download CSV" in ada.get(f"/b/acme/tasks/{done}").text
    ben.get(f"/b/acme/tasks/{done}/file", 404)
    response.close()


def test_a_test_task_counts_as_often_as_asked(cast: Cast, ben: Browser) -> None:
    answer = ben.send_json("/api/taskqueue/test_task", {"times": 3})
    task = rows.find_task(answer["id"])
    assert task
    assert (task.task_type, task.payload, task.user_id) == ("test.count", {"times": 3}, cast.ben.user.id)
    assert answer["url"] == f"/b/acme/tasks/{task.id}"
    ben.get(answer["url"])


def test_it_goes_where_the_user_was_last(cast: Cast, ada: Browser) -> None:
    assert ada.send_json("/api/taskqueue/test_task", {"times": 1})["url"].startswith("/b/acme/")
    ada.get("/b/globex/tasks")
    assert ada.send_json("/api/taskqueue/test_task", {"times": 1})["url"].startswith("/b/globex/")
    assert ada.send_json("/api/taskqueue/test_task", {"times": 1, "business": "acme"})["url"].startswith("/b/acme/")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "times"),
        ({"times": "many"}, 422, "times"),
        ({"times": 0}, 422, "times"),
        ({"times": 3601}, 422, "times"),
        ({"times": None}, 422, "times"),
        ({"times": True}, 422, "times"),
        ({"times": 1, "business": "initech"}, 404, None),
        ({"times": 1, "business": "no-such"}, 404, None),
        ({"times": 1, "business": 7}, 422, "business"),
        ({"times": 1, "business": "\x00"}, 404, None),
        ({"times": 1, "business": "\ud800"}, 404, None),
        ([], 422, None),
    ],
)
def test_a_wrong_body_is_a_problem_that_names_the_field(
    ada: Browser, body: object, status: int, field: str | None
) -> None:
    problem = ada.send_json("/api/taskqueue/test_task", body, status)
    assert (problem["status"], problem.get("field")) == (status, field)
    assert rows.number_of(Task) == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [("{", "application/json", 400), ("[" * 50_000, "application/json", 422), ("times=1", "text/plain", 415)],
)
def test_what_is_not_json_is_refused(ada: Browser, body: str, kind: str, status: int) -> None:
    headers = {"X-CSRFToken": ada.csrf()}
    response = ada.raw("POST", "/api/taskqueue/test_task", data=body, content_type=kind, headers=headers)
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    assert "JSON" in response.get_json()["detail"]


def test_it_needs_a_login_a_token_and_the_right(app: Flask, cast: Cast, ada: Browser, as_user: As) -> None:
    assert Browser(app).raw("POST", "/api/taskqueue/test_task", json={"times": 1}).status_code == 401
    refused = ada.raw("POST", "/api/taskqueue/test_task", json={"times": 1})
    assert (refused.status_code, refused.mimetype) == (400, "application/problem+json")
    as_user(rows.auditor(cast.acme)).send_json("/api/taskqueue/test_task", {"times": 1}, 403)
    assert [one.outcome for one in rows.audited("taskqueue.test_task")] == ["refused"]
    assert rows.number_of(Task) == 0
