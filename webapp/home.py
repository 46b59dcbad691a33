"""Where one lands, help, and the sign of life."""

from __future__ import annotations

from flask import Blueprint, Response, g, make_response, redirect, url_for

from tenants.permissions import May
from webapp import htmx
from webapp.access import LOGIN, PUBLIC, access, usual_business

bp = Blueprint("home", __name__)


@bp.get("/")
@access(LOGIN)
def index() -> Response:
    """Go to the business that the user was in last."""
    usual = usual_business()
    if usual is None:
        return htmx.page("home/none.html")
    return make_response(redirect(url_for("home.business", business=usual.slug)))


@bp.get("/b/<business>/")
@access(May.ENTER)
def business() -> Response:
    """Go to the first page of a business: all tasks, or one's own."""
    first = "tasks.index" if g.actor.may(May.SEE_ALL) else "background.index"
    return make_response(redirect(url_for(first)))


@bp.get("/help")
@access(LOGIN)
def help() -> Response:  # noqa: A001 - it is called Help
    """What background tasks are, and how to use these pages."""
    return htmx.page("home/help.html")


@bp.get("/help/keys")
@access(LOGIN)
def keys() -> Response:
    """The keys, and whether single ones count."""
    return htmx.page("home/keys.html", fragment="home/_keys.html")


@bp.get("/healthz")
@access(PUBLIC)
def healthz() -> Response:
    """Tell that this process lives, and nothing else."""
    response = make_response("ok")
    response.mimetype = "text/plain"
    return response
