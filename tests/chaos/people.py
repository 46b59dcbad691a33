"""What people and programs ask for during a run. Each call is written down with its answer and the moment of it."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from jobs import lists, pauses, submit
from jobs.filters import TaskFilter
from jobs.interrupts import interrupt
from jobs.judge import Target
from jobs.models import Pause, Task
from jobs.states import State
from tenants import businesses, members
from tenants.accounts import find
from tenants.database import transaction
from tenants.errors import SluiceError
from tenants.models import Role
from tenants.permissions import Actor
from tests import factories
from tests.chaos.journal import Journal

_AGAIN_SECONDS = 30.0
USERS = {
    "acme": ["ada@example.com", "ben@example.com", "cleo@example.com", None],
    "globex": ["ada@example.com", None],
    "initech": ["zoe@example.com", None],
    "hooli": ["zoe@example.com", "ben@example.com", None],
}
ADMINS = {"acme": "ada", "globex": "ada", "initech": "zoe", "hooli": "zoe"}


def move_in() -> None:
    """Make the cast and a fourth business."""
    with transaction() as session:
        factories.fill(session)
        zoe, ben = (find(session, f"{name}@example.com") for name in ("zoe", "ben"))
        assert zoe
        assert ben
        hooli = businesses.create(session, "hooli", "Hooli")
        members.add(session, hooli, zoe, Role.ADMIN)
        members.add(session, hooli, ben)


def admins() -> dict[str, Actor]:
    """The admin of each business, by its short name."""
    with transaction(read_only=True) as session:
        found = {slug: find(session, f"{name}@example.com") for slug, name in ADMINS.items()}
        return {slug: members.enter(session, user, slug) for slug, user in found.items() if user}


@dataclass
class People:
    """Everybody who asks Sluice for something."""

    journal: Journal
    admins: dict[str, Actor]
    rng: random.Random
    name: str = "driver"
    answered: dict[int, str] = field(default_factory=dict)  # task ids, each with its business
    interrupted: set[int] = field(default_factory=set)
    open_pauses: list[tuple[str, int]] = field(default_factory=list)
    _calls: itertools.count[int] = field(default_factory=itertools.count)

    def submit(self, kinds: Sequence[tuple[str, float]]) -> list[int]:
        """Submit tasks of these kinds and lengths in one transaction. What raises is asked for again, as a new call."""
        wanted = []
        for kind, seconds in kinds:
            business = self.rng.choice(sorted(USERS))
            wanted.append((kind, seconds, business, self.rng.choice(USERS[business])))
        ends_at = time.monotonic() + _AGAIN_SECONDS
        while time.monotonic() < ends_at:
            if ids := self._submit(wanted):
                return ids
            time.sleep(0.2)
        raise TimeoutError("nothing can be submitted any more")

    def pause(self) -> None:
        """Somebody's tasks, a type's, or both together, in one business."""
        business = self.rng.choice(sorted(USERS))
        users = [email for email in USERS[business] if email]
        user, kind = self.rng.choice(users), f"chaos.{self.rng.choice(['quick', 'longer', 'child'])}"
        about = self.rng.choice([(user, None), (None, kind), (user, kind)])
        self._ask("pause", lambda: self._pause(business, *about), business=business, user=about[0], task_type=about[1])

    def resume(self) -> None:
        """End the oldest pause."""
        if not self.open_pauses:
            return
        business, pause_id = self.open_pauses[0]

        def act() -> int:
            with transaction() as session:
                return pauses.resume(session, self.admins[business], pause_id).id

        if self._ask("resume", act, pause=pause_id) is not None:
            self.open_pauses.pop(0)

    def resume_all(self) -> None:
        """End every pause, also one whose answer nobody heard."""
        with transaction(read_only=True) as session:
            query = select(Pause.id, Pause.business_id).where(Pause.ended_at.is_(None))
            found = dict(map(tuple, session.execute(query)))
        slugs = {actor.business.id: slug for slug, actor in self.admins.items()}
        self.open_pauses = [(slugs[business_id], id_) for id_, business_id in found.items()]
        ends_at = time.monotonic() + _AGAIN_SECONDS
        while self.open_pauses and time.monotonic() < ends_at:
            self.resume()

    def interrupt(self, task_id: int) -> None:
        """Stop a task. What it was then shows its state after the call, in the same transaction."""
        business = self.answered[task_id]
        answer = self._ask("interrupt", lambda: self._interrupt(business, task_id), task=task_id)
        if answer:
            self.interrupted.add(task_id)

    def ready(self) -> int:
        """How many tasks wait."""
        query = select(Task.id).where(Task.state == State.PENDING).limit(1000)
        try:
            with transaction(read_only=True) as session:
                return len(session.execute(query).all())
        except SQLAlchemyError:
            return 0

    def count(self) -> None:
        """Write down how many tasks the lists of each business say that it has."""
        for slug, actor in self.admins.items():
            with transaction(read_only=True) as session:
                counts = lists.counts(session, actor, TaskFilter())
            self.journal.write(
                "counted", business=slug, shown={state or "all": one.number for state, one in counts.items()}
            )

    def _submit(self, wanted: Sequence[tuple[str, float, str, str | None]]) -> list[int]:
        calls = [f"{self.name}-{next(self._calls)}" for _ in wanted]
        asked, ids, raised = time.monotonic(), [], None
        try:
            with transaction() as session:
                for (kind, seconds, business, user), call in zip(wanted, calls, strict=True):
                    payload = {"call": call, "seconds": seconds}
                    ids.append(submit(f"chaos.{kind}", business=business, user=user, payload=payload, session=session))
        except SQLAlchemyError as error:
            ids, raised = [], str(error).splitlines()[0]
        for number, (kind, _, business, user) in enumerate(wanted):
            facts = {"kind": kind, "business": business, "user": user, "asked": asked, "raised": raised}
            answer = ids[number] if ids else None
            self.journal.write("submit", call=calls[number], answer=answer, **facts)
            if answer:
                self.answered[answer] = business
        return ids

    def _pause(self, business: str, user: str | None, task_type: str | None) -> int:
        by = self.admins[business]
        with transaction() as session:
            found = find(session, user) if user else None
            target = Target(by.business.id, user_id=found.id if found else None, task_type=task_type)
            one = pauses.pause(session, by, target, "chaos")
        if (business, one.id) not in self.open_pauses:
            self.open_pauses.append((business, one.id))
        return one.id

    def _interrupt(self, business: str, task_id: int) -> dict[str, Any]:
        with transaction() as session:
            interrupt(session, self.admins[business], task_id)
            query = select(Task.state, Task.claim_token, Task.attempts).where(Task.id == task_id)
            now = session.execute(query).one()
        waited = now.state == State.CANCELED or now.claim_token is None
        return {"found": "waiting" if waited else "running", "attempts": now.attempts}

    def _ask(self, what: str, act: Callable[[], Any], **facts: Any) -> Any:
        """The answer, or None when it was refused or failed; either is written down, and before, that it was asked."""
        self.journal.write("asking", of=what, **facts)
        asked, answer, raised = time.monotonic(), None, None
        try:
            answer = act()
        except (SluiceError, SQLAlchemyError) as error:
            raised = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        answered = time.monotonic()
        self.journal.write(what, asked=asked, answered=answered, answer=answer, raised=raised, **facts)
        return answer
