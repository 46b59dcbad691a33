"""All about one task: why it waits, what it did, what it made. It renews itself until the task is over."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Response, g, make_response, request, send_file

from jobs import failures, files, history, hosts, lists, reruns, tasks, waiting
from jobs.history import Kind, Moment
from jobs.models import Attempt, Task
from jobs.pages import Row
from jobs.states import State
from tenants.errors import NotFound
from tenants.permissions import May
from webapp import db, htmx
from webapp.access import access
from webapp.settings import settings
from webapp.tasks import bp

PAGES = (200, 1_000, 5_000, 20_000)  # lines of a log that are shown, ever more of them on demand
SAID = (Kind.LOG, Kind.STEP)


@bp.get("/tasks/<int:task_id>")
@access(May.ENTER)
def show(task_id: int) -> Response:
    """One task. Members see their own."""
    row = lists.get(db.session, g.actor, task_id)
    is_refresh = htmx.target() == "tasks-details"
    return htmx.page(
        "tasks/show.html",
        fragment="tasks/_details.html" if is_refresh else "tasks/_show.html",
        row=row,
        task=row.task,
        reason=waiting.why(db.session, g.actor, row.task),
        links=reruns.links(db.session, g.actor, row.task),
        failure=failures.of_task(db.session, g.actor, row.task),
        payload=tasks.shown_payload(row.task),
        **_story(row),
        **_outcome(row),
    )


@bp.get("/tasks/<int:task_id>/file")
@access(May.ENTER)
def file(task_id: int) -> Response:
    """The file that an export made."""
    task = tasks.get(db.session, g.actor, task_id)
    if not _has_file(task):
        raise NotFound
    path, kind = _file(task), _kind(task)
    mimetype = "text/csv" if kind == "csv" else "application/json"
    return make_response(send_file(path, mimetype=mimetype, as_attachment=True, download_name=path.name))


def _story(row: Row) -> dict[str, Any]:
    """The timeline, with the last lines of the log; what a script printed stands apart from it."""
    asked = request.args.get("lines", "")
    lines = next((size for size in PAGES if str(size) == asked), PAGES[0])
    moments = history.timeline(db.session, g.actor, row.task.id, lines + 1)
    said = [one for one in moments if one.kind in SAID]
    if has_earlier := len(said) > lines:
        moments.remove(said[0])
    is_script = row.task.task_type == "script.execute"
    output = [one for one in moments if is_script and one.kind is Kind.LOG and one.attempt == row.task.attempts]
    return {
        "blocks": _blocks([one for one in moments if one not in output] if output else moments),
        "output": output,
        "lines": lines,
        "more_lines": next((size for size in PAGES if has_earlier and size > lines), None),
    }


def _blocks(moments: Sequence[Moment]) -> list[list[Moment]]:
    """What a handler said in a row is one block, every other moment is its own."""
    numbered = enumerate(moments)
    groups = itertools.groupby(numbered, key=lambda one: ("said", one[1].attempt) if one[1].kind in SAID else one[0])
    return [[moment for _, moment in group] for _, group in groups]


def _outcome(row: Row) -> dict[str, Any]:
    attempts: Sequence[Attempt] = tasks.attempts(db.session, g.actor, row.task.id)
    last = attempts[-1] if attempts else None
    result = last.result if last else None
    return {
        "result": result,
        "shown_result": hosts.result(row.task, result),
        "node": hosts.node(g.actor.business.slug, row.task),
        "last": last,
        "file": _kind(row.task) if _has_file(row.task) else None,
    }


def _has_file(task: Task) -> bool:
    if task.task_type != files.EXPORT or task.state != State.COMPLETED:
        return False
    return _file(task).is_file()


def _kind(task: Task) -> str:
    return "json" if task.payload.get("format") == "json" else "csv"


def _file(task: Task) -> Path:
    return files.path_of(settings().data_dir.absolute(), g.actor.business.slug, task.id, _kind(task))
