"""Saved views: a filter with its order and columns under a name, for oneself or for the whole business."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

from sqlalchemy import Select, bindparam, or_, select
from sqlalchemy.orm import Session

from jobs.filters import TaskFilter, View
from jobs.models import SavedView
from jobs.payloads import storable
from tenants import audit
from tenants.errors import Conflict, Invalid, NotFound
from tenants.permissions import Actor, May

MAX_NAME = 60
MOST = 50  # of one person in one business


class BadName(Invalid):
    """A view needs a name of 60 characters at most."""


class TooManyViews(Conflict):
    """You have 50 views in this business. Delete one first."""


def search(session: Session, by: Actor, view: View) -> Sequence[SavedView]:
    """One's own views of this page, and those that are shared in the business."""
    by.require(May.SEE_ALL)
    return session.scalars(_seen(), {"business": by.business.id, "view": view.value, "user": by.user.id}).all()


@functools.cache
def _seen() -> Select[tuple[SavedView]]:
    """Built once: every list asks it."""
    theirs = SavedView.business_id == bindparam("business"), SavedView.view == bindparam("view")
    seen = or_(SavedView.user_id == bindparam("user"), SavedView.is_shared)
    return select(SavedView).where(*theirs, seen).order_by(SavedView.name, SavedView.id)


def save(
    session: Session, by: Actor, name: str, wanted: TaskFilter, columns: Collection[str] | None, *, shared: bool = False
) -> SavedView:
    """Keep `wanted` under a name. One's own view of that name on this page is replaced."""
    by.require(May.MANAGE)
    name = name.strip()
    if not name or len(name) > MAX_NAME or name != storable(name):
        raise BadName(field="name")
    mine = session.scalars(
        select(SavedView).where(SavedView.business_id == by.business.id, SavedView.user_id == by.user.id)
    ).all()
    standing = next((one for one in mine if (one.view, one.name) == (wanted.view.value, name)), None)
    if standing is None and len(mine) >= MOST:
        raise TooManyViews
    saved = standing or SavedView(business_id=by.business.id, user_id=by.user.id, view=wanted.view.value, name=name)
    saved.query = wanted.args(after="", before="")
    saved.columns = sorted(columns) if columns is not None else None
    saved.is_shared = shared
    session.add(saved)
    session.flush()
    audit.record(session, by, "save view", f"view:{saved.id}", after={"name": name, "shared": shared})
    return saved


def delete(session: Session, by: Actor, view_id: int) -> None:
    """Remove a view that is one's own or shared."""
    by.require(May.MANAGE)
    found = session.scalar(
        select(SavedView).where(
            SavedView.id == view_id,
            SavedView.business_id == by.business.id,
            or_(SavedView.user_id == by.user.id, SavedView.is_shared),
        )
    )
    if found is None:
        raise NotFound
    session.delete(found)
    audit.record(session, by, "delete view", f"view:{view_id}", before={"name": found.name})
