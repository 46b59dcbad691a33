"""Taking a pause back with one click from its notice."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select

from jobs.models import Pause
from tests import look
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser
from tests.webapp.test_pausing import triggers

As = Callable[..., Browser]


def standing() -> list[int]:
    return look.scalars(select(Pause.id).where(Pause.ended_at.is_(None)).order_by(Pause.id))


def test_undo_ends_exactly_the_pauses_that_were_just_made(cast: Cast, ada: Browser) -> None:
    before = rows.pause(cast.acme, cast.root, cast.ben)
    people = [cast.ben.user.id, cast.cleo.user.id]
    toast = triggers(ada.act("/b/acme/pauses", of="user", users=people, reason="oops"))["toast"]
    assert toast["message"].endswith("1 pause stood already.")
    task = rows.task(cast.acme, cast.cleo)
    assert ada.get("/b/acme/tasks?state=paused").rows() == [task]
    events = triggers(ada.act(toast["undo"]))
    assert events.keys() == {"pauses-changed", "tasks-changed", "toast"}
    assert events["toast"]["message"] == "Taken back: 1 pause ended."
    assert standing() == [before]
    assert ada.get("/b/acme/tasks?state=pending").rows() == [task]
    assert len(rows.audited("resume")) == 1
    ada.act(toast["undo"])
    assert len(rows.audited("resume")) == 1, "a second time changes nothing"


def test_undo_reaches_every_business_of_the_pause(cast: Cast, ada: Browser) -> None:
    form = {"of": "type", "types": "test.count", "also": "globex", "reason": "oops"}
    undo = triggers(ada.act("/b/acme/pauses", **form))["toast"]["undo"]
    assert len(standing()) == 2
    ada.act(undo)
    assert standing() == []
    assert sorted(one.business_id for one in rows.audited("resume")) == sorted([cast.acme.id, cast.globex.id])


def test_nothing_new_has_no_undo(cast: Cast, ada: Browser) -> None:
    rows.pause(cast.acme, cast.root, cast.ben)
    toast = triggers(ada.act("/b/acme/pauses", of="user", users=cast.ben.user.id, reason="again"))["toast"]
    assert toast == {"message": "Nothing new: Ben Ito is paused already.", "level": "success"}


def test_nobody_takes_back_what_somebody_else_paused(cast: Cast, ada: Browser, ben: Browser) -> None:
    roots, zoes = rows.pause(cast.acme, cast.root, cast.ben), rows.pause(cast.initech, cast.zoe, cast.zoe)
    mine = rows.pause(cast.acme, cast.ada, cast.cleo)
    for ids in (f"id={roots}", f"id={mine}&id={zoes}", f"id={zoes}", "id=424242", f"id={mine}&id=x", f"id={10**30}"):
        ada.act(f"/b/acme/pauses/undo?{ids}", 404)
    ada.act("/b/acme/pauses/undo", 422)
    ben.act(f"/b/acme/pauses/undo?id={mine}", 403)
    assert standing() == [roots, zoes, mine]


def test_root_takes_back_a_pause_of_the_whole_system(cast: Cast, as_user: As) -> None:
    root = as_user("root")
    form = {"of": "type", "types": "test.count", "scope": "system", "sure": "whole system", "reason": "oops"}
    form["also"] = "globex"
    toast = triggers(root.act("/b/acme/pauses", **form))["toast"]
    assert toast["message"].startswith("Paused Count numbers in the whole system: ")
    assert len(standing()) == 1
    root.act(toast["undo"])
    assert standing() == []


def test_undo_works_without_javascript(cast: Cast, ada: Browser) -> None:
    answer = ada.post("/b/acme/pauses", of="user", users=cast.ben.user.id, reason="oops")
    page = ada.get(str(answer.location))
    (undo,) = [str(one["action"]) for one in page.all("form") if "/undo?" in str(one.get("action"))]
    answer = ada.post(undo)
    assert "Taken back: 1 pause ended." in ada.get(str(answer.location)).text
    assert standing() == []
