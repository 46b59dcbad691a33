"""What every answer carries, what writes need, and what reading leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from config import Config
from jobs.models import Task
from tenants.database import Base, Sessions, transaction
from tenants.permissions import May
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import PART, Browser, policy
from tests.webapp.routes import Route, every
from webapp import create_app, db
from webapp.access import PUBLIC, access
from webapp.security import CSP

As = Callable[..., Browser]
only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@only_sqlite
def test_every_answer_is_hardened(app: Flask, cast: Cast, as_user: As) -> None:
    ada, nobody = as_user("ada"), as_user()
    paths = [route.path(cast) for route in every(app) if route.method == "GET"]
    for path in [*paths, "/no-such-page", "/b/initech/tasks", "/static/app.css", "/static/no-such-file"]:
        for browser in (ada, nobody):
            response = browser.raw("GET", path)
            assert response.headers["Content-Security-Policy"] == policy(path), path
            assert response.headers["X-Content-Type-Options"] == "nosniff", path
            assert response.headers["Referrer-Policy"] == "same-origin", path
            assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin", path
            assert len(response.headers["X-Request-ID"]) == 16, path
            assert "Strict-Transport-Security" not in response.headers
            if path == "/embed.js":
                assert response.headers["Cache-Control"] == "public, max-age=3600"
            elif path != "/static/app.css":
                assert "no-store" in response.headers["Cache-Control"], path
                assert {"HX-Request", "HX-Request-Type", "Cookie"} <= set(response.vary), path
            response.close()


def test_the_policy_allows_nothing_inline_and_no_other_host() -> None:
    assert "'self'" in CSP
    assert "unsafe" not in CSP
    assert "http" not in CSP
    assert "default-src 'none'" in CSP


@only_sqlite
def test_versioned_files_may_be_kept_for_ever_and_others_for_an_hour(as_user: As) -> None:
    page = as_user().get("/login")
    vendored = [str(a["src"]) for a in page.all("script") if "/vendor/" in str(a["src"])]
    own = [str(a["src"]) for a in page.all("script") if "/vendor/" not in str(a["src"])]
    assert vendored
    assert own
    for path in vendored:
        with as_user().raw("GET", path) as response:
            assert "immutable" in response.headers["Cache-Control"]
    for path in own:
        with as_user().raw("GET", path) as response:
            assert "?v=" in path
            assert response.headers["Cache-Control"] == "max-age=3600, public"


@only_sqlite
def test_pages_are_compressed(ada: Browser) -> None:
    response = ada.raw("GET", "/b/acme/tasks", headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"


@only_sqlite
def test_cookies_are_for_this_site_and_not_for_scripts(config: Config, app: Flask, as_user: As) -> None:
    cookie = as_user().raw("GET", "/login").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    secure = create_app(config.model_copy(update={"cookie_secure": True}))
    response = secure.test_client().get("/login", base_url="https://localhost")
    assert "Secure" in response.headers["Set-Cookie"]
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"


@only_sqlite
def test_every_write_needs_a_csrf_token(app: Flask, cast: Cast, as_user: As) -> None:
    writes = [route for route in every(app) if route.method != "GET"]
    assert len(writes) > 10
    for route in writes:
        browser, path = as_user("ada"), route.path(cast)
        before = _contents()
        for headers in ({}, PART, PART | {"X-CSRFToken": "made up"}, {"X-CSRFToken": as_user("ben").csrf()}):
            assert browser.raw(route.method, path, headers=headers).status_code == 400, str(route)
        assert _contents(but=("logins",)) == {k: v for k, v in before.items() if k != "logins"}, str(route)


def test_reading_changes_nothing(app: Flask, cast: Cast, as_user: As) -> None:
    browsers = [as_user(who) for who in ("ada", "ben", "root", None)]
    paths = [route.path(cast) for route in every(app) if route.method == "GET"]
    rows.pause(cast.acme, cast.ada, cast.ben)
    before = _contents()
    for path in paths:
        for browser in browsers:
            for headers in ({}, PART):
                browser.raw("GET", path, headers=headers).close()
                browser.raw("HEAD", path, headers=headers).close()
    assert _contents() == before


@only_sqlite
def test_reading_waits_for_no_writer(app: Flask, cast: Cast, ada: Browser) -> None:
    with transaction() as writer:
        writer.connection()
        for route in every(app):
            if route.method == "GET" and not route.has_id:
                assert ada.raw("GET", route.path(cast)).status_code < 400, str(route)


@only_postgresql
def test_a_page_that_wrote_would_fail(app: Flask, ada: Browser) -> None:
    _add_route(app, "GET", lambda: db.session.add(_task(1)))
    assert ada.raw("GET", "/for-a-test").status_code == 500
    assert rows.number_of(Task) == 0


@only_postgresql
def test_a_query_of_a_page_takes_five_seconds_at_most(app: Flask) -> None:
    with app.app_context():
        assert db.session.scalar(text("SHOW statement_timeout")) == "5s"
        db.session.close()
    with Sessions() as session:
        assert session.scalar(text("SHOW TimeZone")) == "UTC"


def test_a_write_is_committed_when_it_is_answered(app: Flask, cast: Cast, ada: Browser) -> None:
    _add_route(app, "POST", lambda: db.session.add(_task(cast.acme.id)))
    ada.post("/for-a-test", 200)
    assert rows.number_of(Task) == 1


def test_a_commit_that_fails_is_an_error_page(app: Flask, cast: Cast, ada: Browser) -> None:
    _add_route(app, "POST", lambda: db.session.add(_task(cast.acme.id, state="nonsense")))
    response = ada.post("/for-a-test", 500)
    assert "Something went wrong" in response.text
    assert response.headers["Content-Security-Policy"] == CSP
    assert rows.number_of(Task) == 0
    ada.get("/b/acme/tasks")


def test_a_write_in_a_business_that_the_database_refuses_is_an_error_page(app: Flask, cast: Cast, ada: Browser) -> None:
    def act() -> None:
        db.session.add(_task(cast.acme.id, state="nonsense"))
        db.session.flush()

    _add_route(app, "POST", act, needed=May.MANAGE, path="/b/<business>/for-a-test")
    assert "Something went wrong" in ada.post("/b/acme/for-a-test", 500).text
    ada.get("/b/acme/tasks")


@pytest.mark.parametrize("status", [400, 404, 422])
def test_an_answer_that_is_no_success_takes_back_what_was_done(
    app: Flask, cast: Cast, ada: Browser, status: int
) -> None:
    _add_route(app, "POST", lambda: db.session.add(_task(cast.acme.id)), status)
    ada.post("/for-a-test", status)
    assert rows.number_of(Task) == 0


@only_sqlite
def test_a_route_that_declares_nothing_is_not_there(app: Flask, ada: Browser) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    assert ada.get("/forgotten", 404).text == ada.get("/no-such-page", 404).text


@only_sqlite
def test_a_request_has_a_megabyte_at_most(ada: Browser) -> None:
    headers = {"X-CSRFToken": ada.csrf()}
    body = b'{"times": 1, "more": "' + b"x" * 2**20 + b'"}'
    how: dict[str, Any] = {"data": body, "content_type": "application/json", "headers": headers}
    assert ada.raw("POST", "/api/taskqueue/test_task", **how).status_code == 413


@only_sqlite
@pytest.mark.parametrize("path", ["/b/acme/tasks?q=%00", "/b/acme/pauses/new?users=%00", "/login?next=%00"])
def test_a_nul_character_is_refused(ada: Browser, path: str) -> None:
    ada.get(path, 400)


@only_sqlite
def test_a_wrong_method_says_which_ones_there_are(ada: Browser) -> None:
    response = ada.raw("DELETE", "/b/acme/pauses", headers={"X-CSRFToken": ada.csrf()})
    assert response.status_code == 405
    assert {"GET", "POST"} <= {one.strip() for one in response.headers["Allow"].split(",")}


@only_sqlite
def test_error_pages_carry_no_token_no_form_and_no_request_id(ada: Browser) -> None:
    for path, status in {"/no-such-page": 404, "/b/initech/tasks": 404, "/b/acme/tasks?q=%00": 400}.items():
        page = ada.get(path, status)
        assert not page.all("form")
        assert not page.all("meta", name="csrf-token")
        assert page.response.headers["X-Request-ID"] not in page.response.text


@only_sqlite
def test_a_sign_of_life_needs_neither_login_nor_database(app: Flask) -> None:
    with app.app_context():
        db._db.engine.dispose()
        assert Browser(app).raw("GET", "/healthz").text == "ok"
        assert db._db.engine.pool.checkedin() == 0


def _task(business_id: int, state: str = "pending") -> Task:
    return Task(business_id=business_id, task_type="test.count", queue="default", payload={}, state=state)


def _add_route(
    app: Flask,
    method: str,
    act: Callable[[], Any],
    status: int = 200,
    *,
    needed: Any = PUBLIC,
    path: str = "/for-a-test",
) -> None:
    @access(needed)
    def view() -> tuple[str, int]:
        act()
        return "done", status

    app.add_url_rule(path, "for_a_test", view, methods=[method])


def _contents(but: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """Every row of every table."""
    with transaction(read_only=True) as session:
        return {
            table.name: sorted(map(repr, session.execute(select(table))))
            for table in Base.metadata.sorted_tables
            if table.name not in but
        }


def test_these_tests_know_every_route(app: Flask, cast: Cast) -> None:
    routes = [one for one in every(app) if isinstance(one, Route)]
    assert len(routes) > 20
    assert all("<" not in one.path(cast) for one in routes)
