"""Pauses: the registry, pausing users and task types, and resuming."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, g, request, url_for

from jobs import choices, judge, pauses, targets
from jobs.choices import Choice, Impact
from jobs.models import Pause
from jobs.pauses import Resumed
from jobs.targets import Candidate
from tenants import members
from tenants.errors import Invalid, NotFound
from tenants.permissions import Actor, May
from webapp import db, formats, forms, htmx, pause_forms
from webapp.access import access, business_blueprint
from webapp.pause_forms import PauseForm

ENDED = 100  # ended pauses that the page lists
REASONS = ("Too many tasks", "Vendor outage", "Maintenance", "Wrong data", "On request of the user")

bp = business_blueprint("pauses")


@bp.get("/pauses")
@access(May.SEE_ALL)
def index() -> Response:
    """What is paused now, and what was."""
    return htmx.page(
        "pauses/index.html",
        fragment="pauses/_active.html",
        around=lambda: {"ended_pauses": pauses.search(db.session, g.actor, ended=True, limit=ENDED + 1), "most": ENDED},
        open_pauses=pauses.search_open(db.session, g.actor),
    )


@bp.get("/pauses/banner")
@access(May.ENTER)
def banner() -> Response:
    """What is paused that concerns whoever looks; with `own`, or for members, what holds their own tasks."""
    own = "own" in request.args or not g.actor.may(May.SEE_ALL)
    in_force = pauses.in_force(db.session, g.actor, own=own)
    return htmx.page("pauses/banner.html", fragment="pauses/_banner.html", in_force=in_force, own=own)


@bp.route("/pauses/new", methods=["GET", "POST"])
@access(May.PAUSE)
def new() -> Response:
    """Ask whom or what to pause, with what is chosen so far: by POST too, since an address has little room."""
    if not db.is_safe():
        db.start_over()  # it only reads
    return _form_page(PauseForm(**forms.typed_args()), 200)


@bp.post("/pauses")
@access(May.PAUSE)
def create() -> Response:
    """Pause all that was chosen, or nothing. What grew since it was shown is shown again first."""
    form = PauseForm()
    choice = form.choice(_others(form))
    if not form.validate():
        return _form_page(form, 422)
    now, seen = choices.impact(db.session, choice), form.seen_impact()
    grown = now.grown_since(seen) if seen and not form.grows.data else []
    if grown:
        db.start_over()
        return _form_page(form, 409, grown=grown, seen=seen)
    try:
        made, standing = choices.pause(db.session, choice, form.reason.data or "", form.ends_at())
    except Invalid as error:
        db.start_over()  # none of them, and the form must not show the first ones as paused
        form.note(error)
        return _form_page(form, 422)
    undo = url_for("pauses.undo", id=[one.id for one in made]) if made else None
    # Counted anew: until the pause kept claims out, some of those that waited could still begin.
    message = _paused_message(choice, choices.impact(db.session, choice), made, standing)
    return htmx.done(message, "pauses-changed", "tasks-changed", to=url_for("pauses.index"), undo=undo)


@bp.post("/pauses/undo")
@access(May.PAUSE)
def undo() -> Response:
    """End the pauses that the address names, if whoever asks made them."""
    ids = request.args.getlist("id", type=int)
    if not ids:
        raise Invalid("Name the pauses to take back.")
    if len(ids) != len(request.args.getlist("id")) or not all(0 < one < 2**31 for one in ids):
        raise NotFound
    ended = pauses.take_back(db.session, g.actor, ids)
    message = f"Taken back: {_count(len(ended), 'pause')} ended."
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


_PARTS = {
    "pauses-candidates": "pauses/_candidates.html",
    "pauses-only": "pauses/_only.html",
    "pauses-impact": "pauses/_impact.html",
}


def _form_page(form: PauseForm, status: int, **about: Any) -> Response:
    part = htmx.target() if htmx.is_partial() and status == 200 else ""
    context = _PARTS_NEED[part](form) if part in _PARTS_NEED else _whole(form)
    wrong = {name: list(errors) for name, errors in form.errors.items() if name}
    return htmx.page(
        "pauses/new.html",
        fragment=_PARTS.get(part, "pauses/_new.html"),
        status=status,
        of="type" if form.is_of_types else "user",
        form=form,
        errors={**wrong, "form": list(form.form_errors)},
        **context,
        **about,
    )


def _whole(form: PauseForm) -> dict[str, Any]:
    return {
        **_candidates(form),
        **_companions(form),
        **_impact(form),
        "reasons": REASONS,
        "elsewhere": _elsewhere(form),
        "most_elsewhere": choices.MOST,
        "tomorrow": pause_forms.tomorrow(),
        "zone": formats.user_zone().key,
    }


def _candidates(form: PauseForm) -> dict[str, Any]:
    q = request.values.get("q", "")
    return {"q": q, "candidates": _find(form, q, form.is_of_types)}


def _companions(form: PauseForm) -> dict[str, Any]:
    q = request.values.get("only_q", "")
    return {"only_q": q, "companions": _find(form, q, not form.is_of_types)}


def _find(form: PauseForm, q: str, is_of_types: bool) -> Sequence[Candidate]:
    if is_of_types:
        return targets.types(db.session, g.actor, q, form.types.data or [])
    return targets.users(db.session, g.actor, q, form.users.data or [])


def _impact(form: PauseForm) -> dict[str, Any]:
    choice = form.choice(_others(form))
    impact = choices.impact(db.session, choice) if form.is_chosen() else None
    return {
        "choice": choice,
        "impact": impact,
        "carried": pause_forms.as_seen(impact) if impact else "",
    }


_PARTS_NEED = {"pauses-candidates": _candidates, "pauses-only": _companions, "pauses-impact": _impact}


def _elsewhere(form: PauseForm) -> list[Actor]:
    """Who asks, in each other business where they may pause: as many as can be paused at once, ticked ones first."""
    mine = [one for one in members.everywhere(db.session, g.actor.user) if one.may(May.PAUSE)]
    others = [one for one in mine if one.business.id != g.actor.business.id]
    ticked = set(form.also.data or [])
    return sorted(others, key=lambda one: one.business.slug not in ticked)[: choices.MOST]


def _others(form: PauseForm) -> list[Actor]:
    """Who asks, in each other business that is ticked. NotFound alike for a foreign one and a missing one."""
    slugs = dict.fromkeys(form.also.data or [])
    actors = [members.enter(db.session, g.actor.user, slug) for slug in slugs if slug != g.actor.business.slug]
    for actor in actors:
        actor.require(May.PAUSE)
    return actors


def _paused_message(choice: Choice, now: Impact, made: Sequence[Pause], standing: Sequence[Pause]) -> str:
    what = _what(choice)
    if not made:
        return f"Nothing new: {what} {'is' if len(standing) == 1 else 'are'} paused already."
    until = f", until {formats.until_text(made[0].until)}" if made[0].until else ""
    waiting = f"{now.waiting:,}+ waiting tasks" if now.is_capped else _count(now.waiting, "waiting task")
    already = f" {_count(len(standing), 'pause')} stood already." if standing else ""
    return f"Paused {what}{until}: {waiting} held back, {now.running:,} running will finish.{already}"


def _what(choice: Choice) -> str:
    what = " with ".join(_several(names) for names in choices.names(db.session, choice) if names)
    if choice.everywhere:
        return f"{what} in the whole system"
    return f"{what} in {_several([one.business.name for one in choice.actors])}" if len(choice.actors) > 1 else what


def _several(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _resumed_message(done: Resumed) -> str:
    return f"{done.released:,} released, {done.still_paused:,} still paused by a system-wide pause."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
