"""Running a task again: the last error and the payload first, then a new task that knows the old one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from flask import Flask

from jobs import queue, task_types
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser, Document


@pytest.fixture(autouse=True)
def _types(app: Flask) -> Iterator[None]:
    task_types.load(("tests.task_types",))
    yield
    queue.flush()


def test_a_failed_task_runs_again_with_another_payload(cast: Cast, ben: Browser) -> None:
    old = rows.task(cast.acme, cast.ben, "failed", title="Sums")
    asked = ben.htmx(f"/b/acme/tasks/{old}/rerun")
    assert "LookupError: gone" in asked.text
    assert '"times": 1' in asked.text
    response = ben.act(f"/b/acme/tasks/{old}/rerun", payload='{"times": 3}')
    new = old + 1
    told = json.loads(response.headers["HX-Trigger"])["toast"]
    assert (told["message"], told["href"]) == (f"Task {new} runs task {old} again.", f"/b/acme/tasks/{new}")
    task = rows.find_task(new)
    assert task
    assert (task.payload, task.title, task.rerun_of) == ({"times": 3}, "Sums", old)
    assert f"Runs #{old} again" in ben.get(f"/b/acme/tasks/{new}").text
    assert f"Run again as #{new}" in ben.get(f"/b/acme/tasks/{old}").text


def test_without_javascript_it_leads_to_the_new_one(cast: Cast, ada: Browser) -> None:
    old = rows.task(cast.acme, cast.ben, "completed")
    assert ada.post(f"/b/acme/tasks/{old}/rerun", payload='{"times": 1}').location == f"/b/acme/tasks/{old + 1}"


@pytest.mark.parametrize("payload", ["?", "[]", '{"times": "many"}', '{"other": 1}', "{"])
def test_a_wrong_payload_stands_in_the_form_and_makes_no_task(cast: Cast, ben: Browser, payload: str) -> None:
    old = rows.task(cast.acme, cast.ben, "failed")
    part = Document(ben.act(f"/b/acme/tasks/{old}/rerun", 422, payload=payload))
    assert part.roots[0][1]["id"] == "tasks-rerun"
    assert part.all("textarea", name="payload")[0]["aria-invalid"] == "true"
    assert rows.find_task(old + 1) is None


def test_secrets_are_masked_and_stay_as_they_were(cast: Cast, ben: Browser) -> None:
    secret = {"password": "canary-7Q"}
    old = rows.task(cast.acme, cast.ben, "failed", task_type="test.secret", payload=secret)
    asked = ben.htmx(f"/b/acme/tasks/{old}/rerun")
    assert "canary" not in asked.response.text
    ben.act(f"/b/acme/tasks/{old}/rerun", payload='{"password": "•••"}')
    task = rows.find_task(old + 1)
    assert task
    assert task.payload == secret


def test_what_is_not_over_does_not_run_again(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, "running")
    ben.get(f"/b/acme/tasks/{id_}/rerun", 409)
    assert "is not over yet" in Document(ben.act(f"/b/acme/tasks/{id_}/rerun", 409, payload='{"times": 1}')).text
