"""The audit log of a business."""

from __future__ import annotations

from flask import Response, g

from tenants import audit
from tenants.permissions import May
from webapp import db, htmx
from webapp.access import access, business_blueprint

bp = business_blueprint("audit")


@bp.get("/audit")
@access(May.AUDIT)
def index() -> Response:
    """Who did what, newest first."""
    return htmx.page("audit/index.html", entries=audit.search(db.session, g.actor))
