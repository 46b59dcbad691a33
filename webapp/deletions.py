"""Deleting a task, with half a minute to undo it."""

from __future__ import annotations

from flask import Response, g, url_for

from jobs import deletions
from jobs.states import State
from tenants.errors import Conflict
from tenants.permissions import May
from webapp import acts, db, htmx
from webapp.access import access
from webapp.tasks import bp


@bp.route("/tasks/<int:task_id>/deletion", methods=["GET", "POST"])
@access(May.SUBMIT)
def deletion(task_id: int) -> Response:
    """Warn, then delete a task that waits or is over. Members delete their own."""
    if db.is_safe():
        return acts.page("deletion", task_id)
    try:
        state = deletions.begin(db.session, g.actor, task_id)
    except Conflict as error:
        return acts.page("deletion", task_id, error)
    waits = state is State.CANCELLING
    message = f"Task {task_id} will not start." if waits else f"Task {task_id} is deleted."
    to = url_for("tasks.show", task_id=task_id) if waits else url_for("home.business")
    return htmx.done(message, "tasks-changed", to=to, undo=url_for("tasks.restoration", task_id=task_id))


@bp.post("/tasks/<int:task_id>/restoration")
@access(May.SUBMIT)
def restoration(task_id: int) -> Response:
    """Undo a deletion while there is time."""
    deletions.undo(db.session, g.actor, task_id)
    return htmx.done(f"Task {task_id} is back.", "tasks-changed", to=url_for("tasks.show", task_id=task_id))
