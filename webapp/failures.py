"""Failures: what went wrong in a business by task type and error, to resolve and to ignore."""

from __future__ import annotations

from typing import Any

from flask import Response, g, request, url_for

from jobs import failures
from jobs.failure_filters import FailureFilter, FailureState
from jobs.filters import SIZES
from jobs.models import Failure
from tenants.errors import Invalid
from tenants.permissions import May
from webapp import db, formats, htmx
from webapp.access import access, business_blueprint
from webapp.columns import Column

COLUMNS = (
    Column("error", "Error", "error", newest_first=False),
    Column("type", "Task Type", "type", newest_first=False),
    Column("count", "Count", "count", newest_first=True),
    Column("first", "First", "first", newest_first=True),
    Column("last", "Last", "last", newest_first=True),
)

bp = business_blueprint("failures")


@bp.get("/failures")
@access(May.SEE_ALL)
def index() -> Response:
    """The groups of failed tasks, sorted; the open ones unless the address asks for others."""
    wanted = FailureFilter.from_args(request.args)
    return htmx.page(
        "failures/index.html",
        fragment="failures/_table.html",
        wanted=wanted,
        found=failures.search(db.session, g.actor, wanted),
        columns=COLUMNS,
        states=tuple(FailureState),
        sizes=SIZES,
    )


@bp.post("/failures/<int:failure_id>/state")
@access(May.MANAGE)
def change(failure_id: int) -> Response:
    """Resolve a group, ignore it, or open it again: `to`. What is undone must have the state `was` still."""
    to, was = _state("to"), _state("was") if "was" in request.values else None
    failures.get(db.session, g.actor, failure_id)
    if to is None:
        raise Invalid("Say what becomes of it: open, resolved or ignored.", field="to")
    failure, before = failures.change(db.session, g.actor, failure_id, to, was=was)
    undo = url_for("failures.change", failure_id=failure.id, to=before, was=to) if was is None else None
    shown: dict[str, Any] = dict(FailureFilter(state=before).args())
    to_list = url_for("failures.index", **shown)
    return htmx.done(_message(failure, to), "failures-changed", to=to_list, undo=undo if before is not to else None)


def _state(name: str) -> FailureState | None:
    value = request.values.get(name, "")
    return FailureState(value) if value in set(FailureState) else None


def _message(failure: Failure, to: FailureState) -> str:
    what = f"“{failures.error_of(failure)}” of {formats.type_title(failure.task_type)}"
    match to:
        case FailureState.RESOLVED:
            return f"Resolved: {what}. It is open again when it fails again."
        case FailureState.IGNORED:
            return f"Ignored: {what}."
        case _:
            return f"Open: {what}."
