"""Background-Tasks in a page of a host application: whose page may do so, what it may read, who gets in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from config import BadSetting, Config
from jobs.models import Task
from tenants.clock import clock
from tenants.database import transaction
from tenants.models import Login
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import PART, Browser
from tests.webapp.conftest import HOST
from webapp import create_app
from webapp.security import CSP

only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
As = Callable[..., Browser]
FRAME, COUNT = "/b/acme/background-tasks/embed", "/b/acme/background-tasks/embed/count"
PATHS = (FRAME, COUNT, "/embed.js")


@only_sqlite
def test_only_the_embedded_page_may_be_framed_and_only_by_hosts_that_are_named(cast: Cast, ben: Browser) -> None:
    policies = {
        path: ben.raw("GET", path).headers["Content-Security-Policy"]
        for path in (*PATHS, "/b/acme/background-tasks", "/login", "/account", f"{FRAME}/x", "/b/no-such/tasks")
    }
    assert policies.pop(FRAME).endswith(f"frame-ancestors {HOST}")
    assert set(policies.values()) == {CSP}
    assert ben.raw("GET", FRAME.replace("acme", "initech")).headers["Content-Security-Policy"].endswith(HOST)


@only_sqlite
def test_without_hosts_nothing_is_there_to_embed(config: Config, app: Flask, cast: Cast) -> None:
    closed = Browser(create_app(config.model_copy(update={"embed_origins": ()})), rows.login(cast.ben.user))
    for path in PATHS:
        response = closed.raw("GET", path)
        assert (response.status_code, response.headers["Content-Security-Policy"]) == (404, CSP), path


@pytest.mark.parametrize(
    "origins",
    [
        "https://shop.example.com/",
        "https://shop.example.com/tasks",
        "https://*.example.com",
        "*",
        "null",
        "shop.example.com",
        "ftp://shop.example.com",
        "https://SHOP.example.com",
        "https://shop.example.com:443",
        "http://shop.example.com:80",
        "https://ada@shop.example.com",
        "https://shop.example.com; script-src *",
        "https://ok.example.com,https://shop.example.com https://evil.example",
    ],
)
def test_an_origin_that_is_not_exact_stops_the_start(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    monkeypatch.setenv("EMBED_ORIGINS", origins)
    with pytest.raises(BadSetting, match=r"^EMBED_ORIGINS: .* is no exact origin\. Write scheme, host"):
        Config.from_env()


def test_several_origins_with_ports_and_addresses_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBED_ORIGINS", "https://shop.example.com, http://127.0.0.1:9000,http://[::1]:9000")
    found = Config.from_env().embed_origins
    assert found == ("https://shop.example.com", "http://127.0.0.1:9000", "http://[::1]:9000")


@only_sqlite
def test_the_page_has_the_list_without_our_header_and_its_links_leave_the_frame(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben)
    page = ben.get(FRAME)
    assert page.rows() == [id_]
    assert not page.all("header")
    assert page.all("base", target="_blank")
    (link,) = page.all("a", id_=f"own-open-{id_}")
    assert (link["href"], link.get("hx-get")) == (f"/b/acme/tasks/{id_}", None)
    part = ben.htmx(FRAME, **{"HX-Target": "section#background-list", "HX-Source": "section#background-list"})
    assert str(part.roots[0][1]["hx-get"]).startswith(FRAME)
    assert all(str(a["href"]).startswith(FRAME) for a in part.all("a", class_="tab"))


@only_sqlite
def test_whoever_is_not_logged_in_gets_a_link_and_not_a_dead_frame(app: Flask, cast: Cast) -> None:
    nobody = Browser(app)
    page = nobody.get(FRAME, 401)
    (link,) = page.all("a", id_="embed-login")
    assert link["href"] == "/login?next=/b/acme/background-tasks"
    assert nobody.raw("GET", COUNT).status_code == 401
    in_the_frame = PART | {"HX-Current-URL": f"http://localhost{FRAME}?tab=failed"}
    for path in (FRAME, "/b/acme/tasks/1/deletion"):
        assert nobody.raw("GET", path, headers=in_the_frame).headers["HX-Redirect"] == FRAME


@only_sqlite
def test_only_named_hosts_may_read_the_number_of_own_tasks(cast: Cast, ben: Browser, as_user: As) -> None:
    for who in (cast.ben, cast.ben, cast.cleo):
        rows.task(cast.acme, who)
    rows.task(cast.acme, cast.ben, "completed")
    for origin, allowed in ((HOST, HOST), ("https://evil.example", None), ("null", None)):
        response = ben.raw("GET", COUNT, headers={"Origin": origin})
        assert response.headers.get("Access-Control-Allow-Origin") == allowed
        assert response.headers.get("Access-Control-Allow-Credentials") == ("true" if allowed else None)
        assert "Origin" in response.vary
    assert response.json == {"unfinished": 2, "is_capped": False}
    assert "Access-Control-Allow-Origin" not in ben.raw("GET", FRAME, headers={"Origin": HOST}).headers
    assert as_user("zoe").raw("GET", COUNT).status_code == 404
    assert rows.number_of(Task) == 4


@only_sqlite
def test_only_the_script_may_be_loaded_from_elsewhere_and_it_is_the_same_for_everybody(
    app: Flask, ben: Browser
) -> None:
    script = ben.raw("GET", "/embed.js")
    assert script.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert script.data == Browser(app).raw("GET", "/embed.js").data
    assert "Set-Cookie" not in script.headers
    assert ben.raw("GET", FRAME).headers["Cross-Origin-Resource-Policy"] == "same-origin"


@only_sqlite
def test_a_badge_that_renews_itself_keeps_no_login_alive(cast: Cast, ben: Browser) -> None:
    with transaction() as session:
        session.execute(update(Login).values(seen_at=clock(-20 * 60)))
    seen = {}
    for path in (COUNT, FRAME):
        ben.raw("GET", path)
        with transaction(read_only=True) as session:
            seen[path] = datetime.now(UTC) - session.query(Login).one().seen_at
    assert seen[COUNT] > timedelta(minutes=19)
    assert seen[FRAME] < timedelta(minutes=1), "to open the dialog is a click"


@only_sqlite
def test_a_host_in_another_tab_does_not_change_where_ada_was_last(ada: Browser) -> None:
    ada.get("/b/globex/tasks")
    ada.get(FRAME)
    ada.raw("GET", COUNT)
    assert str(ada.get("/", 302).response.location) == "/b/globex/"
