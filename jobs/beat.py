"""What the leading scheduler repeats: the one place that repairs what fell between."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.orm import Session

from jobs import (
    deletions,
    firings,
    grouping,
    judge,
    leases,
    levels,
    queue,
    relocations,
    retention,
    settling,
    task_types,
)
from jobs.claims import any_ready
from jobs.models import Limit, Pause, Task
from jobs.states import WAITING, State
from jobs.vacuuming import Vacuum
from tenants.clock import clock
from tenants.database import transaction, unindexed
from tenants.models import Business

log = structlog.get_logger()

_REAP_SECONDS = 1.0  # of one beat
_MOVE_SECONDS = 0.5  # of one beat
_MOVE_AGAIN_SECONDS = 60.0
_FINISH_SECONDS = 0.5  # of one beat
_SETTLE_SECONDS = 0.5  # of one beat
_GROUP_SECONDS = 0.3  # of one beat
_FORGET_SECONDS = 0.5  # of one beat
_FORGET_AGAIN_SECONDS = 3600.0
_is_waiting = or_(
    *(
        Task.any_waits(Task.business_id == Business.id, settling.IN_ANY_QUEUE, Task.stands(state))
        for state in sorted(WAITING)
    )
)
# Each business that a pause of the whole installation meets would cost the beat milliseconds: only those with tasks.
_is_touched = or_(
    exists().where(Pause.settled_at.is_(None), Pause.business_id == Business.id),
    and_(exists().where(Pause.settled_at.is_(None), Pause.business_id.is_(None)), _is_waiting),
)
_is_released = and_(
    exists().where(Pause.settled_at.is_(None), ~judge.is_open(), judge.touching(Business.id.expression)),
    Task.any_waits(Task.business_id == Business.id, settling.IN_ANY_QUEUE, Task.stands(State.PAUSED)),
)
# No pause and no limit counts in it, so that whatever is due may start.
_is_free = ~or_(
    exists().where(Pause.settled_at.is_(None), judge.touching(Business.id.expression)),
    exists().where(Limit.business_id == Business.id),
)


class Beat:
    """One beat after the other. It remembers which turns looked lost at the last one."""

    def __init__(self, also: Sequence[Callable[[], None]] = (), *, retention_days: float = 30.0) -> None:
        self._move_at = 0.0
        self._retention_days, self._forget_at = retention_days, 0.0
        self._places: deque[int | None] = deque()  # where this hour's forgetting goes on
        self._vacuum = Vacuum()
        pauses = [self.end_expired_pauses, self.settle]
        repairs = [self.move_to_queues, self.reap, self.finish_deletions, *pauses, self.wake_ready]
        repairs += [self.group_failures, self.forget, self._vacuum.look]
        self._repairs = [*repairs, *also]
        self._missing: dict[tuple[int, str], str] = {}
        self._settled = self._grouped = 0  # the business that was settled last, and the one whose failures were grouped

    def __call__(self, leads: Callable[[], bool] = lambda: True) -> None:
        """Do each repair while this process `leads`; one that fails stops no other, and has another try next time."""
        for repair in self._repairs:
            if not leads():
                log.warning("the lead was lost in the middle of a beat")
                return
            self._try(repair)

    def reap(self) -> None:
        """Take tasks back from workers that disappeared, in chunks, for a second; the next beat goes on."""
        lost, ends_at = leases.CHUNK, time.monotonic() + _REAP_SECONDS
        while lost == leases.CHUNK and time.monotonic() < ends_at:
            with transaction() as session:
                lost = leases.reap(session)
            if lost:
                log.warning("leases ran out", tasks=lost)

    def finish_deletions(self) -> None:
        """Make final what can no longer be undone, in chunks, for half a second; the next beat goes on."""
        ends_at = time.monotonic() + _FINISH_SECONDS
        while time.monotonic() < ends_at:
            with transaction(read_only=True) as session:
                if not deletions.any_over(session):
                    return
            with transaction(claims=True) as session:
                deletions.finish(session)

    def move_to_queues(self) -> None:
        """Once a minute: bring waiting tasks along when their type has another queue than when they were submitted.

        Again and again, since a process with yesterday's code may submit or give back one more.
        """
        if time.monotonic() < self._move_at:
            return
        ends_at = time.monotonic() + _MOVE_SECONDS
        with transaction(read_only=True) as session:
            astray = relocations.find(session)
        for name, ids in astray:
            with transaction(claims=True) as session:
                relocations.move(session, name, ids)
            if time.monotonic() >= ends_at:
                return
        self._move_at = time.monotonic() + _MOVE_AGAIN_SECONDS

    def end_expired_pauses(self) -> None:
        """Write down the end of pauses whose time is over. They stopped counting by themselves."""
        over = (Pause.ended_at.is_(None), Pause.until <= clock())
        with transaction(read_only=True) as session:
            found = session.execute(select(Pause.id, Pause.business_id).where(*over)).all()
        for id_, business_id in found:
            with transaction() as session:
                judge.stop_claims(session, business_id)  # whoever saw it open still may mark its tasks
                session.execute(update(Pause).where(Pause.id == id_, *over).values(ended_at=Pause.until))

    def settle(self) -> None:
        """Mark what is paused and unmark what is not, in chunks, for half a second at most; go on there next time."""
        ends_at, moved = time.monotonic() + _SETTLE_SECONDS, 0
        for business_id in self._unsettled():
            if time.monotonic() >= ends_at:
                break
            moved += settling.settle_until(ends_at, business_id, claims=True)
            self._settled = business_id
        self._vacuum.note(moved, is_done=moved < settling.CHUNK)
        with transaction(claims=True) as session:
            settling.finish_system_wide(session)

    def group_failures(self) -> None:
        """Put failed tasks into their groups, in chunks; go on there next time."""
        ends_at = time.monotonic() + _GROUP_SECONDS
        while self._group_some(ends_at) and time.monotonic() < ends_at:
            pass

    def _group_some(self, ends_at: float) -> int:
        """A chunk of each business in turn, while there is time, at least one; answer how many tasks."""
        grouped = 0
        with transaction(read_only=True) as session:
            found = grouping.businesses(session, after=self._grouped)
        for business_id in found:
            with transaction(claims=True) as session:
                grouped += grouping.group(session, business_id)
            self._grouped = business_id
            if time.monotonic() >= ends_at:
                break
        return grouped

    def forget(self) -> None:
        """Once an hour: remove what is older than the retention, half a second of each beat; go on there next time."""
        ends_at = time.monotonic() + _FORGET_SECONDS
        while self._places or self._forget_at <= time.monotonic():
            if not self._places:
                self._places, self._forget_at = self._forgetting(), time.monotonic() + _FORGET_AGAIN_SECONDS
            place = self._places.popleft()
            if self._forget_in(place):
                self._places.append(place)  # there may be more of it, after the others
            if time.monotonic() >= ends_at:
                return

    def _forgetting(self) -> deque[int | None]:
        """Where to look: at the firings, None, and in each business."""
        with transaction(read_only=True) as session:
            return deque([None, *retention.businesses(session)])

    def _forget_in(self, business_id: int | None) -> int:
        with transaction(claims=True) as session:
            if business_id is None:
                return firings.forget(session, self._retention_days)
            gone = retention.forget_tasks(session, business_id, self._retention_days)
            return gone + grouping.forget(session, business_id, self._retention_days)

    def wake_ready(self) -> None:
        """Queue a turn wherever tasks are ready and no turn is."""
        queue.quietly(self._wake, self._ready())

    def _wake(self, ready: Sequence[tuple[int, str]]) -> None:
        queue.wake_each(ready)
        self._replace_lost(ready)

    def _replace_lost(self, ready: Sequence[tuple[int, str]]) -> None:
        """A turn that is marked as queued, but is in no queue at two beats, was lost between pop and begin."""
        missing = queue.missing_tickets(ready)
        for pair, ticket in missing.items():
            if self._missing.get(pair) == ticket:
                queue.begin_turn(*pair, ticket)
                queue.wake_now(*pair)
                log.warning("a turn was lost", business=pair[0], queue=pair[1])
        self._missing = missing

    def _unsettled(self) -> list[int]:
        """The businesses that a pause touches: an open one, or one that ended and left marks; the next one first."""
        in_turn = Business.id <= self._settled, Business.id
        with transaction(read_only=True) as session:
            return list(session.scalars(select(Business.id).where(_is_touched).order_by(*in_turn)))

    def _ready(self) -> list[tuple[int, str]]:
        """Every (business, queue) with a task that may start now."""
        with transaction(read_only=True) as session:
            return [(business_id, name) for name in task_types.queues() for business_id in _ready_in(session, name)]

    def _try(self, repair: Callable[[], None]) -> None:
        try:
            repair()
        except Exception as error:  # noqa: BLE001 - nothing may stop the beat, whatever lies in Redis or SQL
            log.warning("a repair failed", repair=getattr(repair, "__name__", repr(repair)), error=str(error))


def _ready_in(session: Session, name: str) -> list[int]:
    """The businesses with a task that may start now on a queue: one statement, but for pauses and limits."""
    types = [one for one in task_types.all_types() if one.queue == name]
    due = Task.any_waits(
        Task.business_id == Business.id,
        Task.queue == name,
        Task.stands(State.PENDING),
        Task.next_try_at <= levels.now(),
        unindexed(Task.task_type.in_([one.name for one in types])),  # else whole histories are read
    )
    found = session.execute(select(Business.id, _is_free).where(due | _is_released)).all()
    limited = any(one.max_running is not None for one in types)
    return [id_ for id_, is_free in found if (is_free and not limited) or any_ready(session, id_, name)]
