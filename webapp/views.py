"""Saved views of the lists of tasks."""

from __future__ import annotations

from flask import Response, g, request, url_for

from jobs import views
from tenants.errors import Conflict, Invalid
from tenants.permissions import May
from webapp import db, errors, forms, htmx, lists
from webapp.access import access, business_blueprint
from webapp.forms import ViewForm

bp = business_blueprint("views")


@bp.get("/views/new")
@access(May.MANAGE)
def new() -> Response:
    """Ask for a name."""
    return _form_page(ViewForm(**forms.typed_args()), 200)


@bp.post("/views")
@access(May.MANAGE)
def create() -> Response:
    """Keep the filter, its order and its columns."""
    form = ViewForm()
    if not form.validate():
        return _form_page(form, 422)
    wanted, columns = lists.asked(request.values), form.columns.data.split() if form.columns.data else None
    try:
        saved = views.save(db.session, g.actor, form.name.data, wanted, columns, shared=form.shared.data)
    except (Invalid, Conflict) as error:
        db.start_over()
        forms.note(form, error)
        return _form_page(form, errors.status_of(error))
    return htmx.done(f"The view “{saved.name}” is saved.", "views-changed", to=lists.url(wanted))


@bp.post("/views/<int:view_id>/deletion")
@access(May.MANAGE)
def delete(view_id: int) -> Response:
    """Remove a view; the tasks stay as they are."""
    views.delete(db.session, g.actor, view_id)
    return htmx.done("The view is removed.", "views-changed", to=url_for("tasks.index"))


def _form_page(form: ViewForm, status: int) -> Response:
    wanted = lists.asked(request.values)
    back = lists.url(wanted)
    return htmx.page("views/new.html", fragment="views/_new.html", status=status, form=form, wanted=wanted, back=back)
