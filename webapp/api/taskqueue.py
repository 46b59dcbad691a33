"""`/api/taskqueue`: a task to try the queue with."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from werkzeug.exceptions import BadRequest

from jobs import submitting
from jobs.payloads import BadPayload
from tenants.errors import Invalid
from webapp import db
from webapp.access import LOGIN, access, enter, usual_business
from webapp.errors import NotJson

bp = Blueprint("taskqueue", __name__, url_prefix="/api/taskqueue")


@bp.post("/test_task")
@access(LOGIN)
def test_task() -> Response:
    """Submit a task that counts `times` rounds of about a second, in `business` or where the user was last."""
    body = _body()
    actor = enter(_slug(body.get("business")))
    try:
        task_id = submitting.submit_as(db.session, actor, "test.count", {"times": body.get("times")})
    except BadPayload as error:
        raise Invalid(error.message, field="times") from None
    response = jsonify(id=task_id, url=url_for("tasks.show", task_id=task_id))
    response.status_code = 201
    return response


def _body() -> dict[str, Any]:
    try:
        body = request.get_json()
    except BadRequest:
        raise NotJson from None
    except RecursionError:
        raise Invalid("This JSON is nested too deeply.") from None
    if not isinstance(body, dict):
        raise Invalid("Send a JSON object.")
    return body


def _slug(wanted: Any) -> str:
    """The business that the body names, else the usual one."""
    if isinstance(wanted, str):
        return wanted
    usual = usual_business() if wanted is None else None
    if usual is None:
        raise Invalid("Name a business by its short name.", field="business")
    return usual.slug
