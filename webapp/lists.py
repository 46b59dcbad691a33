"""What the pages with tables of tasks have in common: Async Tasks, Active tasks and Task history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from flask import Response, g, request, url_for

from jobs import failures, lists, pauses, targets, task_types, views
from jobs.filters import MAX_SEARCH, SIZES, TaskFilter, View
from jobs.payloads import storable
from jobs.terms import Term
from tenants import preferences
from webapp import columns, db, formats, htmx
from webapp.access import me

_COLUMNS = {View.ALL: "columns-tasks", View.ACTIVE: "columns-active", View.HISTORY: "columns-history"}
_PAGES = {View.ALL: "tasks.index", View.ACTIVE: "active.index", View.HISTORY: "history.index"}


def page(view: View, template: str, around: Callable[[TaskFilter], dict[str, Any]] = lambda _: {}) -> Response:
    """The list as the address asks for it: the page, with what is `around` the table, or only that."""
    wanted = _wanted(view)
    found = lists.search(db.session, g.actor, wanted)
    return htmx.page(
        template,
        fragment="tasks/_table.html",
        around=lambda: around(wanted),
        endpoint=_PAGES[view],
        wanted=wanted,
        applied=list(_applied(wanted)),
        found=found,
        counts=found.counts,
        person=targets.find_user(db.session, g.actor, wanted.user),
        columns=columns.shown(view, preferences.get(me().user, _COLUMNS[view])),
        every_column=columns.of(view),
        preference=_COLUMNS[view],
        views=views.search(db.session, g.actor, view),
        held_by=pauses.of_tasks(db.session, g.actor, found.pause_ids()),
        types=[(one.name, one.title) for one in task_types.all_types()],
        queues=task_types.queues(),
        sizes=SIZES,
    )


def _wanted(view: View) -> TaskFilter:
    """The filter of the address. Its user may be an id or, from the form, an e-mail address or a part of a name."""
    wanted = TaskFilter.from_args(request.args, view=view, zone=formats.user_zone())
    typed = request.args.get("user", "").replace('"', "").strip()
    if not typed or typed.isdigit():
        return wanted
    person = targets.find_user_by_email(db.session, g.actor, typed)
    if person:
        return replace(wanted, user=person.id)
    return replace(wanted, q=f'user:"{storable(typed)}" {wanted.q}'.strip()[:MAX_SEARCH])


def asked(values: Mapping[str, str]) -> TaskFilter:
    """The filter of a form that came from one of these pages, which it names as `view`."""
    view = values.get("view", "")
    return TaskFilter.from_args(values, view=View(view) if view in set(View) else View.ALL, zone=formats.user_zone())


def url(wanted: TaskFilter, **changes: Any) -> str:
    """The address of a list, with `changes` to its filter."""
    values: dict[str, Any] = dict(wanted.args(**changes))
    return url_for(_PAGES[wanted.view], **values)


def _said(term: Term) -> str:
    """A search term as its chip says it."""
    failure = failures.find(db.session, g.actor, term.value) if term.field == "failure" else None
    return f"Failure: {failures.error_of(failure)}" if failure else term.text


def _applied(wanted: TaskFilter) -> Iterator[tuple[str, str]]:
    """Each search term and filter in use, and the address of the list without it. The states have their own chips."""
    person = targets.find_user(db.session, g.actor, wanted.user)
    texts = {
        "user": f"User: {person.name if person else wanted.user}",
        "type": f"Type: {task_types.title_of(wanted.type or '')}",
        "queue": f"Queue: {wanted.queue}",
        "origin": f"Origin: {wanted.origin}",
        "priority": f"Priority: {wanted.priority}",
        "since": f"From {wanted.since}",
        "until": f"To {wanted.until}",
        "late": "Running too long",
    }
    if len(wanted.terms) > 1 or any(term.field for term in wanted.terms):
        for term in wanted.terms:
            yield _said(term), url(wanted, q=term.without)
    for name, text in texts.items():
        if getattr(wanted, name):
            yield text, url(wanted, **{name: False if name == "late" else None})
