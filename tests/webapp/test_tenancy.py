"""Who sees and does what: each route for each role, and nothing of another business anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tenants.models import Business
from tenants.permissions import GRANTS, Actor, May
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import PART, Browser
from tests.webapp.routes import Route, Whose, every
from webapp.access import PUBLIC

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
As = Callable[..., Browser]
SENTINEL = "staplers-of-initech"
ROLES = ["ada", "ben", "zoe", "root", "auditor"]


def ask(browser: Browser, route: Route, path: str, *, part: bool) -> TestResponse:
    """The request, with a CSRF token and a form that asks for nothing."""
    headers = dict(PART) if part else {}
    if route.method != "GET":
        headers["X-CSRFToken"] = browser.csrf()
    return browser.raw(route.method, path, headers=headers)


@pytest.mark.parametrize("part", [False, True], ids=["page", "fragment"])
@pytest.mark.parametrize("who", ROLES)
def test_each_route_lets_in_whom_the_role_table_allows(app: Flask, cast: Cast, who: str, part: bool) -> None:
    actor = rows.auditor(cast.acme) if who == "auditor" else getattr(cast, who)
    for route in every(app):
        browser = Browser(app, rows.login(actor.user))
        status = ask(browser, route, route.path(cast), part=part).status_code
        if isinstance(route.needs, May) and who == "zoe":
            assert status == 404, f"{route} for somebody of another business"
        elif isinstance(route.needs, May) and route.needs not in GRANTS[actor.role]:
            assert status == 403, f"{route} for a {actor.role}"
        elif route.rule.endpoint not in ("tasks.file", "tasks.rerun", "account.revoke", "taskqueue.test_task"):
            assert status < 400 or status == 422, f"{route} for a {actor.role}: {status}"


@pytest.mark.parametrize("part", [False, True], ids=["page", "fragment"])
def test_without_a_login_only_public_routes_answer(app: Flask, cast: Cast, part: bool) -> None:
    for route in every(app):
        response = ask(Browser(app), route, route.path(cast), part=part)
        if route.needs is PUBLIC:
            assert response.status_code in (200, 422), str(route)
        elif route.rule.rule.startswith("/api/"):
            assert (response.status_code, response.mimetype) == (401, "application/problem+json")
        elif part:
            assert response.status_code == 401, str(route)
            assert response.headers["HX-Redirect"].startswith("/login")
        elif route.rule.endpoint.startswith("embed."):
            assert response.status_code == 401, "a login page would be a dead frame"
        else:
            assert response.status_code == 302, str(route)
            assert str(response.location).startswith("/login")


@pytest.mark.parametrize("part", [False, True], ids=["page", "fragment"])
@pytest.mark.parametrize("who", ["ada", "root"])
def test_what_is_foreign_is_answered_byte_for_byte_like_what_is_missing(
    app: Flask, cast: Cast, as_user: As, who: str, part: bool
) -> None:
    browser = as_user(who)
    for route in [one for one in every(app) if one.has_id]:
        foreign, missing = (
            ask(browser, route, route.path(cast, whose=whose), part=part) for whose in (Whose.FOREIGN, Whose.MISSING)
        )
        assert (foreign.status_code, missing.status_code) == (404, 404), str(route)
        assert foreign.data == missing.data, str(route)


@pytest.mark.parametrize("part", [False, True], ids=["page", "fragment"])
def test_a_foreign_business_is_answered_byte_for_byte_like_a_missing_one(
    app: Flask, cast: Cast, ada: Browser, part: bool
) -> None:
    for route in [one for one in every(app) if "business" in one.rule.arguments]:
        foreign, missing = (ask(ada, route, route.path(cast, slug), part=part) for slug in ("initech", "no-such"))
        assert (foreign.status_code, missing.status_code) == (404, 404), str(route)
        assert foreign.data == missing.data, str(route)


def test_members_see_their_own_tasks_only(cast: Cast, ben: Browser) -> None:
    own, cleos, schedulers = rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.cleo), rows.task(cast.acme)
    ben.get(f"/b/acme/tasks/{own}")
    for other in (cleos, schedulers):
        for page in ("", "/deletion", "/file"):
            ben.get(f"/b/acme/tasks/{other}{page}", 404)
        ben.post(f"/b/acme/tasks/{other}/deletion", 404)
    assert ben.get("/b/acme/background-tasks").rows() == [own]


def test_nothing_of_another_business_stands_on_any_page(app: Flask, cast: Cast, as_user: As) -> None:
    fill_initech(cast)
    for who in ("ada", "ben", "root"):
        browser = as_user(who)
        for path in gets(app, cast):
            for headers in ({}, PART):
                text = browser.raw("GET", path, headers=headers).text
                assert SENTINEL not in text, f"{path} for {who}"
                assert who == "root" or "nitech" not in text, f"{path} for {who}"
    assert SENTINEL in as_user("zoe").get("/b/initech/tasks?state=failed").response.text


@pytest.mark.parametrize("address", ["tasks?q=zoe", "pauses/new?of=user&q=zoe", "pauses/new?of=user&q=initech"])
def test_searches_and_suggestions_find_nobody_of_another_business(cast: Cast, ada: Browser, address: str) -> None:
    fill_initech(cast)
    page = ada.get(f"/b/acme/{address}")
    assert "Zoe Winter" not in page.text
    assert page.rows() == []
    assert not page.all("input", name="users")


def test_nobody_pauses_or_ticks_a_user_of_another_business(cast: Cast, ada: Browser) -> None:
    zoe = cast.zoe.user.id
    assert "Zoe" not in ada.get(f"/b/acme/pauses/new?of=user&users={zoe}").text
    foreign = ada.act("/b/acme/pauses", 404, of="user", users=zoe, reason="mine now")
    missing = ada.act("/b/acme/pauses", 404, of="user", users=424242, reason="mine now")
    assert foreign.data == missing.data


def test_the_business_menu_offers_just_ones_own(cast: Cast, as_user: As) -> None:
    for who, slugs in {"ada": ["acme", "globex"], "ben": ["acme"], "root": ["acme", "globex", "initech"]}.items():
        links = [str(a["href"]) for a in as_user(who).get("/b/acme/background-tasks").all("a") if a.get("href")]
        found = {one.split("/")[2] for one in links if one.startswith("/b/")}
        assert sorted(found) == slugs


@pytest.mark.parametrize("who", ["ben", "auditor"])
def test_a_refused_write_is_in_the_audit_log(cast: Cast, as_user: As, who: str) -> None:
    actor = rows.auditor(cast.acme) if who == "auditor" else cast.ben
    as_user(actor).act("/b/acme/pauses", 403, of="user", users=cast.cleo.user.id, reason="no")
    (entry,) = rows.audited("pauses.create")
    assert (entry.user_id, entry.business_id, entry.outcome) == (actor.user.id, cast.acme.id, "refused")


def test_a_member_reads_what_is_refused(ben: Browser) -> None:
    page = ben.get("/b/acme/tasks", 403)
    assert "Your role in this business does not allow this." in page.text
    assert rows.audited("tasks.index") == []


def test_only_admins_get_the_admin_menu(as_user: As, cast: Cast) -> None:
    assert "Admin" in as_user("ada").get("/b/acme/background-tasks").text
    assert "Admin" not in as_user("ben").get("/b/acme/background-tasks").text
    text = as_user(rows.auditor(cast.acme)).get("/b/acme/tasks").text
    assert "Admin" in text
    assert "Pause User" not in text


def test_only_platform_admins_pause_the_whole_system(cast: Cast, as_user: As) -> None:
    form = {"of": "type", "types": "test.count", "reason": "vendor outage", "scope": "system"}
    as_user("ada").act("/b/acme/pauses", 403, **form)
    assert [one.outcome for one in rows.audited("pauses.create")] == ["refused"]
    root = as_user("root")
    for typed in ("", "acme"):
        assert "this touches every business" in root.act("/b/acme/pauses", 422, **form, sure=typed).text
    assert "Whole system" not in as_user("zoe").get("/b/initech/pauses").text
    root.act("/b/acme/pauses", **form, sure=" Whole  system")
    assert "Whole system" in as_user("zoe").get("/b/initech/pauses").text


def fill_initech(cast: Cast) -> None:
    """Everything that Initech can have, with a word that must stay there."""
    task = rows.task(cast.initech, cast.zoe, "failed", title=SENTINEL, payload={SENTINEL: SENTINEL}, cause=SENTINEL)
    rows.entry(task, cast.initech, SENTINEL)
    rows.task(cast.initech, cast.zoe, title=SENTINEL)
    rows.task(cast.initech, None, title=SENTINEL, task_type="script.execute")
    rows.failure(cast.initech, message=SENTINEL)
    rows.pause(cast.initech, cast.zoe, cast.zoe, reason=SENTINEL)
    rows.pause(cast.initech, cast.zoe, task_type="test.count", reason=SENTINEL)


def gets(app: Flask, cast: Cast) -> Iterator[str]:
    """Every address of Acme that can be read, also searched and sorted."""
    for route in every(app):
        if route.method == "GET" and route.needs is not PUBLIC:  # the login page of a demo names all its businesses
            for whose in Whose if route.has_id else [Whose.OURS]:
                yield route.path(cast, whose=whose)
    for query in ("q=count", "q=zoe", "q=scheduler", "sort=user", "sort=type", "state=failed", "state=paused"):
        yield f"/b/acme/tasks?{query}"
    for tab in ("pending", "failed", "finished"):
        yield f"/b/acme/background-tasks?tab={tab}"
    yield "/b/acme/pauses/new?of=type"


def test_the_cast_is_as_the_tests_think(cast: Cast) -> None:
    assert isinstance(cast.acme, Business)
    assert isinstance(cast.zoe, Actor)
    assert cast.zoe.business.slug == "initech"
