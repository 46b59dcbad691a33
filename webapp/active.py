"""Active tasks: what waits and runs in a business at this moment."""

from __future__ import annotations

from flask import Response, g

from jobs import backlog, pauses
from jobs.filters import View
from tenants.permissions import May
from webapp import db, htmx, lists
from webapp.access import access, business_blueprint

bp = business_blueprint("active")


@bp.get("/active")
@access(May.SEE_ALL)
def index() -> Response:
    """The live queue: waiting, running and cancelling tasks."""
    return lists.page(
        View.ACTIVE,
        "active/index.html",
        around=lambda _: {
            "backlogs": backlog.search(db.session, g.actor),
            "in_force": pauses.in_force(db.session, g.actor),
        },
    )


@bp.get("/active/queues")
@access(May.SEE_ALL)
def queues() -> Response:
    """How much waits in each queue, and since when."""
    return htmx.page("active/queues.html", fragment="active/_queues.html", backlogs=backlog.search(db.session, g.actor))
