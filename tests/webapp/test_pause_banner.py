"""Who is told on a page that something is paused."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser


def test_ada_sees_every_pause_that_touches_her_business(cast: Cast, ada: Browser) -> None:
    assert "hidden" in ada.htmx("/b/acme/pauses/banner").roots[0][1]
    times = {"until": datetime(2100, 1, 2, 14, tzinfo=UTC), "created_at": datetime(2024, 3, 1, 9, 30, tzinfo=UTC)}
    rows.pause(cast.acme, cast.ada, cast.ben, reason="vendor outage", **times)
    rows.pause(None, cast.root, task_type="test.count", reason="all of it")
    rows.pause(cast.globex, cast.ada, cast.ada, reason="not here")
    part = ada.htmx("/b/acme/pauses/banner")
    assert part.roots[0][1]["id"] == "pauses-banner"
    assert "hidden" not in part.roots[0][1]
    assert "Ben Ito paused by Ada Lovelace: vendor outage, until 2 Jan 2100, 14:00 UTC" in part.text
    assert "since 1 Mar 2024, 09:30 UTC" in part.text
    assert "paused in the whole system by Root" in part.text
    assert "not here" not in part.text


def test_ben_is_told_of_what_holds_his_own_tasks_only(cast: Cast, ben: Browser) -> None:
    rows.pause(cast.acme, cast.ada, cast.cleo, reason="about Cleo")
    rows.pause(cast.acme, cast.ada, task_type="test.count", reason="about counting")
    assert "hidden" in ben.htmx("/b/acme/pauses/banner").roots[0][1]
    rows.task(cast.acme, cast.ben)
    rows.pause(cast.acme, cast.ada, cast.ben, reason="about Ben")
    text = ben.get("/b/acme/pauses/banner").text
    assert "You are paused by Ada Lovelace: about Ben" in text
    assert "about counting" in text
    assert "Cleo" not in text


def test_more_than_three_are_counted(cast: Cast, ada: Browser) -> None:
    for name in ("test.count", "tasks.export", "script.execute", "no.more"):
        rows.pause(cast.acme, cast.ada, task_type=name)
    assert "1 more" in ada.htmx("/b/acme/pauses/banner").text
