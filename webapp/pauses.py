"""Pauses: the registry, pausing users and task types, and resuming."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response, g, request, url_for

from jobs import judge, pauses, targets
from jobs.pauses import Resumed
from jobs.targets import Candidate
from tenants.errors import Invalid
from tenants.permissions import May
from webapp import db, forms, htmx
from webapp.access import access, business_blueprint
from webapp.forms import PauseForm

REASONS = ("Too many tasks", "Vendor outage", "Maintenance", "Wrong data", "On request of the user")

bp = business_blueprint("pauses")


@bp.get("/pauses")
@access(May.SEE_ALL)
def index() -> Response:
    """What is paused now, and what was."""
    return htmx.page(
        "pauses/index.html",
        fragment="pauses/_active.html",
        around=lambda: {"ended_pauses": pauses.search(db.session, g.actor, ended=True)},
        open_pauses=pauses.search_open(db.session, g.actor),
    )


@bp.get("/pauses/new")
@access(May.PAUSE)
def new() -> Response:
    """Ask whom or what to pause. The candidates narrow down while somebody types."""
    return _form_page(PauseForm(**forms.typed_args()), 200)


@bp.post("/pauses")
@access(May.PAUSE)
def create() -> Response:
    """Pause all that was chosen, or nothing."""
    form = PauseForm()
    if not form.validate() or not _paused(form):
        return _form_page(form, 422)
    message = _paused_message(_chosen(form))
    return htmx.done(message, "pauses-changed", "tasks-changed", to=url_for("pauses.index"))


@bp.post("/pauses/<int:pause_id>/resumption")
@access(May.PAUSE)
def resume(pause_id: int) -> Response:
    """End one pause."""
    pauses.resume(db.session, g.actor, pause_id)
    return htmx.done("Resumed.", "pauses-changed", "tasks-changed", to=url_for("pauses.index"))


@bp.route("/pauses/resumption", methods=["GET", "POST"])
@access(May.PAUSE)
def resume_all() -> Response:
    """Ask, then end every pause of the business. Those of the whole system stay."""
    if not db.is_safe():
        message = _resumed_message(pauses.resume_all(db.session, g.actor))
        return htmx.done(message, "pauses-changed", "tasks-changed", to=url_for("pauses.index"))
    return htmx.page(
        "pauses/resumption.html",
        fragment="pauses/_resumption.html",
        open_pauses=pauses.search_open(db.session, g.actor),
        waiting=pauses.held_back(db.session, g.actor, judge.standing(db.session, g.actor.business.id)),
    )


def _form_page(form: PauseForm, status: int) -> Response:
    only_candidates = htmx.target() == "pauses-candidates"
    q = request.values.get("q", "")
    return htmx.page(
        "pauses/new.html",
        fragment="pauses/_candidates.html" if only_candidates else "pauses/_new.html",
        status=status,
        of="type" if form.is_of_types else "user",
        q=q,
        candidates=_candidates(form, q),
        form=form,
        reasons=REASONS,
        errors={**{name: list(wrong) for name, wrong in form.errors.items() if name}, "form": list(form.form_errors)},
    )


def _candidates(form: PauseForm, q: str) -> Sequence[Candidate]:
    find = targets.types if form.is_of_types else targets.users
    return find(db.session, g.actor, q, form.ticked())


def _chosen(form: PauseForm) -> list[Candidate]:
    return [one for one in _candidates(form, "") if one.ticked]


def _paused(form: PauseForm) -> bool:
    try:
        for target in form.targets(g.actor.business.id):
            pauses.pause(db.session, g.actor, target, form.reason.data or "")
    except Invalid as error:
        db.start_over()  # none of them, and the form must not show the first ones as paused
        forms.note(form, error)
        return False
    return True


def _paused_message(chosen: Sequence[Candidate]) -> str:
    names = ", ".join(one.name for one in chosen[:3]) + (f" and {len(chosen) - 3} more" if len(chosen) > 3 else "")
    waiting, running = sum(one.waiting for one in chosen), sum(one.running for one in chosen)
    return f"Paused {names}: {_count(waiting, 'waiting task')} held back, {running:,} running will finish."


def _resumed_message(done: Resumed) -> str:
    return f"{done.released:,} released, {done.still_paused:,} still paused by a system-wide pause."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
