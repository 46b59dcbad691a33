"""Every route of the portal, as addresses that can be asked for."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from flask import Flask
from werkzeug.routing import Rule

from jobs.models import Failure
from tenants.models import Login
from tenants.permissions import May
from tests.factories import Cast
from tests.webapp import rows
from webapp.access import Door, declared

MISSING = 424242
_ASKS = {"refs.index": "?ref=order"}  # what an address is of no use without


class Whose(enum.Enum):
    """Whose thing an address names."""

    OURS = "ours"
    FOREIGN = "foreign"
    MISSING = "missing"


@dataclass(frozen=True)
class Route:
    """One rule and method."""

    rule: Rule
    method: str
    needs: Door | May | None

    def __str__(self) -> str:
        return f"{self.method} {self.rule.rule}"

    @property
    def has_id(self) -> bool:
        """Whether the address names one thing."""
        return bool(self.rule.arguments - {"business", "filename"})

    def path(self, cast: Cast, business: str = "acme", whose: Whose = Whose.OURS) -> str:
        """An address in the business, of a thing of Acme, of Initech or of nobody."""
        values = {"business": business, **{name: _id(name, cast, whose) for name in self.rule.arguments - {"business"}}}
        path = self.rule.rule
        for name, value in values.items():
            path = path.replace(f"<int:{name}>", str(value)).replace(f"<{name}>", str(value))
        return path + _ASKS.get(self.rule.endpoint, "")


def every(app: Flask) -> Iterator[Route]:
    """All routes but static files."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if not rule.build_only:
            for method in sorted((rule.methods or set()) & {"GET", "POST", "PUT", "PATCH", "DELETE"}):
                yield Route(rule, method, declared(app, rule.endpoint))


def _id(name: str, cast: Cast, whose: Whose) -> int:
    """A fresh thing each time, since routes may delete it."""
    business, owner = (cast.acme, cast.ben) if whose is Whose.OURS else (cast.initech, cast.zoe)
    if whose is Whose.MISSING:
        return MISSING
    match name:
        case "task_id":
            return rows.task(business, owner)
        case "pause_id":
            return rows.pause(business, cast.root, owner)
        case "failure_id":
            return rows.failure(business, message=f"error {rows.number_of(Failure)}")
        case "view_id":
            return rows.view(business, cast.ada if whose is Whose.OURS else owner)
        case "login_id":
            rows.login(owner.user)
            return rows.number_of(Login)
    raise AssertionError(f"tests do not know how to make a {name}")
