"""What the list of failures shows: query string ⇄ FailureFilter. `jobs.failures` finds the rows."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from jobs.filters import SIZES

SORTS = ("type", "error", "count", "first", "last")


class FailureState(enum.StrEnum):
    """What people made of a group: nothing yet, resolved until it fails again, or ignored until somebody stops that."""

    OPEN = "open"
    RESOLVED = "resolved"
    IGNORED = "ignored"


@dataclass(frozen=True)
class FailureFilter:
    """Which groups, in which order, from where on. Unknown values fall back, so any address gives a page."""

    state: FailureState = FailureState.OPEN
    sort: str = "last"
    descending: bool = True
    size: int = 50
    after: str = ""
    before: str = ""

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Read a query string such as `state=ignored&sort=-count&size=25`."""
        state, sort, size = args.get("state", ""), args.get("sort", ""), args.get("size", "")
        known = sort.removeprefix("-") in SORTS
        return cls(
            state=FailureState(state) if state in set(FailureState) else FailureState.OPEN,
            sort=sort.removeprefix("-") if known else "last",
            descending=sort.startswith("-") if known else True,
            size=int(size) if size in map(str, SIZES) else 50,
            after=args.get("after", ""),
            before=args.get("before", ""),
        )

    def args(self, **changes: Any) -> dict[str, str]:
        """The query string of this filter with `changes`. Defaults are left out; any change leads to page one."""
        if changes and not changes.keys() & {"after", "before"}:
            changes |= {"after": "", "before": ""}
        to = replace(self, **changes)
        every = {
            "state": (to.state.value, FailureState.OPEN.value),
            "sort": (f"-{to.sort}" if to.descending else to.sort, "-last"),
            "size": (str(to.size), "50"),
            "after": (to.after, ""),
            "before": (to.before, ""),
        }
        return {name: value for name, (value, default) in every.items() if value != default}
