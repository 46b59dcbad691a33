"""What a host application adds to the page of a task: the nodes that payloads name, and results in its own words.

Its functions are asked while a page is made. One that fails is told in the log, and the page does without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from jobs import redaction, task_types
from jobs.models import Task

Facts = Mapping[str, str]
_Lookup = Callable[[str, Any], Mapping[str, Any] | None]

log = structlog.get_logger()
_lookups: list[_Lookup] = []


def node_lookup(function: _Lookup) -> _Lookup:
    """Register the function that knows the nodes of the host application.

    It gets a business (short name) and what a payload has as `node_id`, a number or a text, and answers what to show:
    values by their names, or None for a node that it does not know. There is one such function; the last one counts.
    """
    _lookups[:] = [function]
    return function


def node(business: str, task: Task) -> Facts | None:
    """What the host application tells of the node that the task's payload names, if there is any."""
    id_ = redaction.masked(task.task_type, task.payload).get("node_id")
    if not _lookups or not isinstance(id_, int | str) or id_ == redaction.MASK:
        return None
    found = _asked(_lookups[0], business, id_)
    return _facts(found) if isinstance(found, Mapping) else None


def result(task: Task, value: Any) -> str | Facts | None:
    """A result as the task's type shows it: a text, or values by their names. None: as JSON."""
    known = {one.name: one for one in task_types.all_types()}.get(task.task_type)
    if value is None or known is None or known.show_result is None:
        return None
    shown = _asked(known.show_result, value)
    return _facts(shown) if isinstance(shown, Mapping) else shown if isinstance(shown, str) else None


def _asked(function: Callable[..., Any], *about: Any) -> Any:
    try:
        return function(*about)
    except Exception as error:  # noqa: BLE001 - whatever a function of somebody else does
        name = getattr(function, "__qualname__", repr(function))
        log.warning("A function of the host application failed", function=name, error=f"{type(error).__name__}")
        return None


def _facts(values: Mapping[str, Any]) -> Facts:
    return {str(name): str(value) for name, value in values.items()}
