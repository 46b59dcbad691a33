"""Who may do what: one table for the routes, the domain and the tests."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tenants.errors import NotAllowed, NotFound
from tenants.models import Business, Role, User


class May(enum.Enum):
    """What a role may do in its business."""

    ENTER = "be in the business and see one's own tasks"
    SUBMIT = "submit tasks, and delete one's own"
    SEE_ALL = "see the tasks of everybody"
    MANAGE = "edit and delete the tasks of everybody"
    PAUSE = "pause and resume users and task types"
    AUDIT = "read who did what"
    SCHEDULE = "make, change and run schedules"
    PAUSE_SYSTEM = "pause and resume task types in the whole installation"
    LIMIT = "set how many tasks of a business run at once"


_AUDITOR = frozenset({May.ENTER, May.SEE_ALL, May.AUDIT})
_MEMBER = frozenset({May.ENTER, May.SUBMIT})
_ADMIN = _MEMBER | {May.SEE_ALL, May.MANAGE, May.PAUSE, May.AUDIT, May.SCHEDULE}

GRANTS: dict[Role, frozenset[May]] = {
    Role.AUDITOR: _AUDITOR,
    Role.MEMBER: _MEMBER,
    Role.ADMIN: _ADMIN,
    Role.PLATFORM_ADMIN: _ADMIN | {May.PAUSE_SYSTEM, May.LIMIT},
}


@dataclass(frozen=True)
class Actor:
    """A user in one business, with the role they have there: who asks."""

    user: User
    business: Business
    role: Role

    def may(self, act: May) -> bool:
        """Whether the role allows `act`; for what a page shows."""
        return act in GRANTS[self.role]

    def require(self, act: May, business_id: int | None = None) -> None:
        """NotFound when `business_id` is another business's, NotAllowed when the role does not allow `act`."""
        if business_id is not None and business_id != self.business.id:
            raise NotFound
        if not self.may(act):
            raise NotAllowed
