"""The tasks of a business: the list, and each task with its acts."""

from __future__ import annotations

from typing import Any

from flask import Response, g, make_response, request, send_file, url_for

from jobs import lists, pauses, tasks
from jobs.builtin import export
from jobs.filters import View
from jobs.models import Attempt, Pause, Task
from jobs.states import State
from tenants.errors import Conflict, Invalid, NotFound, SluiceError
from tenants.permissions import May
from webapp import db, errors, forms, htmx
from webapp import lists as table
from webapp.access import access, business_blueprint
from webapp.forms import EditForm
from webapp.settings import settings

bp = business_blueprint("tasks")


@bp.get("/tasks")
@access(May.SEE_ALL)
def index() -> Response:
    """The tasks of the business, searched and sorted."""
    user_id = request.args.get("user", type=int)
    return table.page(
        View.ALL,
        "tasks/index.html",
        around=lambda: {"open_pauses": pauses.search_open(db.session, g.actor, user_id=user_id)},
    )


@bp.get("/tasks/<int:task_id>")
@access(May.ENTER)
def show(task_id: int) -> Response:
    """All about one task. Members see their own."""
    row = lists.get(db.session, g.actor, task_id)
    attempts = tasks.attempts(db.session, g.actor, task_id)
    return htmx.page(
        "tasks/show.html",
        fragment="tasks/_details.html",
        row=row,
        task=row.task,
        payload=tasks.shown_payload(row.task),
        pause=_pause_of(row),
        attempts=attempts,
        entries=tasks.entries(db.session, g.actor, task_id),
        result=_result_of(attempts),
        file=_has_file(row.task),
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


@bp.route("/tasks/<int:task_id>/deletion", methods=["GET", "POST"])
@access(May.SUBMIT)
def deletion(task_id: int) -> Response:
    """Warn, then cancel a waiting task or remove a final one with its log."""
    row = lists.get(db.session, g.actor, task_id)
    if db.is_safe():
        return _deletion_page(row, 200)
    try:
        left = tasks.delete(db.session, g.actor, task_id)
    except Conflict as error:
        return _deletion_page(row, 409, error)
    message = f"Task {task_id} is canceled." if left else f"Task {task_id} is deleted."
    return htmx.done(message, "tasks-changed", to=url_for("home.business"))


@bp.get("/tasks/<int:task_id>/file")
@access(May.ENTER)
def file(task_id: int) -> Response:
    """The file that an export made."""
    task = tasks.get(db.session, g.actor, task_id)
    if not _has_file(task):
        raise NotFound
    path = export.path_of(settings().data_dir.absolute(), g.actor.business.slug, task.id)
    return make_response(send_file(path, mimetype="text/csv", as_attachment=True, download_name=path.name))


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


def _deletion_page(row: lists.Row, status: int, error: SluiceError | None = None) -> Response:
    """Any error of a deletion stands in its dialog."""
    message = error.message if error else None
    return htmx.page(
        "tasks/deletion.html",
        fragment="tasks/_deletion.html",
        status=status,
        task=row.task,
        state=row.state,
        message=message,
    )


def _pause_of(row: lists.Row) -> Pause | None:
    return pauses.of_tasks(db.session, g.actor, [row.pause_id]).get(row.pause_id) if row.pause_id else None


def _result_of(attempts: Any) -> Any:
    last: Attempt | None = attempts[-1] if attempts else None
    return last.result if last else None


def _has_file(task: Task) -> bool:
    if task.task_type != "tasks.export" or task.state != State.COMPLETED:
        return False
    return export.path_of(settings().data_dir, g.actor.business.slug, task.id).is_file()
