"""`/api/v1/businesses/<business>/tasks?ref=`: which tasks build a thing of the host application."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, Response, g, jsonify, request, url_for

from jobs import refs
from jobs.pages import Row
from jobs.states import FINAL
from tenants.errors import Invalid
from tenants.permissions import May
from webapp import db
from webapp.access import access
from webapp.security import share_with_hosts

bp = Blueprint("refs", __name__, url_prefix="/api/v1/businesses/<business>")
bp.after_request(share_with_hosts)


@bp.get("/tasks")
@access(May.ENTER)
def index() -> Response:
    """The tasks that carry `ref`, newest first, `limit` at most; `before` is the `next` of the page before."""
    before, limit = _number("before"), _number("limit")
    ref = request.args.get("ref", "")
    found = refs.search(db.session, g.actor, ref, before=before, limit=refs.USUAL if limit is None else limit)
    return jsonify(tasks=[_described(row) for row in found.rows], next=found.older)


def _described(row: Row) -> dict[str, Any]:
    task = row.task
    return {
        "id": task.id,
        "ref": task.ref,
        "task_type": task.task_type,
        "title": task.title or row.type_title,
        "state": row.state,
        "finished": row.state in FINAL,
        "progress": {"done": task.progress_done, "total": task.progress_total, "step": task.step},
        "created_at": _written(task.created_at),
        "ended_at": _written(task.ended_at),
        "url": url_for("tasks.show", task_id=task.id),
    }


def _written(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _number(name: str) -> int | None:
    written = request.args.get(name)
    if written is None:
        return None
    if not (written.isascii() and written.isdigit() and 0 < len(written) < 19):
        raise Invalid("This is not a whole number.", field=name)
    return int(written)
