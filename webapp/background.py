"""Background-Tasks: a user's own tasks in the business."""

from __future__ import annotations

from flask import Response, g, make_response, render_template, request

from jobs import lists, pauses
from jobs.counting import Count
from jobs.filters import TaskFilter
from jobs.lists import Tab
from tenants.permissions import Actor, May
from webapp import db, htmx
from webapp.access import access, business_blueprint

MOST = 99  # the badge tells no more than that

bp = business_blueprint("background")


@bp.get("/background-tasks")
@access(May.ENTER)
def index() -> Response:
    """One tab of them: Pending, unless the address names another. The badge of the header asks for itself only."""
    if htmx.is_partial() and htmx.target() == "background-badge":
        return _badge()
    return page("background/index.html")


def page(template: str) -> Response:
    """The tab that the address names, in a page of this template, or only the part that is asked for."""
    tab = Tab(request.args["tab"]) if request.args.get("tab") in set(Tab) else Tab.PENDING
    wanted = TaskFilter.from_args(request.args)
    found = lists.own(db.session, g.actor, tab, wanted)
    return htmx.page(
        template,
        fragment="background/_list.html" if htmx.target() == "background-list" else "background/_index.html",
        tab=tab,
        tabs=list(Tab),
        counts={one: lists.count_own(db.session, g.actor, one) for one in Tab},
        found=found,
        wanted=wanted,
        in_force=pauses.in_force(db.session, g.actor, own=True),
        own=True,
        held_by=pauses.of_tasks(db.session, g.actor, found.pause_ids()),
    )


def _badge() -> Response:
    g.is_fragment = True
    return make_response(render_template("background/_badge.html", here=g.actor, own_count=unfinished(g.actor)))


def unfinished(by: Actor) -> Count:
    """How many own tasks are not over."""
    number = lists.count_own(db.session, by, Tab.PENDING).number
    return Count(min(number, MOST), number > MOST)
