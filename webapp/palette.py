"""The command palette: pages, acts, businesses, tasks and people, as far as the actor may go there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Response, g, make_response, render_template, request, url_for

from jobs import lists
from jobs.payloads import storable
from tenants import businesses, members
from tenants.errors import NotFound
from tenants.permissions import May
from webapp import db, htmx, shell
from webapp.access import access, business_blueprint, me

MAX_QUERY = 100
_FEW = 6  # businesses or people shown at once

bp = business_blueprint("palette")


@dataclass(frozen=True)
class Command:
    """One choice. It leads to `url`, as a dialog if `in_dialog`; or it presses a button of the page."""

    text: str
    url: str
    icon: str
    detail: str = ""
    in_dialog: bool = False
    presses: str = ""


@bp.get("/palette")
@access(May.ENTER)
def index() -> Response:
    """What fits the words typed so far; everything there is to do without any."""
    q = storable(request.args.get("q", "")).strip()[:MAX_QUERY]
    groups = (
        ("Task", list(_task(q))),
        ("Go to", _matching(q, _pages())),
        ("Do", _matching(q, _acts())),
        ("Search", list(_search(q))),
        ("People", list(_people(q))),
        ("Switch business", list(_businesses(q))),
    )
    return htmx.page("palette/index.html", fragment="palette/_list.html", q=q, groups=[one for one in groups if one[1]])


@bp.get("/people")
@access(May.SEE_ALL)
def people() -> Response:
    """Whom a filter by user may mean, as it is typed: the first few whose name or e-mail address has it."""
    q = storable(request.args.get("user", "")).strip()[:MAX_QUERY]
    found = members.search(db.session, g.actor, q, _FEW) if q else []
    return make_response(render_template("palette/_people.html", people=found))


def _matching(q: str, commands: Iterator[Command]) -> list[Command]:
    """Those with every word in their text, those that begin with it first."""
    words = q.lower().split()
    found = [one for one in commands if all(word in one.text.lower() for word in words)]
    return sorted(found, key=lambda one: not one.text.lower().startswith(q.lower()))


def _pages() -> Iterator[Command]:
    for page in shell.admin_pages(g.actor):
        yield Command(page.text, url_for(page.endpoint), page.icon)
    yield Command("Background-Tasks", url_for("background.index"), "list-check", "your own tasks")
    yield Command("Account", url_for("account.index"), "user", me().user.email)
    yield Command("Help", url_for("home.help"), "help-circle")


def _acts() -> Iterator[Command]:
    here = f"in {g.actor.business.name}"
    if g.actor.may(May.PAUSE):
        yield Command("Pause User", url_for("pauses.new", of="user"), "player-pause", here, in_dialog=True)
        yield Command("Pause Task Type", url_for("pauses.new", of="type"), "player-pause", here, in_dialog=True)
        yield Command("Resume All", url_for("pauses.resume_all"), "player-play", here, in_dialog=True)
    yield Command("Keyboard shortcuts", url_for("home.keys"), "key", in_dialog=True)
    if htmx.is_partial():
        yield Command("Switch between light and dark", url_for("home.help"), "moon", presses="theme")


def _task(q: str) -> Iterator[Command]:
    number = q.removeprefix("#")
    if number.isascii() and number.isdigit() and len(number) < 19:
        try:
            row = lists.get(db.session, g.actor, int(number))
        except NotFound:
            pass
        else:
            about = f"{row.state.capitalize()}, {row.user_name}"
            text = f"Task #{row.task.id}: {row.task.title or row.type_title}"
            yield Command(text, url_for("tasks.show", task_id=row.task.id), "list-check", about)


def _search(q: str) -> Iterator[Command]:
    if q and g.actor.may(May.SEE_ALL):
        yield Command(f"Search tasks for “{q}”", url_for("tasks.index", q=q), "search")


def _people(q: str) -> Iterator[Command]:
    if q and g.actor.may(May.SEE_ALL):
        for user in members.search(db.session, g.actor, q, _FEW):
            yield Command(f"Tasks of {user.name}", url_for("tasks.index", user=user.id), "user", user.email)


def _businesses(q: str) -> Iterator[Command]:
    found = [one for one in businesses.open_to(db.session, me().user) if q.lower() in one.name.lower()]
    for one in [other for other in found if other.id != g.actor.business.id][:_FEW]:
        yield Command(one.name, url_for("home.business", business=one.slug), "building", "switch to it")
