"""Failures: what went wrong by type and error, resolved and ignored by those who may."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tenants.clock import clock
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import PART, Browser, Document
from tests.webapp.test_pausing import triggers

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
As = Callable[..., Browser]


def shown(page: Document) -> list[int]:
    """The ids of the groups that a page lists, in order."""
    names = [one.removeprefix("failure-") for one in page.ids if one.startswith("failure-")]
    return [int(one) for one in names]


def test_ada_reads_what_failed_how_often_and_when(cast: Cast, ada: Browser) -> None:
    one = rows.failure(cast.acme, message="row # is broken", count=1234, first_at=clock(-86_400))
    page = ada.get("/b/acme/failures")
    assert shown(page) == [one]
    assert page.all("h1")
    for part in ("LookupError row # is broken", "Count numbers", "test.count", "1,234", "Open", "1 of 1"):
        assert part in page.text
    assert page.all("a", href=f"/b/acme/history?q=failure:{one}")
    assert len(page.all("relative-time")) == 2
    assert page.all("a", id_="failures-open")[0]["aria-current"] == "true"
    assert "Resolved 0" in page.text


def test_each_state_has_a_chip_with_its_count(cast: Cast, ada: Browser) -> None:
    found = {state: rows.failure(cast.acme, message=state, state=state) for state in ("open", "resolved", "ignored")}
    page = ada.get("/b/acme/failures")
    assert "Open 1 Resolved 1 Ignored 1" in page.text
    for state, one in found.items():
        assert shown(ada.get(f"/b/acme/failures?state={state}")) == [one]


def test_it_sorts_both_ways_by_every_column_and_pages(cast: Cast, ada: Browser) -> None:
    many = [
        rows.failure(cast.acme, message=f"{number:02}", count=number, last_at=clock(-number)) for number in range(30)
    ]
    assert shown(ada.get("/b/acme/failures")) == many
    for sort, order in (("count", many), ("-count", many[::-1]), ("error", many), ("-error", many[::-1])):
        assert shown(ada.get(f"/b/acme/failures?sort={sort}")) == order
    first = ada.get("/b/acme/failures?sort=count&size=25")
    assert shown(first) == many[:25]
    assert "25 of 30" in first.text
    older = str(first.all("a", id_="page-older")[0]["href"])
    second = ada.htmx(older)
    assert shown(second) == many[25:]
    assert shown(ada.get(str(second.all("a", id_="page-newer")[0]["href"]))) == many[:25]
    assert ada.get("/b/acme/failures?sort=-count").all("th", **{"aria-sort": "descending"})


def test_an_empty_list_says_so(cast: Cast, ada: Browser) -> None:
    for state, hint in (("open", "like ones together."), ("resolved", "is resolved."), ("ignored", "is ignored.")):
        text = ada.get(f"/b/acme/failures?state={state}").text
        assert "There are no failures to show" in text
        assert hint in text


def test_resolving_hides_it_and_undo_brings_it_back(cast: Cast, ada: Browser) -> None:
    one = rows.failure(cast.acme)
    events = triggers(ada.act(f"/b/acme/failures/{one}/state", to="resolved"))
    assert events.keys() == {"failures-changed", "toast"}
    assert events["toast"]["message"].startswith("Resolved: “LookupError: gone” of Count")
    assert shown(ada.htmx("/b/acme/failures")) == []
    assert "by Ada Lovelace" in ada.get("/b/acme/failures?state=resolved").text
    undone = triggers(ada.act(events["toast"]["undo"]))
    assert undone["toast"]["message"].startswith("Open: ")
    assert "undo" not in undone["toast"]
    assert shown(ada.get("/b/acme/failures")) == [one]
    assert [len(rows.audited(act)) for act in ("resolve failure", "reopen failure")] == [1, 1]
    ada.act(events["toast"]["undo"], 409)


def test_ignoring_lasts_until_somebody_stops_it(cast: Cast, ada: Browser) -> None:
    one = rows.failure(cast.acme)
    undo = triggers(ada.act(f"/b/acme/failures/{one}/state", to="ignored"))["toast"]["undo"]
    page = ada.get("/b/acme/failures?state=ignored")
    assert shown(page) == [one]
    assert "Stop ignoring" in page.text
    assert triggers(ada.act(f"/b/acme/failures/{one}/state", to="open"))["toast"]["undo"]
    ada.act(undo, 409)
    assert shown(ada.get("/b/acme/failures")) == [one]


def test_doing_it_twice_changes_nothing(cast: Cast, ada: Browser) -> None:
    one = rows.failure(cast.acme)
    ada.act(f"/b/acme/failures/{one}/state", to="resolved")
    assert "undo" not in triggers(ada.act(f"/b/acme/failures/{one}/state", to="resolved"))["toast"]
    assert len(rows.audited("resolve failure")) == 1


def test_without_javascript_the_list_comes_back_with_a_notice(cast: Cast, ada: Browser) -> None:
    one = rows.failure(cast.acme)
    response = ada.post(f"/b/acme/failures/{one}/state", to="ignored")
    assert response.location == "/b/acme/failures"
    page = ada.get(response.location)
    assert "Ignored: “LookupError: gone”" in page.text
    assert page.all("form", action=f"/b/acme/failures/{one}/state?to=open&was=ignored")
    assert ada.post(f"/b/acme/failures/{one}/state", to="open").location == "/b/acme/failures?state=ignored"


@pytest.mark.parametrize("to", ["", "closed", "Open"])
def test_a_state_that_there_is_not_is_refused(cast: Cast, ada: Browser, to: str) -> None:
    ada.act(f"/b/acme/failures/{rows.failure(cast.acme)}/state", 422, to=to)


def test_what_came_back_says_so(cast: Cast, ada: Browser) -> None:
    rows.failure(cast.acme, changed_at=clock(-60), returned_at=clock(-30))
    assert "Returned" in ada.get("/b/acme/failures").text


def test_an_auditor_sees_it_without_buttons_and_a_member_does_not(cast: Cast, as_user: As, ben: Browser) -> None:
    one = rows.failure(cast.acme)
    auditor = as_user(rows.auditor(cast.acme))
    page = auditor.get("/b/acme/failures")
    assert shown(page) == [one]
    assert "Resolve " not in page.text
    assert not [form for form in page.all("form") if "failures" in str(form.get("action"))]
    auditor.act(f"/b/acme/failures/{one}/state", 403, to="resolved")
    ben.get("/b/acme/failures", 403)
    ben.act(f"/b/acme/failures/{one}/state", 403, to="resolved")
    assert [entry.outcome for entry in rows.audited("failures.change")] == ["refused", "refused"]


def test_a_write_without_a_token_is_refused(cast: Cast, ada: Browser) -> None:
    path = f"/b/acme/failures/{rows.failure(cast.acme)}/state"
    assert ada.raw("POST", path, data={"to": "resolved"}, headers=PART).status_code == 400


def test_an_unchanged_list_is_not_sent_again(cast: Cast, ada: Browser) -> None:
    rows.failure(cast.acme)
    ada.get("/b/acme/failures")
    tag = ada.htmx("/b/acme/failures").response.headers["HX-PTag"]
    again = ada.raw("GET", "/b/acme/failures", headers=PART | {"HX-PTag": tag})
    assert (again.status_code, again.data) == (304, b"")
    rows.failure(cast.acme, message="another")
    assert ada.raw("GET", "/b/acme/failures", headers=PART | {"HX-PTag": tag}).status_code == 200


def test_the_history_shows_the_tasks_of_one_failure_and_says_which(cast: Cast, ada: Browser, ben: Browser) -> None:
    one = rows.failure(cast.acme, message="row #")
    other = rows.failure(cast.initech, message="of their staplers")
    mine = rows.task(cast.acme, cast.ben, "failed", failure_id=one)
    cleos = rows.task(cast.acme, cast.cleo, "failed", failure_id=one)
    rows.task(cast.acme, cast.ben, "failed")
    page = ada.get(f"/b/acme/history?q=failure:{one}")
    assert page.rows() == [cleos, mine]
    assert "Failure: LookupError: row #" in page.text
    page = ada.get(f"/b/acme/history?q=failure:{other}")
    assert (page.rows(), "staplers" in page.text) == ([], False)
    assert "nothing matches" in ada.get("/b/acme/history?q=failure:x").text.lower()
    assert ben.get("/b/acme/background-tasks?tab=failed").rows()


def test_a_failed_task_says_how_often_that_happened_and_leads_there(cast: Cast, ada: Browser, ben: Browser) -> None:
    many, one = rows.failure(cast.acme, count=1234), rows.failure(cast.acme, message="new")
    theirs = rows.failure(cast.initech, count=77)
    failed = {group: rows.task(cast.acme, cast.ben, "failed", failure_id=group) for group in (many, one, theirs, 0)}
    page = ada.get(f"/b/acme/tasks/{failed[many]}")
    (link,) = page.all("a", id_="link-failure")
    assert link["href"] == f"/b/acme/history?q=failure:{many}"
    assert "Failed like this 1,234 times since" in page.text
    assert ada.get(str(link["href"])).rows() == [failed[many]]
    assert "The first failure like this" in ada.get(f"/b/acme/tasks/{failed[one]}").text
    for group in (theirs, 0):
        assert not ada.get(f"/b/acme/tasks/{failed[group]}").all("a", id_="link-failure")
    assert not ben.get(f"/b/acme/tasks/{failed[many]}").all("a", id_="link-failure")


def test_task_history_and_the_admin_menu_lead_there(cast: Cast, ada: Browser) -> None:
    assert len(ada.get("/b/acme/history").all("a", href="/b/acme/failures")) > 1
    assert ada.get("/b/acme/tasks").all("a", **{"href": "/b/acme/failures", "data-go": "f"})


def test_what_an_author_lets_an_error_say_is_only_text(app: Flask, cast: Cast, ada: Browser) -> None:
    rows.failure(cast.acme, kind="<img src=x onerror=alert(1)>", message="<script>alert(1)</script>")
    page = ada.get("/b/acme/failures")
    assert not page.all("img")
    assert "<script>alert(1)</script>" in page.text
