"""Acts on many tasks: on those that are ticked, or on all that match."""

from __future__ import annotations

from flask import Response, g, request, url_for

from jobs import bulk
from jobs.bulk import Act, Order, Outcome
from tenants.errors import Invalid
from tenants.permissions import May
from webapp import db, forms, htmx, lists
from webapp.access import access, business_blueprint
from webapp.forms import BulkForm

UNDO_SECONDS = 30

bp = business_blueprint("bulk")


@bp.get("/bulk-acts/new")
@access(May.MANAGE)
def new() -> Response:
    """Ask, with the number of tasks."""
    return _form_page(BulkForm(**forms.typed_args()), 200)


@bp.post("/bulk-acts")
@access(May.MANAGE)
def create() -> Response:
    """Do it to the ticked tasks at once, or begin to do it to all that match."""
    form = BulkForm()
    if not form.validate():
        return _form_page(form, 422)
    act = Act(form.act.data)
    order = Order(act, form.priority.data or 0, UNDO_SECONDS if act is Act.DELETE else 0)
    try:
        if form.all.data:
            wanted = lists.asked(request.form)
            return _started(bulk.start(db.session, g.actor, order, wanted, form.last_id.data))
        return _done(act, bulk.do(db.session, g.actor, order, form.ids.data))
    except Invalid as error:
        db.start_over()
        forms.note(form, error)
        return _form_page(form, 422)


@bp.post("/bulk-acts/undo")
@access(May.MANAGE)
def undo() -> Response:
    """Take deletions back while there is time."""
    back = bulk.undo(db.session, g.actor, request.args.getlist("ids", type=int))
    number = len(back.done)
    said = f"{number:,} {'task is' if number == 1 else 'tasks are'} back."
    return htmx.done(" ".join([said, *_why(back)]), "tasks-changed", to=url_for("tasks.index"))


def _form_page(form: BulkForm, status: int) -> Response:
    wanted = lists.asked(request.values)
    count, last_id = bulk.matching(db.session, g.actor, wanted) if form.all.data else (None, None)
    return htmx.page(
        "bulk/new.html",
        fragment="bulk/_new.html",
        status=status,
        form=form,
        act=form.act.data,
        wanted=wanted,
        count=count,
        last_id=last_id,
        back=lists.url(wanted),
    )


def _started(task_id: int) -> Response:
    page = url_for("tasks.show", task_id=task_id)
    return htmx.done("It is under way, as a task of its own.", "tasks-changed", to=page, href=page)


def _done(act: Act, done: Outcome) -> Response:
    number = len(done.done)
    said = f"{number:,} {'task' if number == 1 else 'tasks'} {bulk.DONE[act]}."
    undo = url_for("bulk.undo", ids=done.done) if act is Act.DELETE and done.done else None
    return htmx.done(
        " ".join([said, *_why(done)]), "tasks-changed", to=lists.url(lists.asked(request.values)), undo=undo
    )


def _why(outcome: Outcome) -> list[str]:
    return [f"{number:,} passed over: {reason}" for reason, number in outcome.refused.most_common(2)]
