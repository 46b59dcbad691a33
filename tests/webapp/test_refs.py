"""A page of a host application asks which tasks build its thing, and marks it as unfinished."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser
from tests.webapp.conftest import HOST

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
URL = "/api/v1/businesses/acme/tasks"


def test_the_shape_tells_state_progress_and_whether_it_is_over(cast: Cast, ben: Browser) -> None:
    about = {"ref": "order 7", "progress_done": 40, "progress_total": 100, "step": "Reading rows"}
    runs = rows.task(cast.acme, cast.ben, "running", **about)
    done = rows.task(cast.acme, cast.ben, "completed", ref="order 7", title="Order 7")
    told = ben.raw("GET", f"{URL}?ref=order+7").json
    assert told["next"] is None
    assert [(one["id"], one["state"], one["finished"]) for one in told["tasks"]] == [
        (done, "completed", True),
        (runs, "running", False),
    ]
    finished, running = told["tasks"]
    assert running["progress"] == {"done": 40, "total": 100, "step": "Reading rows"}
    assert (running["title"], running["url"], running["ended_at"]) == ("Count numbers", f"/b/acme/tasks/{runs}", None)
    assert (finished["title"], finished["task_type"], finished["ref"]) == ("Order 7", "test.count", "order 7")
    assert finished["ended_at"].endswith("+00:00")
    assert set(finished) == {
        *("id", "ref", "task_type", "title", "state", "finished", "progress", "created_at", "ended_at", "url")
    }


def test_what_waits_under_a_pause_is_paused(cast: Cast, ada: Browser) -> None:
    rows.task(cast.acme, cast.ben, ref="order 7")
    rows.pause(cast.acme, cast.ada, cast.ben)
    (one,) = ada.raw("GET", f"{URL}?ref=order+7").json["tasks"]
    assert (one["state"], one["finished"]) == ("paused", False)


def test_pages_are_bounded_and_follow_each_other(cast: Cast, ben: Browser) -> None:
    ids = [rows.task(cast.acme, cast.ben, ref="order 7") for _ in range(101)]
    first = ben.raw("GET", f"{URL}?ref=order+7&limit=999999").json
    assert [one["id"] for one in first["tasks"]] == ids[:0:-1]
    rest = ben.raw("GET", f"{URL}?ref=order+7&before={first['next']}").json
    assert ([one["id"] for one in rest["tasks"]], rest["next"]) == ([ids[0]], None)


def test_what_is_wrong_is_a_problem_that_names_the_field(cast: Cast, ben: Browser) -> None:
    for query, field in {"": "ref", "ref=": "ref", "ref=a&before=x": "before", "ref=a&limit=-1": "limit"}.items():
        response = ben.raw("GET", f"{URL}?{query}")
        assert (response.status_code, response.mimetype) == (422, "application/problem+json"), query
        assert response.json["field"] == field


def test_a_foreign_business_is_answered_like_a_missing_one(app: Flask, cast: Cast, ben: Browser) -> None:
    rows.task(cast.initech, cast.zoe, ref="order 7")
    foreign, missing = (ben.raw("GET", f"{URL.replace('acme', one)}?ref=order+7") for one in ("initech", "no-such"))
    assert (foreign.status_code, foreign.data) == (404, missing.data)
    assert foreign.mimetype == "application/problem+json"
    assert Browser(app).raw("GET", f"{URL}?ref=order+7").status_code == 401


def test_pages_of_named_hosts_may_read_it(cast: Cast, ben: Browser) -> None:
    for origin, allowed in ((HOST, HOST), ("https://evil.example", None)):
        response = ben.raw("GET", f"{URL}?ref=a", headers={"Origin": origin})
        assert response.headers.get("Access-Control-Allow-Origin") == allowed
