"""What a user prefers, kept with the user: the same at every browser and in every business."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from tenants.errors import Invalid
from tenants.models import User

RATES = ("1", "2", "5", "15", "60", "off")
"""How often lists renew themselves, in seconds."""

_WORD = re.compile(r"[a-z][a-z0-9_-]{0,29}")
_MOST_COLUMNS = 30


class UnknownPreference(Invalid):
    """This is nothing that can be preferred."""


def get(user: User, name: str) -> Any:
    """What the user prefers, else the usual. UnknownPreference for a name that there is not."""
    usual, is_good = _known(name)
    value = (user.preferences or {}).get(name, usual)
    return value if value == usual or is_good(value) else usual


def put(session: Session, user: User, name: str, value: Any) -> None:
    """Keep it. Invalid when there is no such choice. Doing it twice changes nothing."""
    _, is_good = _known(name)
    if not is_good(value):
        raise Invalid("There is no such choice.", field=name)
    session.refresh(user, ["preferences"], with_for_update=True)  # another tab may be about to keep something else
    user.preferences = {**(user.preferences or {}), name: value}
    session.flush()


def is_list(name: str) -> bool:
    """Whether the value of this preference is a list."""
    return isinstance(_known(name)[0], list)


def _are_columns(value: Any) -> bool:
    """Names of columns in their order, each once; an empty list means the usual ones."""
    return (
        isinstance(value, list)
        and len(value) <= _MOST_COLUMNS
        and len(set(map(str, value))) == len(value)
        and all(isinstance(one, str) and _WORD.fullmatch(one) for one in value)
    )


_KNOWN: dict[str, tuple[Any, Callable[[Any], bool]]] = {
    "rate": ("2", lambda value: value in RATES),
    "keys": ("on", lambda value: value in ("on", "off")),
    **{f"columns-{table}": ([], _are_columns) for table in ("tasks", "active", "history")},
}


def _known(name: str) -> tuple[Any, Callable[[Any], bool]]:
    try:
        return _KNOWN[name]
    except KeyError:
        raise UnknownPreference(field="name") from None
