"""Interrupting a task, and letting one start now that waits for its time."""

from __future__ import annotations

from flask import Response, g, url_for

from jobs import interrupts, tasks
from jobs.states import State
from tenants.errors import Conflict
from tenants.permissions import May
from webapp import acts, db, htmx
from webapp.access import access
from webapp.tasks import bp


@bp.route("/tasks/<int:task_id>/interruption", methods=["GET", "POST"])
@access(May.SUBMIT)
def interruption(task_id: int) -> Response:
    """Warn, then stop a task for good. Members stop their own."""
    if db.is_safe():
        return acts.page("interruption", task_id)
    try:
        state = interrupts.interrupt(db.session, g.actor, task_id)
    except Conflict as error:
        return acts.page("interruption", task_id, error)
    became = "is canceled" if state is State.CANCELED else "is asked to stop"
    return htmx.done(f"Task {task_id} {became}.", "tasks-changed", to=url_for("tasks.show", task_id=task_id))


@bp.route("/tasks/<int:task_id>/start", methods=["GET", "POST"])
@access(May.SUBMIT)
def start(task_id: int) -> Response:
    """Tell what it waits for, then let it start as soon as a worker is free."""
    if db.is_safe():
        return acts.page("start", task_id)
    try:
        tasks.retry_now(db.session, g.actor, task_id)
    except Conflict as error:
        return acts.page("start", task_id, error)
    message = f"Task {task_id} starts as soon as a worker is free."
    return htmx.done(message, "tasks-changed", to=url_for("tasks.show", task_id=task_id))
