"""Background-Tasks: a user's own tasks in the business."""

from __future__ import annotations

from flask import Response, g, request

from jobs import lists, pauses
from jobs.filters import TaskFilter
from jobs.lists import Tab
from tenants.permissions import May
from webapp import db, htmx
from webapp.access import access, business_blueprint

bp = business_blueprint("background")


@bp.get("/background-tasks")
@access(May.ENTER)
def index() -> Response:
    """One tab of them: Pending, unless the address names another."""
    tab = Tab(request.args["tab"]) if request.args.get("tab") in set(Tab) else Tab.PENDING
    wanted = TaskFilter.from_args(request.args)
    found = lists.own(db.session, g.actor, tab, wanted)
    return htmx.page(
        "background/index.html",
        fragment="background/_list.html",
        tab=tab,
        tabs=list(Tab),
        counts={one: lists.count_own(db.session, g.actor, one) for one in Tab},
        found=found,
        wanted=wanted,
        held_by=pauses.of_tasks(db.session, g.actor, found.pause_ids()),
    )
