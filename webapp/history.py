"""Task history: what runs and what is over in a business."""

from __future__ import annotations

from flask import Response

from jobs.filters import View
from tenants.permissions import May
from webapp import lists
from webapp.access import access, business_blueprint

bp = business_blueprint("history")


@bp.get("/history")
@access(May.SEE_ALL)
def index() -> Response:
    """Running, cancelling and final tasks."""
    return lists.page(View.HISTORY, "history/index.html")
