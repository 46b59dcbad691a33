"""Who may come in: each route declares it, and one that does not is answered with 404."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, current_app, g, make_response, redirect, request, session, url_for
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from werkzeug.routing import IntegerConverter

from tenants import accounts, businesses, members
from tenants.database import transaction
from tenants.errors import NotFound
from tenants.models import Business, Login, User
from tenants.permissions import Actor, May
from webapp import db, htmx
from webapp.security import is_framed
from webapp.settings import settings

EMBED = "embed"  # the blueprint of what host applications show
_OF_HOSTS = {EMBED, "refs"}  # what their pages ask for is not where the user was last
_ALONE = {f"{EMBED}.count", "refs.index"}  # and this they ask for by themselves
_NOTE_AFTER = timedelta(minutes=1)
_LOCAL = re.compile(r"/(?!/)[^\\\x00-\x1f\x7f]*")
_View = TypeVar("_View", bound=Callable[..., Any])


class Door(enum.Enum):
    """What a route asks for when it asks for no permission in a business."""

    PUBLIC = "anybody"
    LOGIN = "everybody who is logged in"


PUBLIC, LOGIN = Door.PUBLIC, Door.LOGIN


def access(needed: Door | May) -> Callable[[_View], _View]:
    """Declare who may use a route. It stands right below the route."""

    def declare(view: _View) -> _View:
        setattr(view, "access", needed)  # noqa: B010 - functions have no such attribute for mypy
        return view

    return declare


def declared(app: Flask, endpoint: str) -> Door | May | None:
    """What the route of this endpoint declares."""
    return getattr(app.view_functions.get(endpoint), "access", None)


def business_blueprint(name: str) -> Blueprint:
    """A blueprint whose pages belong to a business: they have it in their address, and `g.actor` is in it."""
    return Blueprint(name, f"webapp.{name}", url_prefix="/b/<business>")


def init_app(app: Flask) -> None:
    """Ask every request who it is."""
    app.url_map.converters["int"] = IdConverter
    logins = LoginManager()
    logins.session_protection = None  # a phone changes its address; the token alone opens a login
    logins.user_loader(_find_visitor)
    logins.init_app(app, add_context_processor=False)
    app.url_value_preprocessor(_take_business)
    app.url_defaults(_give_business)
    app.before_request(_guard)


def note_presence(app: Flask) -> None:
    """Keep logins from ending while somebody is there. Pages that refresh themselves are nobody."""

    @app.after_request
    def note(response: Response) -> Response:
        login = visitor()
        if login and not _is_alone() and datetime.now(UTC) - login.seen_at > _NOTE_AFTER:
            with transaction() as own:
                accounts.touch_login(own, login)
        return response


class IdConverter(IntegerConverter):
    """An id in an address: one that no database could hold is answered like a missing one."""

    def __init__(self, map: Any, max: int = 2**63 - 1, **options: Any) -> None:  # noqa: A002 - Werkzeug's names
        super().__init__(map, max=max, **options)


class Visitor(UserMixin):
    """Somebody with an open login, as Flask-Login wants it: known by the login's token.

    `actor` is who they are in the business of this page, if they may be there.
    """

    def __init__(self, token: str, login: Login | None = None, actor: Actor | None = None) -> None:
        self.token = token
        self.login = login
        self.actor = actor

    def get_id(self) -> str:
        """What the session keeps."""
        return self.token


def begin(user: User) -> None:
    """Log somebody in, with a new token and a new session."""
    end()
    token = accounts.begin_login(db.session, user, request.remote_addr)
    login_user(Visitor(token))


def end() -> Login | None:
    """Log out whoever is logged in; answer the login that ended."""
    login = current_user.login if current_user.is_authenticated else None
    if login:
        accounts.end_login(db.session, login)
    logout_user()
    session.clear()
    return login


def visitor() -> Login | None:
    """The login of whoever asks, once they were let in."""
    login: Login | None = g.get("login")
    return login


def me() -> Login:
    """The login of whoever asks, on a route that declares LOGIN or more."""
    login: Login = g.login
    return login


def enter(slug: str) -> Actor:
    """Be in a business from now on. NotFound alike for a foreign one and a missing one."""
    actor = members.enter(db.session, me().user, slug)
    g.actor = actor
    return actor


def usual_business() -> Business | None:
    """The business that the user was in last, else their first one."""
    known = businesses.open_to(db.session, me().user)
    return next((one for one in known if one.slug == session.get("business")), known[0] if known else None)


def local_path(target: str | None) -> str | None:
    """The address if it is a path of this site, so that nobody is led elsewhere."""
    return target if target and _LOCAL.fullmatch(target) else None


def _find_visitor(token: str) -> Visitor | None:
    known = settings()
    arrival = members.arrive(
        db.session,
        token,
        g.get("slug"),
        idle=timedelta(minutes=known.session_idle_minutes),
        longest=timedelta(hours=known.session_hours),
    )
    return Visitor(token, arrival.login, arrival.actor) if arrival else None


def _take_business(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.slug = values.pop("business", None) if values else None


def _give_business(endpoint: str, values: dict[str, Any]) -> None:
    """Links from a page of a business lead into the same business, unless they name another."""
    if "actor" in g and current_app.url_map.is_endpoint_expecting(endpoint, "business"):
        values.setdefault("business", g.actor.business.slug)


def _guard() -> Response | None:
    """Let in whoever the route's declaration allows."""
    needed = declared(current_app, request.endpoint or "")
    if needed is PUBLIC:
        return None
    if needed is None:  # there is no such page, for whomever it may be
        g.login = current_user.login if current_user.is_authenticated else None
        raise request.routing_exception or NotFound
    if not current_user.is_authenticated:
        return _ask_to_log_in()
    g.login = current_user.login
    if isinstance(needed, May):
        if current_user.actor is None:
            raise NotFound
        g.actor = current_user.actor
        g.actor.require(needed)
        if request.blueprint not in _OF_HOSTS:
            _remember(g.slug)
    return None


def _is_alone() -> bool:
    """Whether a page asks by itself, be it one of a host application."""
    return htmx.is_poll() or request.endpoint in _ALONE


def _remember(slug: str) -> None:
    if session.get("business") != slug:
        session["business"] = slug


def _ask_to_log_in() -> Response | None:
    """The way to the login page and back."""
    if request.path.startswith("/api/"):
        from webapp.errors import problem

        return problem(401, "Log in first.")
    if htmx.is_htmx():
        here = urlsplit(request.headers.get("HX-Current-URL", ""))
        login = url_for("auth.login", next=_back_to(f"{here.path}?{here.query}"))
        response = make_response("", 401)
        response.headers["HX-Redirect"] = here.path if is_framed(here.path) else login
        return response
    if request.blueprint == EMBED:
        back = url_for("background.index", business=g.slug)
        return htmx.page("embed/login.html", status=401, to=url_for("auth.login", next=_back_to(back)))
    return make_response(redirect(url_for("auth.login", next=_back_to(request.full_path) if db.is_safe() else None)))


def _back_to(path: str) -> str | None:
    path = path.removesuffix("?")
    return local_path(path) if path != "/" else None
