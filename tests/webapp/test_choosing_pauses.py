"""What the pause dialogs can say at once: combinations, an end, other businesses, and what that touches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from jobs.models import Pause
from jobs.schedule_models import Schedule
from tenants import members
from tenants.database import transaction
from tenants.models import Role, User
from tests import look
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser, Document
from tests.webapp.test_pausing import triggers

As = Callable[..., Browser]
IMPACT = {"HX-Target": "div#pauses-impact"}


def made() -> list[tuple[int | None, int | None, str | None]]:
    """What is paused, oldest first."""
    return [
        (one.business_id, one.user_id, one.task_type) for one in look.scalars(select(Pause).order_by(Pause.id)) if one
    ]


def previewed(browser: Browser, **form: Any) -> Document:
    """The preview of this choice."""
    return Document(browser.act("/b/acme/pauses/new", 200, headers=IMPACT, **form))


def seen(part: Document) -> str:
    """The counts that a preview carries."""
    return str(part.all("input", name="seen")[0]["value"])


def test_only_a_users_tasks_of_a_type_wait(cast: Cast, ada: Browser) -> None:
    bens, other, cleos = (
        rows.task(cast.acme, cast.ben),
        rows.task(cast.acme, cast.ben, task_type="tasks.export"),
        rows.task(cast.acme, cast.cleo),
    )
    response = ada.act("/b/acme/pauses", of="user", users=cast.ben.user.id, types="test.count", reason="just these")
    assert triggers(response)["toast"]["message"].startswith("Paused Ben Ito with Count numbers: 1 waiting task held")
    assert ada.get("/b/acme/tasks?state=paused").rows() == [bens]
    assert sorted(ada.get("/b/acme/tasks?state=pending").rows()) == sorted([other, cleos])


def test_the_dialogs_tell_who_is_partly_paused(cast: Cast, ada: Browser) -> None:
    rows.pause(cast.acme, cast.ada, cast.ben, task_type="tasks.export")
    part = ada.htmx("/b/acme/pauses/new?of=user")
    assert "Partly paused: Export tasks" in part.text
    assert part.all("input", id_=f"candidate-{cast.ben.user.id}"), "the rest of his may be paused"
    assert "Partly paused: Ben Ito" in ada.htmx("/b/acme/pauses/new?of=type").text


def test_a_type_of_some_users_makes_a_pause_for_each(cast: Cast, ada: Browser) -> None:
    people = [cast.ben.user.id, cast.cleo.user.id]
    ada.act("/b/acme/pauses", of="type", types="test.count", users=people, reason="both")
    assert made() == [(cast.acme.id, one, "test.count") for one in people]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_pause_of_the_whole_system_is_of_everybody(cast: Cast, as_user: As) -> None:
    form = {
        "of": "type",
        "types": "test.count",
        "scope": "system",
        "users": cast.ben.user.id,
        "reason": "no",
        "sure": "whole system",
    }
    page = Document(as_user("root").act("/b/acme/pauses", 422, **form))
    assert "A pause of the whole system is of everybody." in page.text
    assert made() == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Sao_Paulo"])
def test_a_pause_ends_when_it_was_asked_to_by_the_users_clock(cast: Cast, ada: Browser, zone: str) -> None:
    with transaction() as session:
        session.execute(update(User).where(User.id == cast.ada.user.id).values(time_zone=zone))
    assert f"Times are in {zone}." in ada.get("/b/acme/pauses/new?of=user").text
    here = datetime.now(ZoneInfo(zone))
    morning = (here + timedelta(days=1)).replace(hour=8, minute=0, second=0, microsecond=0)
    typed = (here + timedelta(days=3)).replace(second=0, microsecond=0)
    for until, at in (("resume", ""), ("hour", ""), ("tomorrow", ""), ("at", f"{typed:%Y-%m-%dT%H:%M}")):
        ada.act("/b/acme/pauses", of="user", users=cast.ben.user.id, reason=until, until=until, until_at=at)
        pause = rows.find_pause(max(look.scalars(select(Pause.id))))
        expected = {"resume": None, "hour": here + timedelta(hours=1), "tomorrow": morning, "at": typed}[until]
        if expected is None or pause.until is None:
            assert pause.until is expected
        else:
            assert timedelta(0) <= pause.until - expected <= datetime.now(UTC) - here, until
        ada.act(f"/b/acme/pauses/{pause.id}/resumption")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("", "Type a date and a time."),
        ("soon", "Type a date and a time."),
        ("0001-01-01T00:00", "A pause ends at a time in the future"),
        ("9999-12-31T23:59", "Type a date and a time."),
        ("2020-01-01T08:00", "A pause ends at a time in the future"),
    ],
)
def test_an_end_that_cannot_be_is_told_at_its_field_and_kept(cast: Cast, ada: Browser, at: str, says: str) -> None:
    with transaction() as session:
        session.execute(update(User).where(User.id == cast.ada.user.id).values(time_zone="America/Sao_Paulo"))
    form = {"of": "user", "users": cast.ben.user.id, "reason": "mine", "until": "at", "until_at": at}
    page = Document(ada.act("/b/acme/pauses", 422, **form))
    assert says in page.text
    (field,) = page.all("input", name="until_at")
    assert (field["value"], field["aria-invalid"]) == (at, "true")
    assert "checked" in page.all("input", name="until", value="at")[0]
    assert page.all("input", name="reason")[0]["value"] == "mine"
    assert made() == []


def test_ada_pauses_in_all_her_businesses_at_once(cast: Cast, ada: Browser) -> None:
    here, there = rows.task(cast.acme, cast.ada), rows.task(cast.globex, cast.ada)
    part = ada.htmx("/b/acme/pauses/new?of=type")
    assert [one["value"] for one in part.all("input", name="also")] == ["globex"]
    response = ada.act("/b/acme/pauses", of="type", types="test.count", also="globex", reason="an outage")
    assert triggers(response)["toast"]["message"].startswith("Paused Count numbers in Acme, Globex: 2 waiting tasks")
    assert ada.get("/b/acme/tasks?state=paused").rows() == [here]
    assert ada.get("/b/globex/tasks?state=paused").rows() == [there]
    assert [one.business_id for one in rows.audited("pause")] == [cast.acme.id, cast.globex.id]


def test_somebody_unknown_in_one_of_them_is_told_there_and_nobody_is_paused(cast: Cast, ada: Browser) -> None:
    form = {"of": "user", "users": [cast.ada.user.id, cast.ben.user.id], "also": "globex", "reason": "both"}
    page = Document(ada.act("/b/acme/pauses", 422, **form))
    assert "Ben Ito is unknown in Globex." in page.text
    assert page.all("div", id_="pauses-also")[0]["aria-invalid"] == "true"
    assert "checked" in page.all("input", name="also", value="globex")[0]
    assert "open" in page.all("details", id_="pauses-fold-also")[0]
    assert made() == []
    ada.act("/b/acme/pauses", **{**form, "users": cast.ada.user.id})
    assert len(made()) == 2


def test_other_peoples_businesses_are_out_of_reach(cast: Cast, ada: Browser) -> None:
    form = {"of": "type", "types": "test.count", "reason": "mine?"}
    answers = {ada.act("/b/acme/pauses", 404, also=slug, **form).data for slug in ("initech", "no-such")}
    answers |= {ada.act("/b/acme/pauses/new", 404, also=slug, **form).data for slug in ("initech", "no-such")}
    assert len(answers) == 1
    with transaction() as session:
        members.add(session, cast.globex, cast.ada.user, Role.MEMBER)
    assert not ada.htmx("/b/acme/pauses/new?of=type").all("input", name="also")
    ada.act("/b/acme/pauses", 403, also="globex", **form)
    assert made() == []
    assert [one.outcome for one in rows.audited("pauses.create")] == ["refused"]


def test_the_preview_counts_all_that_a_choice_touches(cast: Cast, ada: Browser) -> None:
    for who in (cast.ben, cast.ben, cast.cleo, None):
        rows.task(cast.acme, who)
    rows.task(cast.acme, cast.ben, "running")
    rows.task(cast.acme, cast.ben, task_type="tasks.export")
    rows.task(cast.globex, cast.ada)
    with transaction() as session:
        session.add(Schedule(business_id=cast.acme.id, title="Nightly", task_type="test.count", cron="0 3 * * *"))
    part = previewed(ada, of="type", types="test.count")
    assert part.roots[0][1]["id"] == "pauses-impact"
    assert "4 waiting tasks will be paused, 1 running will finish." in part.text
    assert "tasks of these types wait, too; other task types go on." in part.text
    assert seen(part) == "4-1-2-1"
    assert seen(previewed(ada, of="type", types=["test.count", "tasks.export"])) == "5-1-2-1"
    assert seen(previewed(ada, of="type", types="test.count", also="globex")) == "5-1-3-1"
    assert seen(previewed(ada, of="user", users=cast.ben.user.id)) == "3-1-1-0"
    assert seen(previewed(ada, of="user", users=cast.ben.user.id, types="tasks.export")) == "1-0-1-0"
    assert seen(previewed(ada, of="user")) == ""


def test_what_grew_is_shown_again_before_it_is_paused(cast: Cast, ada: Browser) -> None:
    rows.task(cast.acme, cast.ben)
    form: dict[str, Any] = {"of": "user", "users": cast.ben.user.id, "reason": "floods", "until": "hour"}
    form["seen"] = seen(previewed(ada, **form))
    rows.task(cast.acme, cast.ben)
    page = Document(ada.act("/b/acme/pauses", 409, **form))
    assert "There is more now than was shown." in page.text
    assert "2 waiting tasks will be paused" in page.text
    assert "was 1" in page.text
    assert page.all("input", name="reason")[0]["value"] == "floods"
    assert "checked" in page.all("input", name="until", value="hour")[0]
    assert "checked" in page.all("input", name="users", value=str(cast.ben.user.id))[0]
    assert made() == []
    again = {one["name"]: one["value"] for name in ("seen", "grows") for one in page.all("input", name=name)}
    rows.task(cast.acme, cast.ben)  # he goes on and on: she has been told, and may stop him
    assert "3 waiting tasks" in triggers(ada.act("/b/acme/pauses", **{**form, **again}))["toast"]["message"]
    assert len(made()) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("counts", ["1-0-1-0", "9-9-9-9", "", "nonsense", "1-2"])
def test_what_did_not_grow_is_paused_at_once(cast: Cast, ada: Browser, counts: str) -> None:
    rows.task(cast.acme, cast.ben)
    ada.act("/b/acme/pauses", of="user", users=cast.ben.user.id, reason="now", seen=counts)


def test_nobody_learns_of_a_choice_by_looking_at_it(cast: Cast, ada: Browser, ben: Browser) -> None:
    ben.act("/b/acme/pauses/new", 403, of="user", users=cast.cleo.user.id)
    rows.task(cast.initech, cast.zoe)
    assert seen(previewed(ada, of="user", users=cast.zoe.user.id)) == "0-0-0-0"
    assert made() == []


def test_without_javascript_ticks_survive_a_search_and_counts_come_first(cast: Cast, ada: Browser) -> None:
    rows.task(cast.acme, cast.ben)
    form = {"csrf_token": ada.csrf(), "of": "user", "users": cast.ben.user.id, "types": "test.count", "reason": "mine"}
    form |= {"q": "cleo", "only_q": "export"}
    page = Document(ada.raw("POST", "/b/acme/pauses/new", data=form))
    assert page.response.status_code == 200
    assert {str(one["value"]): "checked" in one for one in page.all("input", name="users")} == {
        str(cast.ben.user.id): True,
        str(cast.cleo.user.id): False,
    }
    assert {str(one["value"]): "checked" in one for one in page.all("input", name="types")} == {
        "test.count": True,
        "tasks.export": False,
    }
    assert "open" in page.all("details", id_="pauses-fold-only")[0]
    assert (page.all("input", name="q")[0]["value"], page.all("input", name="only_q")[0]["value"]) == ("cleo", "export")
    assert page.all("input", name="reason")[0]["value"] == "mine"
    assert "1 waiting task will be paused" in page.text
    rows.task(cast.acme, cast.ben)
    grown = Document(ada.raw("POST", "/b/acme/pauses", data={**form, "seen": seen(page)}))
    assert grown.response.status_code == 409
    assert len(grown.all("h1")) == 1
    assert made() == []
    ada.post("/b/acme/pauses", **form, seen=seen(grown), grows="1")
    assert made() == [(cast.acme.id, cast.ben.user.id, "test.count")]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_too_many_pauses_at_once_are_none(cast: Cast, ada: Browser) -> None:
    users = [cast.ben.user.id, *range(10**6, 10**6 + 100)]
    page = Document(ada.act("/b/acme/pauses", 422, of="user", users=users, reason="all of them"))
    assert "That makes more than 100 pauses." in page.text
    assert made() == []


def test_the_page_lists_the_end_of_each_pause_and_the_last_that_ended_first(cast: Cast, ada: Browser) -> None:
    long = rows.pause(cast.acme, cast.ada, cast.ben, reason="long", until=datetime(2100, 1, 2, 14, tzinfo=UTC))
    rows.pause(cast.acme, cast.ada, cast.cleo, reason="short")
    assert "until 2 Jan 2100, 14:00 UTC" in ada.htmx("/b/acme/pauses").text
    for pause in (long + 1, long):
        ada.act(f"/b/acme/pauses/{pause}/resumption")
    text = ada.get("/b/acme/pauses").text
    assert text.index("long") < text.index("short")
    assert "2 Jan 2100, 14:00 UTC" in text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_long_history_says_that_it_is_cut(cast: Cast, ada: Browser) -> None:
    for number in range(101):
        ended = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        rows.pause(cast.acme, cast.ada, cast.ben, reason=f"no. {number}.", ended_at=ended, ended_by=cast.ada.user.id)
    text = ada.get("/b/acme/pauses").text
    assert "no. 100." in text
    assert "no. 0." not in text
    assert "The last 100 that ended." in text
