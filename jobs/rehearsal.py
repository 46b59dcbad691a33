"""A turn that is rolled back, before the first fork: it compiles every statement and touches the code of a turn.

Each horse would do that anew, and its first task would wait for it.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from jobs import attempts, claims, judge, records, task_types
from jobs.attempts import Claim, Outcome
from jobs.board import Board
from jobs.context import TaskContext
from jobs.models import Task
from jobs.records import Ended
from jobs.states import State
from tenants.database import Base, Sessions, disconnect, table, transaction
from tenants.models import Business, User

log = structlog.get_logger()

_NOBODY = 0  # no business and no user has this id
_ENDS = [Outcome(State.COMPLETED, "completed"), Outcome(State.PENDING, "retry"), Outcome(State.FAILED, "failed")]


def rehearse() -> None:
    """Do all that a turn does on each queue, once. Nothing of it is committed."""
    try:
        with Sessions() as session:
            session.connection(execution_options={"claims": True})
            for name in task_types.queues():
                _turn(session, name)
            session.rollback()
    except SQLAlchemyError as error:
        log.warning("the database does not answer", error=str(error))
    disconnect()


def limber() -> None:
    """What a spare horse does while it waits: ask what a claim asks, of nobody's business, and be refused the write.

    Its memory is its own from then on, and the database has read for its connection what a claim needs. It takes no
    lock: a horse that is frozen here would keep everybody from writing on SQLite, and pauses from ending claims. Any
    queue will do, since the others' statements differ little: all five of an installation took most of a horse's life.
    """
    any_queue = task_types.queues()[0]
    with contextlib.suppress(SQLAlchemyError), transaction(read_only=True, dry=True) as session:
        claims.look_up(session, _NOBODY, {_NOBODY}, claims.Names())
        claims.ask(session, _NOBODY, any_queue)


def _turn(session: Session, name: str) -> None:
    type_ = next(one for one in task_types.all_types() if one.queue == name)
    token = secrets.token_hex(8)
    user = _made(session, User, email=f"{token}@rehearsal", name="Rehearsal", password_hash="")
    business = _made(session, Business, slug=token, name="Rehearsal")
    for _ in _ENDS:
        _made(session, Task, business_id=business, user_id=user, task_type=type_.name, queue=name, payload={})
    judge.let_claims_pass(session, business)
    claimed = claims.claim(session, business, name, limit=9, worker="rehearsal", lease_seconds=9.0)
    claims.any_ready(session, business, name)
    claims.still_good(session, business, claimed)
    records.record(session, [_end(*pair) for pair in zip(claimed, _ENDS, strict=False)], "rehearsal")
    claims.give_back(session, claimed)


def _made(session: Session, what: type[Base], **values: Any) -> int:
    """The id of a new row."""
    made: Any = session.execute(table(what).insert(), values)
    id_: int = made.inserted_primary_key[0]
    return id_


def _end(claim: Claim, outcome: Outcome) -> Ended:
    """The way of an outcome, but for the handler."""
    attempts.prepare(claim)
    context, board = TaskContext(claim.id, claim.attempt, claim.business, claim.user), Board()
    board.begin(claim.id, claim.attempt, 0.0, 0.0)
    ended = Ended(claim, outcome, 0.0, 0.0, 0, context.news())
    board.end(ended)
    board.close()
    return ended
