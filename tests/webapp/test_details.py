"""A task's details: a page at its address, a part of it for the dialog, and a smaller one for each refresh."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from jobs.models import Attempt, Entry, Pause
from tenants.clock import clock
from tenants.database import transaction
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser

REFRESH = {"HX-Target": "article#tasks-details", "HX-Source": "article#tasks-details"}


def log(id_: int, business_id: int, lines: int, attempt: int = 1) -> None:
    about = {"business_id": business_id, "task_id": id_, "attempt": attempt, "kind": "log"}
    with transaction() as session:
        session.add_all([Entry(at=clock(), text=f"line {n:05}", **about) for n in range(lines)])


def test_the_dialog_gets_the_view_and_a_refresh_only_what_changes(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, "running", title="Sums")
    page, view = ben.get(f"/b/acme/tasks/{id_}"), ben.htmx(f"/b/acme/tasks/{id_}")
    part = ben.htmx(f"/b/acme/tasks/{id_}", **REFRESH)
    assert [one.roots[0][1]["id"] for one in (view, part)] == ["tasks-show", "tasks-details"]
    for one in (page, view):
        assert f"Sums #{id_} in Acme" in one.text
    assert view.all("h2", id_="dialog-title")
    assert not view.all("h1")


@pytest.mark.parametrize(("state", "polls"), [("pending", True), ("running", True), ("failed", False)])
def test_it_renews_itself_until_it_is_over(cast: Cast, ben: Browser, state: str, polls: bool) -> None:
    id_ = rows.task(cast.acme, cast.ben, state)
    article = ben.htmx(f"/b/acme/tasks/{id_}", **REFRESH).roots[0][1]
    assert ("every 1s" in str(article.get("hx-trigger"))) is polls


def test_a_waiting_task_says_why(cast: Cast, ada: Browser) -> None:
    later = rows.task(cast.acme, cast.ben, next_try_at=datetime.now(UTC) + timedelta(hours=2))
    assert "Waits for its start time. Earliest start" in ada.get(f"/b/acme/tasks/{later}").text
    rows.pause(cast.acme, cast.ada, cast.ben, reason="too loud")
    assert "Estimated start: unknown." in ada.get(f"/b/acme/tasks/{later}").text


def test_a_paused_task_says_who_paused_it_why_since_when_and_until_when(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben)
    since, until = datetime(2025, 3, 1, 12, 30, 15, tzinfo=UTC), datetime(2099, 3, 2, 8, tzinfo=UTC)
    paused = rows.pause(cast.acme, cast.ada, cast.ben, reason="too loud", created_at=since)
    told = "Paused by Ada Lovelace: too loud. Since 1 Mar 2025, 12:30:15 , until"
    assert f"{told} somebody resumes. Estimated start: unknown." in ben.get(f"/b/acme/tasks/{id_}").text
    with transaction() as session:
        session.execute(update(Pause).where(Pause.id == paused).values(until=until))
    assert f"{told} 2 Mar 2099, 08:00 UTC ." in ben.get(f"/b/acme/tasks/{id_}").text


def test_the_timeline_tells_attempts_with_waits_errors_and_lines(cast: Cast, ben: Browser) -> None:
    now = datetime.now(UTC)
    ago = [now - timedelta(seconds=seconds) for seconds in (900, 300, 295.8)]
    id_ = rows.task(cast.acme, cast.ben, "failed", created_at=ago[0], ended_at=ago[2])
    with transaction() as session:
        one = session.query(Attempt).filter_by(task_id=id_).one()
        one.started_at, one.ended_at, one.worker, one.pid = ago[1], ago[2], "w7", 99
        one.traceback = "Traceback: <b>here</b>"
        session.add(Entry(business_id=cast.acme.id, task_id=id_, attempt=1, at=ago[1], kind="step", text="Adding"))
        session.add(Entry(business_id=cast.acme.id, task_id=id_, attempt=1, at=ago[1], kind="log", text="1 + 1"))
    page = ben.get(f"/b/acme/tasks/{id_}")
    text = page.text
    order = ["Submitted by Ben Ito", "Attempt 1 started", "waited 10 min", "w7, PID 99", "Step: Adding", "1 + 1"]
    order += ["Attempt 1: failed", "ran 4.2 s", "LookupError: gone", "Traceback: <b>here</b>", "Failed"]
    places = [text.index(one, text.index("Timeline")) for one in order]
    assert places == sorted(places)
    assert page.all("details", id_="traceback-1")


def test_a_long_log_comes_in_pages_of_ever_more_lines(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, "running")
    log(id_, cast.acme.id, 1_150)
    first = ben.get(f"/b/acme/tasks/{id_}")
    assert first.text.count("line 0") == 200
    assert "line 01149" in first.text
    (earlier,) = first.all("a", id_="details-earlier")
    assert earlier["href"] == f"/b/acme/tasks/{id_}?lines=1000"
    more = ben.htmx(f"/b/acme/tasks/{id_}?lines=1000", **REFRESH)
    assert more.text.count("line 0") == 1000
    assert str(more.roots[0][1]["hx-get"]).endswith("?lines=1000"), "a refresh shows as many"
    everything = ben.get(f"/b/acme/tasks/{id_}?lines=5000")
    assert everything.text.count("line 0") == 1_150
    assert not everything.all("a", id_="details-earlier")
    assert ben.get(f"/b/acme/tasks/{id_}?lines=7").text.count("line 0") == 200


def test_control_characters_of_logs_and_output_are_seen(cast: Cast, ben: Browser) -> None:
    for task_type in ("test.count", "script.execute"):
        id_ = rows.task(cast.acme, cast.ben, "running", task_type=task_type)
        rows.entry(id_, cast.acme, "\x1b[31mred <b>")
        assert r"\x1b[31mred <b>" in ben.get(f"/b/acme/tasks/{id_}").text


def test_what_a_script_printed_stands_apart(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, "completed", task_type="script.execute", payload={"script": "runs"})
    log(id_, cast.acme.id, 2)
    page = ben.get(f"/b/acme/tasks/{id_}")
    assert "Script output" in page.text
    assert page.response.text.count("line 00001") == 1
    assert page.all("button", **{"data-copy": "output-text"})


def test_a_payload_stands_as_it_was_stored_and_can_be_copied(cast: Cast, ben: Browser) -> None:
    big = 2**70
    id_ = rows.task(cast.acme, cast.ben, payload={"times": big, "html": "<b>"})
    page = ben.get(f"/b/acme/tasks/{id_}")
    assert str(big) in page.text
    assert "<b>" not in page.response.text
    copied = [str(a["data-copy"]) for a in page.all("button") if "data-copy" in a]
    assert set(copied) <= set(page.ids)
    assert copied == ["payload-text"]


def test_a_child_and_its_parent_link_to_each_other(cast: Cast, ada: Browser, ben: Browser) -> None:
    parent = rows.task(cast.acme, cast.cleo, "completed")
    child = rows.task(cast.acme, cast.ben, parent_id=parent)
    assert f"Submitted by task #{parent}" in ada.get(f"/b/acme/tasks/{child}").text
    assert f"Submitted #{child}" in ada.get(f"/b/acme/tasks/{parent}").text
    assert "Submitted by task" not in ben.get(f"/b/acme/tasks/{child}").text, "Ben may not see Cleo's"
