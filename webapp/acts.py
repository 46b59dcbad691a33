"""What acts on one task have in common: a question, as a dialog or a page, in which a refusal stands."""

from __future__ import annotations

from typing import Any

from flask import Response, g

from jobs import lists
from tenants.errors import SluiceError
from webapp import db, errors, htmx


def page(noun: str, task_id: int, error: SluiceError | None = None, **context: Any) -> Response:
    """The question of an act on the task as it is now, with what was refused."""
    row = lists.get(db.session, g.actor, task_id)
    return htmx.page(
        f"tasks/{noun}.html",
        fragment=f"tasks/_{noun}.html",
        status=errors.status_of(error) if error else 200,
        task=row.task,
        state=row.state,
        message=error.message if error else None,
        **context,
    )
