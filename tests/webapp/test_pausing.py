"""Pausing users and task types from the pages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from jobs.models import Pause
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser, Document

As = Callable[..., Browser]


def triggers(response: Any) -> dict[str, Any]:
    """The events that a write announces."""
    return dict(json.loads(response.headers["HX-Trigger"]))


def test_a_paused_users_tasks_show_as_paused(cast: Cast, ada: Browser) -> None:
    bens, cleos, running = (
        rows.task(cast.acme, cast.ben),
        rows.task(cast.acme, cast.cleo),
        rows.task(cast.acme, cast.ben, "running"),
    )
    response = ada.act("/b/acme/pauses", of="user", users=cast.ben.user.id, reason="floods the queue")
    events = triggers(response)
    assert events.keys() == {"pauses-changed", "tasks-changed", "toast"}
    assert events["toast"] == {
        "message": "Paused Ben Ito: 1 waiting task held back, 1 running will finish.",
        "level": "success",
        "undo": "/b/acme/pauses/undo?id=1",
    }
    assert ada.get("/b/acme/tasks?state=paused").rows() == [bens]
    assert ada.get("/b/acme/tasks?state=pending").rows() == [cleos]
    assert ada.get("/b/acme/tasks?state=running").rows() == [running]
    text = ada.htmx("/b/acme/pauses").text
    assert "Ben Ito" in text
    assert "floods the queue" in text
    assert "1 task waits" in text
    (entry,) = rows.audited("pause")
    assert (entry.user_id, entry.reason, entry.outcome) == (cast.ada.user.id, "floods the queue", "done")


def test_the_answer_comes_when_nothing_begins_any_more_and_so_does_a_second_one(cast: Cast, ada: Browser) -> None:
    form = {"of": "user", "users": cast.ben.user.id, "reason": "now"}
    headers = {"X-CSRFToken": ada.csrf()}
    for _ in range(2):
        asked = time.monotonic()
        assert ada.raw("POST", "/b/acme/pauses", data=form, headers=headers).status_code == 303
        assert time.monotonic() - asked >= 0.060, "a claim may begin within 50 ms"


def test_several_users_are_paused_at_once(cast: Cast, ada: Browser) -> None:
    ada.act("/b/acme/pauses", of="user", users=[cast.ben.user.id, cast.cleo.user.id], reason="both")
    assert rows.number_of(Pause) == 2


def test_one_bad_choice_and_nothing_is_paused(cast: Cast, ada: Browser) -> None:
    ada.act("/b/acme/pauses", 404, of="user", users=[cast.ben.user.id, cast.zoe.user.id], reason="both")
    form = {"of": "type", "types": ["test.count", "no.such"], "reason": "both"}
    page = Document(ada.act("/b/acme/pauses", 422, **form))
    assert "No task type &#39;no.such&#39; is registered." in page.response.text
    assert "Paused" not in page.text, "the form does not show what was taken back"
    ada.act("/b/acme/pauses", 422, of="user", users=[cast.ben.user.id, "x"], reason="both")
    ada.act("/b/acme/pauses", 422, of="user", users=[cast.ben.user.id, 10**30], reason="both")
    assert rows.number_of(Pause) == 0


def test_several_types_are_paused_at_once_for_the_scheduler_too(cast: Cast, ada: Browser) -> None:
    scheduler, ben = rows.task(cast.acme, task_type="script.execute"), rows.task(cast.acme, cast.ben)
    rows.task(cast.acme, task_type="tasks.export")
    response = ada.act("/b/acme/pauses", of="type", types=["script.execute", "test.count"], reason="outage")
    assert triggers(response)["toast"]["message"].startswith("Paused Count numbers, Run script: 2 waiting tasks")
    assert sorted(ada.get("/b/acme/tasks?state=paused").rows()) == sorted([scheduler, ben])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"of": "user", "reason": "because"}, "Choose at least one user."),
        ({"of": "type", "reason": "because"}, "Choose at least one task type."),
        ({"of": "type", "types": "test.count", "reason": "  "}, "A pause needs a reason"),
        ({"of": "type", "types": "test.count"}, "A pause needs a reason"),
        ({"of": "type", "types": "test.count", "reason": "x" * 501}, "A pause needs a reason"),
    ],
)
def test_wrong_input_keeps_what_was_typed(ada: Browser, form: dict[str, str], says: str) -> None:
    part = Document(ada.act("/b/acme/pauses", 422, **form))
    assert part.roots[0][1]["id"] == "pauses-new"
    assert says in part.text
    reason = part.all("input", name="reason")[0]["value"]
    assert reason == form.get("reason", reason)
    if "types" in form:
        assert "checked" in part.all("input", name="types", value="test.count")[0]
    assert rows.number_of(Pause) == 0


def test_repeating_a_pause_makes_no_second_row(cast: Cast, ada: Browser) -> None:
    for reason in ("first", "second"):
        ada.act("/b/acme/pauses", of="user", users=cast.ben.user.id, reason=reason)
    assert rows.number_of(Pause) == 1
    assert "first" in ada.get("/b/acme/pauses").text


def test_a_pause_of_one_business_never_touches_another(cast: Cast, ada: Browser) -> None:
    here, there = rows.task(cast.acme, cast.ada), rows.task(cast.globex, cast.ada)
    ada.act("/b/acme/pauses", of="user", users=cast.ada.user.id, reason="me, here")
    ada.act("/b/acme/pauses", of="type", types="test.count", reason="all, here")
    assert ada.get("/b/acme/tasks?state=paused").rows() == [here]
    assert ada.get("/b/globex/tasks?state=pending").rows() == [there]
    assert "Nothing is paused" in ada.get("/b/globex/pauses").text


@pytest.mark.parametrize(("q", "names"), [("ITO", ["Ben Ito"]), ("cleo@", ["Cleo Marsh"]), ("nobody", [])])
def test_the_dialog_searches_users_by_name_and_address(ada: Browser, q: str, names: list[str]) -> None:
    part = ada.htmx(f"/b/acme/pauses/new?of=user&q={q}", **{"HX-Target": "div#pauses-candidates"})
    assert part.roots[0][1]["id"] == "pauses-candidates"
    assert [one for one in ("Ada Lovelace", "Ben Ito", "Cleo Marsh") if one in part.text] == names


@pytest.mark.parametrize(("q", "names"), [("RUN", ["Run script"]), ("test.c", ["Count numbers"]), ("nothing", [])])
def test_the_dialog_searches_types_by_title_and_name(ada: Browser, q: str, names: list[str]) -> None:
    part = ada.htmx(f"/b/acme/pauses/new?of=type&q={q}", **{"HX-Target": "div#pauses-candidates"})
    assert [one for one in ("Count numbers", "Export tasks", "Run script") if one in part.text] == names


def test_what_is_ticked_stays_ticked_while_somebody_searches(cast: Cast, ada: Browser) -> None:
    part = ada.htmx(
        f"/b/acme/pauses/new?of=user&q=cleo&users={cast.ben.user.id}", **{"HX-Target": "div#pauses-candidates"}
    )
    boxes = {str(a["value"]): "checked" in a for a in part.all("input", name="users")}
    assert boxes == {str(cast.ben.user.id): True, str(cast.cleo.user.id): False}


def test_the_dialog_tells_what_a_pause_would_hold_and_who_is_paused(cast: Cast, ada: Browser) -> None:
    for _ in range(3):
        rows.task(cast.acme, cast.ben)
    rows.task(cast.acme, cast.ben, "running")
    rows.pause(cast.acme, cast.ada, cast.cleo, reason="on leave")
    text = ada.htmx("/b/acme/pauses/new?of=user").text
    assert "3 waiting, 1 running" in text
    assert "on leave" in text
    assert "in Acme" in text


def test_a_member_can_neither_pause_nor_see_the_dialog(cast: Cast, ben: Browser) -> None:
    ben.get("/b/acme/pauses/new", 403)
    ben.post("/b/acme/pauses", 403, of="user", users=cast.cleo.user.id, reason="no")
    assert rows.number_of(Pause) == 0


def test_pausing_works_without_javascript(cast: Cast, ada: Browser) -> None:
    ada.get("/b/acme/pauses/new?of=user&q=ben")
    response = ada.post("/b/acme/pauses", of="user", users=cast.ben.user.id, reason="by hand")
    page = ada.get(str(response.location))
    assert "Paused Ben Ito: 0 waiting tasks held back, 0 running will finish." in page.text
    assert "by hand" in page.text
