"""Interrupting tasks, and starting them before their time: a question, an act, and what each role may."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser, Document

TOMORROW = datetime.now(UTC) + timedelta(days=1)


def said(response: object) -> str:
    return str(json.loads(response.headers["HX-Trigger"])["toast"]["message"])  # type: ignore[attr-defined]


def state(id_: int) -> str:
    task = rows.find_task(id_)
    assert task
    return task.state


def test_a_running_task_is_asked_to_stop_after_a_warning(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, "running", title="Sums")
    asked = ben.htmx(f"/b/acme/tasks/{id_}/interruption")
    for words in ("Only if it is stuck or not needed.", "Work that was done stays done", "There is no retry.", "Sums"):
        assert words in asked.text
    assert said(ben.act(f"/b/acme/tasks/{id_}/interruption")) == f"Task {id_} is asked to stop."
    assert state(id_) == "cancelling"
    assert said(ben.act(f"/b/acme/tasks/{id_}/interruption")) == f"Task {id_} is asked to stop."
    assert len(rows.audited("interrupt")) == 1, "asking twice changes nothing"


@pytest.mark.parametrize("before", ["pending", "paused"])
def test_a_waiting_task_is_canceled_at_once(cast: Cast, ada: Browser, before: str) -> None:
    id_ = rows.task(cast.acme, cast.ben, before)
    assert "becomes Canceled at once" in ada.htmx(f"/b/acme/tasks/{id_}/interruption").text
    page = ada.get(str(ada.post(f"/b/acme/tasks/{id_}/interruption").location))
    assert f"Task {id_} is canceled." in page.text
    assert "Canceled by Ada Lovelace: interrupted" in page.text


def test_what_is_over_meanwhile_is_a_conflict_in_the_dialog(cast: Cast, ada: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, "completed")
    part = Document(ada.act(f"/b/acme/tasks/{id_}/interruption", 409))
    assert part.roots[0][1]["id"] == "tasks-interruption"
    assert "This task is over already." in part.text
    assert not part.all("button", type="submit")


def test_a_task_that_waits_for_its_time_starts_now(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, next_try_at=TOMORROW)
    assert "Start now" in ben.get(f"/b/acme/tasks/{id_}").text
    assert "as soon as a worker is free" in ben.htmx(f"/b/acme/tasks/{id_}/start").text
    for _ in range(2):
        assert said(ben.act(f"/b/acme/tasks/{id_}/start")) == f"Task {id_} starts as soon as a worker is free."
    task = rows.find_task(id_)
    assert task
    assert task.next_try_at <= datetime.now(UTC)
    assert len(rows.audited("retry")) == 1


def test_one_that_does_not_wait_is_not_started_again(cast: Cast, ben: Browser) -> None:
    again = rows.task(cast.acme, cast.ben, attempts=2, next_try_at=TOMORROW)
    assert "Retry now" in ben.get(f"/b/acme/tasks/{again}").text
    running = rows.task(cast.acme, cast.ben, "running")
    assert "does not wait any more" in Document(ben.act(f"/b/acme/tasks/{running}/start", 409)).text


@pytest.mark.parametrize("act", ["interruption", "start", "rerun"])
def test_others_and_auditors_do_none_of_it(cast: Cast, as_user: Callable[..., Browser], act: str) -> None:
    id_ = rows.task(cast.acme, cast.ben, "failed" if act == "rerun" else "pending", next_try_at=TOMORROW)
    for who in ("cleo", "zoe"):
        for path in (f"/b/acme/tasks/{id_}/{act}", f"/b/acme/tasks/424242/{act}"):
            as_user(who).act(path, 404)
    as_user(rows.auditor(cast.acme)).act(f"/b/acme/tasks/{id_}/{act}", 403)
    assert state(id_) in ("failed", "pending")
