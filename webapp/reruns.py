"""Running a task again that is over, as a new task."""

from __future__ import annotations

from flask import Response, g, url_for

from jobs import reruns, tasks
from tenants.errors import Conflict, Invalid, SluiceError
from tenants.permissions import May
from webapp import acts, db, forms, htmx
from webapp.access import access
from webapp.forms import PayloadForm
from webapp.tasks import bp


@bp.route("/tasks/<int:task_id>/rerun", methods=["GET", "POST"])
@access(May.SUBMIT)
def rerun(task_id: int) -> Response:
    """Show the last error and the payload, then make a new task like this one."""
    find = reruns.get_final if db.is_safe() else tasks.get
    form = PayloadForm.of_payload(find(db.session, g.actor, task_id))
    if not form.is_submitted():
        return _form_page(task_id, form)
    if not form.validate():
        return _form_page(task_id, form, Invalid())
    try:
        new = reruns.run_again(db.session, g.actor, task_id, form.parsed)
    except (Conflict, Invalid) as error:
        forms.note(form, error)
        return _form_page(task_id, form, error)
    to = url_for("tasks.show", task_id=new)
    return htmx.done(f"Task {new} runs task {task_id} again.", "tasks-changed", "reruns-changed", to=to, href=to)


def _form_page(task_id: int, form: PayloadForm, error: SluiceError | None = None) -> Response:
    attempts = tasks.attempts(db.session, g.actor, task_id)
    return acts.page("rerun", task_id, error, form=form, last=attempts[-1] if attempts else None)
