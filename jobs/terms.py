"""What people type into a search: terms separated by blanks, all of which must match."""

from __future__ import annotations

import re
from dataclasses import dataclass

FIELDS = ("user", "type", "state", "id", "failure")
_TERM = re.compile(rf'(?:(?P<field>{"|".join(FIELDS)}):)?(?:"(?P<quoted>[^"]*)"?|(?P<plain>\S*))', re.IGNORECASE)


@dataclass(frozen=True)
class Term:
    """One term: as it was typed, what it is about (None: anything), what to look for, and the search without it."""

    text: str
    field: str | None
    value: str
    without: str


def terms(q: str) -> tuple[Term, ...]:
    """The terms of a search such as `user:"Ada L" state:failed report`. An empty one asks for nothing."""
    found = [one for one in _TERM.finditer(q) if _value(one)]
    texts = [one.group() for one in found]
    return tuple(
        Term(
            text=texts[place],
            field=field.lower() if (field := one["field"]) else None,
            value=_value(one),
            without=" ".join(texts[:place] + texts[place + 1 :]),
        )
        for place, one in enumerate(found)
    )


def _value(one: re.Match[str]) -> str:
    return (one["quoted"] if one["plain"] is None else one["plain"]).strip().lower()
