"""The pause registry as people handle it: pause, resume, and what is paused by whom. `jobs.judge` decides by it."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, or_, select, update
from sqlalchemy.orm import Session, joinedload

from jobs import judge, payloads, settling, task_types, unfinished
from jobs.judge import Standing, Target, is_open, touching
from jobs.models import Pause, Task
from jobs.states import WAITING
from tenants import audit, members
from tenants.clock import clock
from tenants.database import any_id
from tenants.errors import Invalid, NotFound
from tenants.models import Member
from tenants.permissions import Actor, May


class NoReason(Invalid):
    """A pause needs a reason, of 500 characters at most."""


class BadUntil(Invalid):
    """A pause ends at a time in the future, with a time zone."""


def pause(session: Session, by: Actor, target: Target, reason: str, until: datetime | None = None) -> Pause:
    """Stop new starts of `target`, until then or until a resume. Repeating it answers the first pause.

    Running tasks finish. The commit returns when no matching task begins any more.
    """
    return begin(session, by, target, reason, until)[0]


def begin(
    session: Session, by: Actor, target: Target, reason: str, until: datetime | None = None
) -> tuple[Pause, bool]:
    """The same, and whether the pause is new."""
    by.require(May.PAUSE_SYSTEM if target.business_id is None else May.PAUSE, target.business_id)
    check(session, target)
    if until and not _is_ahead(session, until):
        raise BadUntil(field="until")
    if not reason.strip() or len(reason) > 500 or reason != payloads.storable(reason):
        raise NoReason(field="reason")
    judge.stop_claims(session, target.business_id)
    settling.answer_late_enough(session, target.business_id)
    first = session.scalar(select(Pause).where(is_open(), *_about(target)))
    if first:
        return first, False
    new = Pause(**vars(target), reason=reason.strip(), until=until, created_by=by.user.id)
    session.add(new)
    session.flush()
    after = {**vars(target), **({"until": until.isoformat()} if until else {})}
    audit.record(session, by, "pause", f"pause:{new.id}", after=after, reason=new.reason)
    return new, True


def check(session: Session, target: Target) -> None:
    """A pause is about somebody and something that the business knows: NotFound or Invalid if not."""
    if target.task_type is not None and not _used(session, target):
        task_types.get(target.task_type)
    if target.user_id is None:
        if target.task_type is None:
            raise Invalid("Choose a user or a task type.", field="target")
        return
    member = select(Member.id).where(Member.business_id == target.business_id, Member.user_id == target.user_id)
    submitter = select(Task.id).where(Task.business_id == target.business_id, Task.user_id == target.user_id)
    if session.scalar(member) is None and session.scalar(submitter.limit(1)) is None:
        raise NotFound


def resume(session: Session, by: Actor, pause_id: int) -> Pause:
    """End one pause. Ending an ended one changes nothing."""
    standing_one = get(session, by, pause_id)
    by.require(May.PAUSE_SYSTEM if standing_one.business_id is None else May.PAUSE)
    if standing_one.ended_at is None:
        judge.stop_claims(session, standing_one.business_id)
        _end(session, by, [standing_one])
    return standing_one


def take_back(session: Session, by: Actor, ids: Collection[int]) -> Sequence[Pause]:
    """End pauses that the actor made, all or none, also those of other businesses. NotFound if one is not theirs."""
    by.require(May.PAUSE)
    mine = select(Pause).where(Pause.id.in_(ids), Pause.created_by == by.user.id).order_by(Pause.business_id, Pause.id)
    found = session.scalars(mine.options(joinedload(Pause.user))).all()
    if not found or len(found) < len(set(ids)):
        raise NotFound
    actors = {one.business.id: one for one in members.everywhere(session, by.user)}
    as_whom = {one.id: by if one.business_id is None else actors.get(one.business_id) for one in found}
    for one in found:
        actor = as_whom[one.id]
        if actor is None:
            raise NotFound
        actor.require(May.PAUSE_SYSTEM if one.business_id is None else May.PAUSE)
        if one.ended_at is None:
            judge.stop_claims(session, one.business_id)
            _end(session, actor, [one])
    return found


@dataclass(frozen=True)
class Resumed:
    """What Resume All did: pauses ended, tasks released, and tasks still held by a system-wide pause."""

    pauses: int
    released: int
    still_paused: int


def resume_all(session: Session, by: Actor) -> Resumed:
    """End every pause of the business. Those of the whole installation stay."""
    by.require(May.PAUSE)
    judge.stop_claims(session, by.business.id)
    before = judge.standing(session, by.business.id)
    held, still = held_back(session, by, before), held_back(session, by, before.system_wide())
    ours = session.scalars(select(Pause).where(is_open(), Pause.business_id == by.business.id)).all()
    _end(session, by, ours)
    return Resumed(len(ours), held - still, still)


def get(session: Session, by: Actor, pause_id: int) -> Pause:
    """A pause that touches the actor's business, open or ended; else NotFound."""
    by.require(May.PAUSE)
    found = session.scalar(select(Pause).where(Pause.id == any_id(pause_id), touching(by.business.id)))
    if found is None:
        raise NotFound
    return found


def search(session: Session, by: Actor, *, ended: bool = False, limit: int = 100) -> Sequence[Pause]:
    """The pauses that touch the business: the open ones, newest first, or those that ended, the last one first."""
    by.require(May.SEE_ALL)
    wanted = Pause.ended_at.is_not(None) if ended else is_open()
    order = (Pause.ended_at.desc(), Pause.id.desc()) if ended else (Pause.id.desc(),)
    return session.scalars(
        select(Pause)
        .where(wanted, touching(by.business.id))
        .options(joinedload(Pause.user), joinedload(Pause.creator), joinedload(Pause.ender))
        .order_by(*order)
        .limit(limit)
    ).all()


def search_open(session: Session, by: Actor, user_id: int | None = None) -> list[tuple[Pause, int]]:
    """The open pauses that touch the business, or one user there, each with how many waiting tasks it holds."""
    found = [one for one in search(session, by) if user_id is None or one.user_id in (None, user_id)]
    waiting = _waiting(session, by) if found else []
    targets = [Target(one.business_id, one.user_id, one.task_type) for one in found]
    return [
        (one, sum(number for whose, name, number in waiting if target.covers(whose, name)))
        for one, target in zip(found, targets, strict=True)
    ]


def in_force(session: Session, by: Actor, *, own: bool = False) -> list[Pause]:
    """The open pauses to tell about on a page: all that touch the business, or those that concern the actor's tasks.

    Whoever may not see the tasks of everybody learns of the latter only: pauses of themselves, and of types of which
    they have tasks that wait.
    """
    by.require(May.ENTER)
    query = select(Pause).where(is_open(), touching(by.business.id)).order_by(Pause.id.desc())
    query = query.options(joinedload(Pause.user), joinedload(Pause.creator))
    if not own and by.may(May.SEE_ALL):
        return list(session.scalars(query))
    found = session.scalars(query.where(or_(Pause.user_id == by.user.id, Pause.user_id.is_(None)))).all()
    if all(one.user_id for one in found):
        return list(found)
    mine = unfinished.waiting([by.business.id], unfinished.USER.in_([by.user.id]), columns=[Task.task_type]).subquery()
    types = set(session.scalars(select(mine.c.task_type).distinct()))
    return [one for one in found if one.user_id or one.task_type in types]


def of_tasks(session: Session, by: Actor, ids: Collection[int]) -> dict[int, Pause]:
    """The pauses of these ids that touch the business: why tasks wait that the actor may see."""
    by.require(May.ENTER)
    if not ids:
        return {}
    return {one.id: one for one in session.scalars(_told(), {"ids": sorted(ids), "business": by.business.id})}


@functools.cache
def _told() -> Select[tuple[Pause]]:
    """Built once: every list asks it."""
    here = touching(bindparam("business", type_=Integer))
    return select(Pause).where(Pause.id.in_(bindparam("ids", expanding=True)), here).options(joinedload(Pause.creator))


def held_back(session: Session, by: Actor, what: Standing | Target) -> int:
    """How many waiting tasks of the business these pauses, or this target, keep or would keep from starting."""
    if isinstance(what, Standing) and not what.pauses:
        return 0
    query = select(func.count()).where(
        Task.business_id == by.business.id, Task.state.in_(sorted(WAITING)), what.covering()
    )
    return session.scalar(query) or 0


def _waiting(session: Session, by: Actor) -> Sequence[tuple[int | None, str, int]]:
    """How many tasks of the business wait, by user and type, in one look at them."""
    found = unfinished.waiting([by.business.id], columns=[Task.user_id, Task.task_type]).subquery()
    about = (found.c.user_id, found.c.task_type)
    return session.execute(select(*about, func.count()).group_by(*about)).tuples().all()


def _about(target: Target) -> list[ColumnElement[bool]]:
    return [getattr(Pause, name).is_not_distinct_from(value) for name, value in vars(target).items()]


def _is_ahead(session: Session, until: datetime) -> bool:
    now = session.scalar(select(clock()))
    return until.tzinfo is not None and now is not None and until > now


def _used(session: Session, target: Target) -> bool:
    """Whether the business has tasks of the type: one that is no longer registered can be paused, too."""
    query = select(Task.id).where(Task.business_id == target.business_id, Task.task_type == target.task_type).limit(1)
    return session.scalar(query) is not None


def _end(session: Session, by: Actor, ended: Sequence[Pause]) -> None:
    for one in ended:
        ours = session.scalar(
            update(Pause)
            .where(Pause.id == one.id, Pause.ended_at.is_(None))
            .values(ended_at=clock(), ended_by=by.user.id)
            .returning(Pause.id)
            .execution_options(synchronize_session=False)
        )
        session.refresh(one)
        if ours is None:  # somebody else ended it, or its time did, while we waited for claims to stop
            continue
        audit.record(session, by, "resume", f"pause:{one.id}", before={"reason": one.reason})
        settling.wake_after_commit(session, Target(one.business_id, one.user_id, one.task_type))
        settling.settle_after_commit(session, one.business_id)
