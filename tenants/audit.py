"""The audit log: who did what, before and after. Rows are only added, in the transaction of the act."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from tenants.models import AuditEntry, User
from tenants.permissions import Actor, May


def record(
    session: Session,
    by: Actor,
    act: str,
    subject: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str | None = None,
) -> None:
    """Write down one act of a person in a business, such as ("pause", "user:7")."""
    session.add(
        AuditEntry(
            business_id=by.business.id,
            user_id=by.user.id,
            act=act,
            subject=subject,
            before=before,
            after=after,
            reason=reason,
        )
    )


def record_login(session: Session, user: User | None, email: str, *, outcome: str, address: str | None) -> None:
    """Write down a login or logout, which belongs to no business."""
    session.add(
        AuditEntry(
            user_id=user.id if user else None,
            act="login" if outcome != "logout" else "logout",
            subject=email[:200],
            outcome=outcome,
            after={"address": address},
        )
    )


def record_refused(session: Session, by: Actor, act: str, subject: str) -> None:
    """Write down a write that the role did not allow. The caller commits it by itself."""
    session.add(
        AuditEntry(business_id=by.business.id, user_id=by.user.id, act=act, subject=subject[:200], outcome="refused")
    )


def search(session: Session, by: Actor, limit: int = 100) -> Sequence[AuditEntry]:
    """The newest entries of the business."""
    by.require(May.AUDIT)
    return session.scalars(
        select(AuditEntry)
        .where(AuditEntry.business_id == by.business.id)
        .options(joinedload(AuditEntry.user))
        .order_by(AuditEntry.id.desc())
        .limit(limit)
    ).all()
