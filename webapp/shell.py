"""What every template knows: who looks, in which business, and where else they could go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app, g, request, url_for

from jobs.states import State
from tenants import members, preferences
from tenants.models import Business
from tenants.permissions import Actor, May
from webapp import access, background, db

_KEPT = ("q", "state", "sort", "size", "tab")  # of an address, on the way to another business: no ids, no cursors


@dataclass(frozen=True)
class Page:
    """A page of the Admin menu. `key` leads there after a `g`."""

    text: str
    endpoint: str
    icon: str
    key: str = ""


PAGES = (
    Page("Async Tasks", "tasks.index", "list-check", "t"),
    Page("Active tasks", "active.index", "activity", "a"),
    Page("Task history", "history.index", "history", "h"),
    Page("Failures", "failures.index", "alert-triangle", "f"),
    Page("Pauses", "pauses.index", "player-pause", "p"),
    Page("Audit log", "audit.index", "menu-2", "u"),
)


def init_app(app: Flask) -> None:
    """Give it to the templates."""
    app.context_processor(_known)
    app.jinja_env.globals.update(May=May, State=State, every=every, prefers=prefers, RATES=preferences.RATES)


def prefers(name: str) -> Any:
    """What whoever looks prefers."""
    login = access.visitor()
    return preferences.get(login.user, name) if login else None


def every(seconds: int | None = None) -> str:
    """What makes a fragment renew itself, as a part of its `hx-trigger`: at the user's rate, or each `seconds`.

    When live refresh is off it is an event that only the refresh key sends.
    """
    rate = prefers("rate") or "2"
    return "renew" if rate == "off" else f"every {seconds or rate}s"


def admin_pages(actor: Actor) -> list[Page]:
    """The pages of the Admin menu that are there, and that the actor may see."""
    return [one for one in PAGES if actor.may(May.SEE_ALL) and _is_open(one.endpoint, actor)]


def address_in(there: Actor) -> str:
    """The page that is open now, in another business: the list of the same things, or the first page there."""
    noun = f"{(request.endpoint or '').partition('.')[0]}.index"
    if not isinstance(access.declared(current_app, noun), May) or not _is_open(noun, there):
        return url_for("home.business", business=there.business.slug)
    is_list = request.endpoint == noun
    kept: dict[str, Any] = {name: request.args[name] for name in _KEPT if is_list and request.args.get(name)}
    return url_for(noun, business=there.business.slug, **kept)


def _is_open(endpoint: str, actor: Actor) -> bool:
    needed = access.declared(current_app, endpoint)
    return isinstance(needed, May) and actor.may(needed)


def _known() -> dict[str, Any]:
    """Of a request that broke nothing is known: it may be the database that is broken."""
    login = None if g.get("is_broken") else access.visitor()
    user = login.user if login else None
    partial = g.get("is_fragment", False)
    switchable = members.everywhere(db.session, user) if user and not partial else []
    here = _here(switchable)
    return {
        "user": user,
        "actor": g.get("actor") if user else None,
        "here": here if user and not partial else None,
        "own_count": background.unfinished(here) if here and user and not partial else None,
        "switchable": switchable,
        "address_in": address_in,
        "pages": admin_pages(here) if here else [],
        "is_partial": partial,
        "embedded": request.blueprint == access.EMBED,
    }


def _here(switchable: list[Actor]) -> Actor | None:
    """Whom the header is for: on a page outside businesses, the user in the business where they were last."""
    if "actor" in g:
        actor: Actor = g.actor
        return actor
    usual: Business | None = access.usual_business() if switchable else None
    return next((one for one in switchable if usual and one.business.id == usual.id), None)
