"""Logging in and out: who gets in, where they land, and what stops those who guess."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from config import BadSetting, Config
from tenants import accounts
from tenants.accounts import DEMO_PASSWORD
from tenants.clock import clock
from tenants.database import Sessions, transaction
from tenants.models import Login, User
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import PART, Browser, Document
from webapp import create_app
from webapp.access import local_path

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
As = Callable[..., Browser]
ADA, BEN = "ada@example.com", "ben@example.com"


def log_in(browser: Browser, email: str, password: str = DEMO_PASSWORD, status: int = 303, **form: str) -> Any:
    return browser.post("/login", status, email=email, password=password, **form)


def test_a_login_leads_to_the_first_business(app: Flask, cast: Cast) -> None:
    browser = Browser(app)
    assert log_in(browser, "  ADA@example.com ").location == "/"
    assert browser.get("/", 302).response.location == "/b/acme/"
    assert str(browser.raw("GET", "/b/acme").location).endswith("/b/acme/")
    assert browser.get("/b/acme/", 302).response.location == "/b/acme/tasks"
    assert "Ada Lovelace" in browser.get("/b/acme/tasks").text
    (entry,) = rows.audited("login")
    assert (entry.user_id, entry.subject, entry.outcome) == (cast.ada.user.id, "ADA@example.com", "done")


def test_a_login_leads_back_to_the_page_that_was_asked_for(app: Flask) -> None:
    browser = Browser(app)
    asked = browser.get("/b/acme/tasks?q=ben&size=25", 302).response
    page = browser.get(str(asked.location))
    wanted = page.all("input", name="next")[0]["value"]
    assert wanted == "/b/acme/tasks?q=ben&size=25"
    assert log_in(browser, ADA, next=str(wanted)).location == wanted


def test_whose_login_has_ended_is_told_and_comes_back_to_the_page(app: Flask, cast: Cast) -> None:
    browser = Browser(app)
    told = "Your login has ended."
    assert told not in browser.get("/login?next=/account").text
    log_in(browser, ADA)
    with transaction() as session:
        accounts.end_all_logins(session, cast.ada.user)
    asked = browser.get("/b/acme/tasks?q=ben", 302).response
    page = browser.get(str(asked.location))
    assert told in page.text
    assert page.all("p", role="alert")
    log_in(browser, ADA, next="/b/acme/tasks?q=ben")
    browser.post("/logout")
    assert told not in browser.get("/login").text


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil",
        "/\tevil",
        "/\n/evil",
        "javascript:x",
        "",
    ],
)
def test_nobody_is_led_elsewhere(app: Flask, elsewhere: str) -> None:
    assert local_path(elsewhere) is None
    assert log_in(Browser(app), ADA, next=elsewhere).location == "/"


@pytest.mark.parametrize("email", [ADA, "nobody@example.com", "root@example.com"])
def test_a_wrong_password_never_tells_whether_there_is_an_account(app: Flask, email: str) -> None:
    page = Document(log_in(Browser(app), email, "wrong password", 422))
    assert "This e-mail address and password do not match." in page.text
    assert page.all("input", name="email")[0]["value"] == email
    (entry,) = rows.audited("login")
    assert (entry.subject, entry.outcome) == (email, "refused")
    assert rows.number_of(Login) == 0


def test_a_disabled_account_stays_out(app: Flask, cast: Cast, ada: Browser) -> None:
    with transaction() as session:
        session.execute(update(User).where(User.id == cast.ada.user.id).values(disabled_at=clock()))
    log_in(Browser(app), ADA, status=422)
    ada.get("/account", 302)


def test_the_demo_password_opens_nothing_outside_a_demo(config: Config, app: Flask) -> None:
    production = create_app(config.model_copy(update={"demo": False}))
    browser = Browser(production)
    assert "Demo logins" not in browser.get("/login").text
    log_in(browser, ADA, status=422)


def test_the_eleventh_wrong_password_in_a_minute_is_not_even_looked_at(app: Flask) -> None:
    browser = Browser(app)
    for _ in range(10):
        log_in(browser, BEN, "wrong password", 422)
    refused = log_in(browser, BEN.upper(), "wrong password", 429)
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert "Too many requests" in Document(refused).text
    log_in(browser, BEN, status=429)
    log_in(Browser(app), ADA)
    assert len([one for one in rows.audited("login") if one.outcome == "refused"]) == 10


def test_a_try_that_was_refused_is_in_the_audit_log_and_a_flood_is_not_all_of_it(app: Flask, cast: Cast) -> None:
    browser = Browser(app)
    for _ in range(10):
        log_in(browser, BEN, "wrong password", 422)
    log_in(browser, BEN, status=429)
    (entry,) = [one for one in rows.audited("login") if one.outcome == "limited"]
    assert (entry.user_id, entry.subject, entry.after) == (cast.ben.user.id, BEN, {"address": "127.0.0.1"})
    for _ in range(15):
        log_in(browser, BEN, status=429)
    assert len([one for one in rows.audited("login") if one.outcome == "limited"]) == 10


@pytest.mark.parametrize("redis", [True, False], ids=["redis", "no redis"])
def test_of_thirty_wrong_passwords_at_once_ten_are_looked_at(config: Config, app: Flask, redis: bool) -> None:
    asked = app if redis else create_app(config.model_copy(update={"redis_url": "unix:///nowhere/r.sock?db=0"}))
    log_in(Browser(asked), ADA)  # whoever asks first notices that there is no Redis
    browsers = [Browser(asked) for _ in range(30)]
    tokens = [one.csrf() for one in browsers]
    at_once = threading.Barrier(len(browsers))

    def guess(browser: Browser, token: str) -> int:
        form = {"email": BEN, "password": "wrong password", "csrf_token": token}
        at_once.wait()
        return browser.raw("POST", "/login", data=form).status_code

    with ThreadPoolExecutor(len(browsers)) as pool:
        found = Counter(pool.map(guess, browsers, tokens))
    assert found == {422: 10, 429: 20}
    assert len([one for one in rows.audited("login") if one.outcome == "refused"]) == 10


def test_what_the_address_limit_refuses_does_not_count_for_the_account(app: Flask) -> None:
    browser = Browser(app)
    for number in range(50):
        log_in(browser, f"guess{number}@example.com", "wrong password", 422)
    for _ in range(12):
        log_in(browser, ADA, "wrong password", 429)
    form = {"email": ADA, "password": "wrong password", "csrf_token": browser.csrf()}
    assert browser.raw("POST", "/login", data=form, environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 422


def test_an_address_that_tries_many_accounts_is_stopped_too(app: Flask) -> None:
    browser = Browser(app)
    for number in range(50):
        log_in(browser, f"guess{number}@example.com", "wrong password", 422)
    log_in(browser, ADA, status=429)
    token, elsewhere = browser.csrf(), {"REMOTE_ADDR": "192.0.2.7"}
    form = {"email": ADA, "password": DEMO_PASSWORD, "csrf_token": token}
    assert browser.raw("POST", "/login", data=form, environ_base=elsewhere).status_code == 303


def test_a_right_password_costs_nothing(app: Flask) -> None:
    for _ in range(12):
        log_in(Browser(app), ADA)


def test_without_redis_people_log_in_and_guessing_is_still_limited(config: Config, app: Flask) -> None:
    lonely = create_app(config.model_copy(update={"redis_url": "unix:///nowhere/r.sock?db=0"}))
    browser = Browser(lonely)
    for _ in range(10):
        log_in(browser, BEN, "wrong password", 422)
    log_in(browser, BEN, status=429)
    log_in(browser, ADA)


def test_each_login_has_a_token_of_its_own(app: Flask, cast: Cast) -> None:
    one, other = Browser(app), Browser(app)
    log_in(one, ADA)
    log_in(other, ADA)
    assert rows.number_of(Login) == 2
    log_in(one, BEN)
    assert "Ben Ito" in one.get("/account").text
    assert "Ada Lovelace" in other.get("/account").text


def test_logging_in_again_ends_the_login_before(app: Flask) -> None:
    browser = Browser(app)
    log_in(browser, ADA)
    old = browser._client.get_cookie("sluice")
    log_in(browser, ADA)
    thief = Browser(app)
    assert old
    thief._client.set_cookie("sluice", old.value)
    thief.get("/account", 302)


def test_after_logging_out_the_cookie_opens_nothing(app: Flask) -> None:
    browser, copy = Browser(app), Browser(app)
    log_in(browser, ADA)
    cookie = browser._client.get_cookie("sluice")
    assert cookie
    copy._client.set_cookie("sluice", cookie.value)
    copy.get("/account")
    assert browser.post("/logout").location == "/login"
    assert browser._client.get_cookie("sluice") is None
    copy.get("/account", 302)
    assert [one.subject for one in rows.audited("logout")] == [ADA]


def test_a_login_of_elsewhere_can_be_ended(as_user: As, cast: Cast) -> None:
    here, phone, ben = as_user("ada"), as_user("ada"), as_user("ben")
    buttons = [str(a["action"]) for a in here.get("/account").all("form") if "/logins/" in str(a.get("action"))]
    (phones,) = [one for one in buttons if not one.endswith("/logins/revocation")]
    ben.post(phones, 404)
    phone.get("/account")
    here.post(phones)
    phone.get("/account", 302)
    here.get("/account")


def test_all_logins_can_be_ended_at_once(as_user: As) -> None:
    here, phone, ben = as_user("ada"), as_user("ada"), as_user("ben")
    assert here.post("/account/logins/revocation").location == "/login"
    for gone in (here, phone):
        gone.get("/account", 302)
    ben.get("/account")


@pytest.mark.parametrize(("column", "minutes"), [("seen_at", 31), ("created_at", 12 * 60 + 1)])
def test_a_login_ends_when_it_was_idle_or_lasted_too_long(ada: Browser, column: str, minutes: int) -> None:
    ada.get("/account")
    _age(column, minutes)
    ada.get("/account", 302)


def test_a_click_keeps_a_login_alive_and_a_page_that_refreshes_itself_does_not(ada: Browser) -> None:
    poll = {"HX-Source": "section#tasks-table", "HX-Target": "section#tasks-table"}
    _age("seen_at", 20)
    ada.htmx("/b/acme/tasks", **poll)
    before = _seen()
    ada.htmx("/b/acme/tasks", **poll | {"HX-Source": "a#sort-user"})
    after = _seen()
    assert (after - before).total_seconds() > 60
    ada.get("/b/acme/tasks")
    assert _seen() == after, "once a minute is enough"


def test_an_ended_login_sends_htmx_to_the_login_page_and_back(app: Flask) -> None:
    headers = PART | {"HX-Current-URL": "http://localhost/b/acme/tasks?q=x"}
    response = Browser(app).raw("GET", "/b/acme/tasks", headers=headers)
    assert (response.status_code, response.data) == (401, b"")
    assert response.headers["HX-Redirect"] == "/login?next=/b/acme/tasks?q%3Dx"


def test_hashing_holds_no_lock(app: Flask, cast: Cast) -> None:
    with transaction() as writer:  # SQLite's one write lock is taken
        writer.connection()
        with Sessions() as session:
            assert accounts.authenticate(session, ADA, DEMO_PASSWORD, demo=True).email == ADA
            assert not session.in_transaction()


@pytest.mark.parametrize("secret", [None, "short"])
def test_the_portal_does_not_start_without_a_proper_secret(config: Config, secret: str | None) -> None:
    with pytest.raises(BadSetting, match="SECRET_KEY: the web server needs one of 32 characters"):
        create_app(Config(**config.model_dump(exclude={"secret_key"}), secret_key=secret))


def _age(column: str, minutes: int) -> None:
    with transaction() as session:
        session.execute(update(Login).values({column: clock(-60.0 * minutes)}))


def _seen() -> Any:
    with transaction(read_only=True) as session:
        return session.query(Login).one().seen_at


@pytest.mark.parametrize(("proxies", "seen"), [(0, "127.0.0.1"), (1, "203.0.113.7")])
def test_only_a_trusted_proxy_tells_who_asks(app: Flask, config: Config, proxies: int, seen: str) -> None:
    behind = Browser(create_app(config.model_copy(update={"trusted_proxies": proxies})))
    form = {"email": ADA, "password": DEMO_PASSWORD, "csrf_token": behind.csrf()}
    behind.raw("POST", "/login", data=form, headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.7"})
    (entry,) = rows.audited("login")
    assert entry.after == {"address": seen}
