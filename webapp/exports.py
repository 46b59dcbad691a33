"""Exports: a list of tasks as a file, made by a task of its own."""

from __future__ import annotations

from typing import Any

from flask import Response, g, request, url_for

from jobs import submitting
from tenants.permissions import May
from webapp import db, htmx, lists
from webapp.access import access, business_blueprint

bp = business_blueprint("exports")


@bp.post("/exports")
@access(May.SUBMIT)
def create() -> Response:
    """Submit an export of all tasks that the filter matches, as CSV or JSON."""
    wanted = lists.asked(request.form)
    asked: dict[str, Any] = {
        "filter": wanted.args(after="", before=""),
        "view": str(wanted.view),
        "zone": str(wanted.zone),
    }
    if request.form.get("format") == "json":
        asked["format"] = "json"
    task_id = submitting.submit_as(db.session, g.actor, "tasks.export", asked, title="Export of tasks")
    page = url_for("tasks.show", task_id=task_id)
    return htmx.done("The export is under way. Its task has the file.", "tasks-changed", to=page, href=page)
