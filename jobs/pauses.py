"""The pause registry: what may not start, who says so, and the one judge that everybody asks."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, and_, false, func, or_, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, joinedload

from jobs import queue, task_types
from jobs.models import Pause, Task
from jobs.states import WAITING, State
from tenants import audit
from tenants.clock import clock
from tenants.database import on_commit, transaction
from tenants.errors import Invalid, NotFound
from tenants.models import Member
from tenants.permissions import Actor, May

log = structlog.get_logger()

CLAIM_VALID_SECONDS = 0.050  # a claimed task begins within this time of its claim, or is given back
ANSWER_SECONDS = CLAIM_VALID_SECONDS + 0.010  # so nothing begins any more when a pause answers
CHUNK = 1000  # rows settled in one transaction

_LOCK_CLASS = 0x51CE  # names our advisory locks on PostgreSQL; the second key is the business, 0 the installation


class NoReason(Invalid):
    """A pause needs a reason, of 500 characters at most."""


@dataclass(frozen=True)
class Target:
    """What a pause stops: a user's tasks, a task type, or both together. No business: the whole installation."""

    business_id: int | None
    user_id: int | None = None
    task_type: str | None = None

    def covers(self, user_id: int | None, task_type: str) -> bool:
        """Whether a task of this user and type, in the target's business, is meant."""
        return self.user_id in (None, user_id) and self.task_type in (None, task_type)

    def covering(self) -> ColumnElement[bool]:
        """The same in SQL. NULL-safe: a task without a user is nobody's."""
        about: list[ColumnElement[bool]] = []
        if self.user_id is not None:
            about += [Task.user_id.is_not(None), Task.user_id == self.user_id]
        if self.task_type is not None:
            about.append(Task.task_type == self.task_type)
        return and_(*about)


@dataclass(frozen=True)
class Standing:
    """The open pauses that touch one business, by id: the one judge of what may start there.

    Claims, settling and pages all ask it. It holds literal targets, not a subquery, since planners understand those.
    """

    pauses: dict[int, Target]

    def covering(self) -> ColumnElement[bool]:
        """True of a task that may not start."""
        users = [t.user_id for t in self.pauses.values() if t.task_type is None]
        types = [t.task_type for t in self.pauses.values() if t.user_id is None]
        both = [t.covering() for t in self.pauses.values() if t.user_id is not None and t.task_type is not None]
        if users:
            both.append(and_(Task.user_id.is_not(None), Task.user_id.in_(users)))
        if types:
            both.append(Task.task_type.in_(types))
        return or_(*both) if both else false()

    def over(self, user_id: int | None, task_type: str) -> int | None:
        """The id of the oldest pause that covers such a task."""
        return next((id_ for id_, target in self.pauses.items() if target.covers(user_id, task_type)), None)

    def system_wide(self) -> Standing:
        """Only those of the whole installation."""
        return Standing({id_: target for id_, target in self.pauses.items() if target.business_id is None})


def standing(session: Session, business_id: int) -> Standing:
    """The pauses that count in a business at this moment."""
    rows = session.execute(
        select(Pause.id, Pause.business_id, Pause.user_id, Pause.task_type)
        .where(_open(), _touching(business_id))
        .order_by(Pause.id)
    )
    return Standing({id_: Target(*target) for id_, *target in rows})


def pause(session: Session, by: Actor, target: Target, reason: str) -> Pause:
    """Stop new starts of `target`. Repeating it answers the first pause; running tasks finish.

    The commit returns when no matching task begins any more.
    """
    by.require(May.PAUSE_SYSTEM if target.business_id is None else May.PAUSE, target.business_id)
    _check(session, target)
    if not reason.strip() or len(reason) > 500:
        raise NoReason(field="reason")
    _stop_claims(session, target.business_id)
    first = session.scalar(select(Pause).where(_open(), *_about(target)))
    if first:
        return first
    new = Pause(**vars(target), reason=reason.strip(), created_by=by.user.id)
    session.add(new)
    session.flush()
    audit.record(session, by, "pause", f"pause:{new.id}", after=vars(target), reason=new.reason)
    _answer_late_enough(session, target.business_id)
    return new


def resume(session: Session, by: Actor, pause_id: int) -> Pause:
    """End one pause. Ending an ended one changes nothing."""
    standing_one = get(session, by, pause_id)
    by.require(May.PAUSE_SYSTEM if standing_one.business_id is None else May.PAUSE)
    if standing_one.ended_at is None:
        _end(session, by, [standing_one])
    return standing_one


@dataclass(frozen=True)
class Resumed:
    """What Resume All did: pauses ended, tasks released, and tasks still held by a system-wide pause."""

    pauses: int
    released: int
    still_paused: int


def resume_all(session: Session, by: Actor) -> Resumed:
    """End every pause of the business. Those of the whole installation stay."""
    by.require(May.PAUSE)
    before = standing(session, by.business.id)
    held, still = held_back(session, by, before), held_back(session, by, before.system_wide())
    ours = session.scalars(select(Pause).where(_open(), Pause.business_id == by.business.id)).all()
    _end(session, by, ours)
    return Resumed(len(ours), held - still, still)


def get(session: Session, by: Actor, pause_id: int) -> Pause:
    """A pause that touches the actor's business, open or ended; else NotFound."""
    by.require(May.PAUSE)
    found = session.scalar(select(Pause).where(Pause.id == pause_id, _touching(by.business.id)))
    if found is None:
        raise NotFound
    return found


def search(session: Session, by: Actor, *, ended: bool = False, limit: int = 100) -> Sequence[Pause]:
    """The pauses that touch the business, newest first: the open ones, or those that ended."""
    by.require(May.SEE_ALL)
    wanted = Pause.ended_at.is_not(None) if ended else _open()
    return session.scalars(
        select(Pause)
        .where(wanted, _touching(by.business.id))
        .options(joinedload(Pause.user), joinedload(Pause.creator), joinedload(Pause.ender))
        .order_by(Pause.id.desc())
        .limit(limit)
    ).all()


def search_open(session: Session, by: Actor) -> list[tuple[Pause, int]]:
    """The open pauses that touch the business, each with how many waiting tasks it holds there."""
    return [
        (one, held_back(session, by, Target(one.business_id, one.user_id, one.task_type)))
        for one in search(session, by)
    ]


def of_tasks(session: Session, by: Actor, ids: Collection[int]) -> dict[int, Pause]:
    """The pauses of these ids that touch the business: why tasks wait that the actor may see."""
    by.require(May.ENTER)
    query = select(Pause).where(Pause.id.in_(ids), _touching(by.business.id)).options(joinedload(Pause.creator))
    return {one.id: one for one in session.scalars(query)}


def held_back(session: Session, by: Actor, what: Standing | Target) -> int:
    """How many waiting tasks of the business these pauses, or this target, keep or would keep from starting."""
    if isinstance(what, Standing) and not what.pauses:
        return 0
    query = select(func.count()).where(
        Task.business_id == by.business.id, Task.state.in_(sorted(WAITING)), what.covering()
    )
    return session.scalar(query) or 0


def settle(session: Session, business_id: int, chunk: int = CHUNK) -> int:
    """Set aside what is paused, bring back what no longer is, in claim order; answer the rows moved.

    Idempotent: the registry is the truth and `paused` only a mark, so that claims need not wade through such rows.
    """
    let_claims_pass(session, business_id)
    now = standing(session, business_id)
    aside = (
        _move(session, business_id, State.PENDING, State.PAUSED, where=now.covering(), chunk=chunk)
        if now.pauses
        else []
    )
    back = _move(session, business_id, State.PAUSED, State.PENDING, where=~now.covering(), chunk=chunk)
    for name in set(back):
        queue.wake(session, business_id, name)
    return len(aside) + len(back)


def let_claims_pass(session: Session, business_id: int) -> None:
    """Say that claims of a business are under way.

    PostgreSQL: make it the transaction's first statement, so that the next one sees every pause that was committed
    while this one waited.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_SHARED, {"lock": _LOCK_CLASS, "business": business_id})


_SHARED = text("SELECT pg_advisory_xact_lock_shared(:lock, 0), pg_advisory_xact_lock_shared(:lock, :business)")
_EXCLUSIVE = text("SELECT pg_advisory_xact_lock(:lock, :business)")


def _stop_claims(session: Session, business_id: int | None) -> None:
    """Wait for the claims under way and keep new ones out until the commit. SQLite's write lock does so by itself."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_EXCLUSIVE, {"lock": _LOCK_CLASS, "business": business_id or 0})


def _open() -> ColumnElement[bool]:
    return and_(Pause.ended_at.is_(None), or_(Pause.until.is_(None), Pause.until > clock()))


def _touching(business_id: int) -> ColumnElement[bool]:
    return or_(Pause.business_id.is_(None), Pause.business_id == business_id)


def _about(target: Target) -> list[ColumnElement[bool]]:
    return [getattr(Pause, name).is_not_distinct_from(value) for name, value in vars(target).items()]


def _check(session: Session, target: Target) -> None:
    """A pause is about somebody and something that the business knows."""
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


def _used(session: Session, target: Target) -> bool:
    """Whether the business has tasks of the type: one that is no longer registered can be paused, too."""
    query = select(Task.id).where(Task.business_id == target.business_id, Task.task_type == target.task_type).limit(1)
    return session.scalar(query) is not None


def _end(session: Session, by: Actor, ended: Sequence[Pause]) -> None:
    for one in ended:
        session.execute(
            update(Pause)
            .where(Pause.id == one.id, Pause.ended_at.is_(None))
            .values(ended_at=clock(), ended_by=by.user.id)
        )
        session.refresh(one)
        audit.record(session, by, "resume", f"pause:{one.id}", before={"reason": one.reason})
        _settle_after_commit(session, one.business_id)


def _answer_late_enough(session: Session, business_id: int | None) -> None:
    """Let the commit return when no claim of before it is valid any more; settle while we wait."""

    def note() -> None:
        session.info["pauses answer at"] = time.monotonic() + ANSWER_SECONDS

    def wait() -> None:
        time.sleep(max(0.0, session.info["pauses answer at"] - time.monotonic()))

    on_commit(session, "pauses note", note)
    _settle_after_commit(session, business_id)
    on_commit(session, "pauses wait", wait)


def _settle_after_commit(session: Session, business_id: int | None) -> None:
    """Begin to settle at once, so that the first released tasks start at once. The beat does the rest."""

    def act() -> None:
        try:
            with transaction() as own:
                settle(own, business_id or 0)
        except SQLAlchemyError as error:  # the pause itself is committed: what is left is the beat's
            log.warning("not settled yet", business=business_id, error=str(error))

    if business_id is not None:
        on_commit(session, ("settle", business_id), act)
        for name in task_types.queues():
            queue.wake(session, business_id, name)


def _move(
    session: Session, business_id: int, old: State, new: State, *, where: ColumnElement[bool], chunk: int
) -> Sequence[str]:
    """Move up to `chunk` tasks between the two waiting states; answer the queue of each."""
    best = (
        select(Task.id)
        .where(Task.business_id == business_id, Task.stands(old), where)
        .order_by(*Task.claim_order())
        .limit(chunk)
        .with_for_update(skip_locked=True)
        .cte("best")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    return session.scalars(
        update(Task)
        .where(Task.id.in_(select(best.c.id)))
        .values(state=new)
        .returning(Task.queue)
        .execution_options(synchronize_session=False)
    ).all()
