"""The tasks of a business: the list, and editing one. Further modules add the other pages of a task to `bp`."""

from __future__ import annotations

from flask import Response, g, url_for

from jobs import pauses, tasks
from jobs.filters import View
from jobs.models import Task
from tenants.errors import Conflict, Invalid
from tenants.permissions import May
from webapp import db, errors, forms, htmx
from webapp import lists as table
from webapp.access import access, business_blueprint
from webapp.forms import EditForm

bp = business_blueprint("tasks")


@bp.get("/tasks")
@access(May.SEE_ALL)
def index() -> Response:
    """The tasks of the business, searched and sorted."""
    return table.page(
        View.ALL,
        "tasks/index.html",
        around=lambda wanted: {"open_pauses": pauses.search_open(db.session, g.actor, user_id=wanted.user)},
    )


@bp.route("/tasks/<int:task_id>/edit", methods=["GET", "POST"])
@access(May.MANAGE)
def edit(task_id: int) -> Response:
    """Change a task that has not started."""
    find = tasks.get_editable if db.is_safe() else tasks.get
    task = find(db.session, g.actor, task_id)
    form = EditForm.of(task)
    status = _save(form, task) if form.is_submitted() else 200
    if status == 303:
        return htmx.done(f"Task {task_id} is saved.", "tasks-changed", to=url_for("tasks.show", task_id=task_id))
    return htmx.page("tasks/edit.html", fragment="tasks/_edit.html", status=status, task=task, form=form)


def _save(form: EditForm, task: Task) -> int:
    """303 when it is saved; else what went wrong, which the form then shows."""
    if not form.validate():
        return 422
    try:
        tasks.edit(db.session, g.actor, task.id, form.changes(task))
    except (Invalid, Conflict) as error:
        forms.note(form, error)
        return errors.status_of(error)
    return 303
