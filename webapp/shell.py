"""What every template knows: who looks, in which business, and where else they could go."""

from __future__ import annotations

from typing import Any

from flask import Flask, g

from jobs.states import State
from tenants import businesses, members
from tenants.permissions import Actor, May
from webapp import access, background, db


def init_app(app: Flask) -> None:
    """Give it to the templates."""
    app.context_processor(_known)
    app.jinja_env.globals.update(May=May, State=State)


def _here() -> Actor | None:
    """Whom the header is for: on a page outside businesses, the user in the business where they were last."""
    if "actor" in g:
        actor: Actor = g.actor
        return actor
    usual = access.usual_business()
    return members.enter(db.session, access.me().user, usual.slug) if usual else None


def _known() -> dict[str, Any]:
    """Of a request that broke nothing is known: it may be the database that is broken."""
    login = None if g.get("is_broken") else access.visitor()
    user = login.user if login else None
    partial = g.get("is_fragment", False)
    here = _here() if user and not partial else None
    return {
        "user": user,
        "actor": g.get("actor") if user else None,
        "here": here,
        "own_count": background.unfinished(here) if here else 0,
        "businesses": businesses.open_to(db.session, user) if user and not partial else [],
        "is_partial": partial,
    }
