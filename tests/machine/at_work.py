"""Rules about claims: how attempts end, with tokens that count and with stale ones, and what dead processes leave."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import rule

from jobs import attempts, claims, leases, records
from jobs.attempts import Claim, Outcome
from jobs.context import TaskContext
from jobs.records import Ended
from tenants.database import transaction
from tests.machine import handlers
from tests.machine.invariants import need
from tests.machine.steps import LEASE, TYPES, WORKERS, Held, Step, pick
from tests.machine.view import Row
from tests.machine.world import World

numbers = st.integers(0, 11)
HOWS = [*handlers.PLANS, "lost"]
NEXT = {"done": "completed", "fail": "failed", "stop": "canceled"}


class AtWork(World):
    """What workers do with claims."""

    @rule(number=numbers, name=st.sampled_from(["machine", "aside"]), limit=st.integers(1, 5))
    def claim(self, number: int, name: str, limit: int) -> None:
        self.take(pick(self.businesses, number), name, limit, pick(WORKERS, number))

    @rule(number=numbers, count=st.integers(2, 4))
    def claim_behind_a_lost_one(self, number: int, count: int) -> None:
        """What was lost stands among others: it must be alone in its batch."""
        business_id = pick(self.businesses, number)
        for _ in range(count):
            self.add(business_id, None, "machine.thrice", priority=9)
        self.lose(self.take(business_id, "machine", 1, "one"))
        for _ in range(2):
            self.take(business_id, "machine", 5, "two")

    @rule(
        number=numbers,
        hows=st.lists(st.sampled_from(HOWS), min_size=1, max_size=3),
        interrupted=st.sampled_from([False, False, True]),
    )
    def finish(self, number: int, hows: list[str], interrupted: bool) -> None:
        """Attempts that count end, several in one go; somebody may have interrupted one of them."""
        held = self.bring_claimed(number, len(hows))
        chosen = {one.claim.id: one for one in (held[number % len(held) :] + held)[: len(hows)]} if held else {}
        for one in list(chosen.values())[:interrupted]:
            self.ask_to_stop(one.claim.business_id, one.claim.id)
        self.end(list(chosen.values()), hows)

    @rule(number=numbers, how=st.sampled_from(HOWS), is_held=st.sampled_from([True, True, False]))
    def end_late(self, number: int, how: str, is_held: bool) -> None:
        """A zombie comes back, writes an end and gives back: its token is stale, and it changes nothing."""
        stale = self.bring_stale(number, is_held)
        if stale is None:
            return
        with self.step() as step:
            self.record_now([self.ended(stale, how)], stale.worker)
        step.need_nothing_changed("5: an end with a stale token changes nothing")
        with self.step() as step:
            self.give_back_now([stale])
        step.need_nothing_changed("5: giving back with a stale token changes nothing")

    @rule(number=numbers, count=st.integers(1, 3))
    def give_back(self, number: int, count: int) -> None:
        """What had not begun goes back and costs no attempt."""
        chosen = self.bring_claimed(number)[:count]
        with self.step({one.claim.id for one in chosen}) as step:
            self.give_back_now(chosen)
        for one in chosen:
            self.need_given_back(step, one.claim.id)

    @rule(number=numbers)
    def renew(self, number: int) -> None:
        """A heartbeat is about all that a process holds, and says how each of its tasks stands."""
        self.bring_claimed(number)
        worker = pick(WORKERS, number)
        theirs = {one.claim.id for one in self.live() if one.worker == worker}
        with self.step(theirs) as step, transaction() as session:
            states = claims.renew(session, worker, os.getpid(), LEASE + 7)
        need(states == {id_: step.before.tasks[id_].state for id_ in theirs}, "5: a heartbeat sees its tasks", states)
        for id_ in theirs:
            old, new = step.pair(id_)
            need(old.lease_until < new.lease_until, "3: a heartbeat keeps the lease", old, new)
            need(old._replace(lease_until=new.lease_until) == new, "3: a heartbeat keeps all else", old, new)

    @rule(number=numbers, interrupted=st.booleans())
    def expire_and_reap(self, number: int, interrupted: bool) -> None:
        held = self.bring_claimed(number)
        for one in held[:interrupted]:
            self.ask_to_stop(one.claim.business_id, one.claim.id)
        self.lose(held[: 1 + number % 3])

    @rule(number=numbers, ended=st.lists(st.sampled_from(HOWS[:-1]), max_size=2), runs=st.booleans())
    def bury(self, number: int, ended: list[str], runs: bool) -> None:
        """A process dies: some had ended, one was at work, and the rest had not begun."""
        held = self.bring_claimed(number, 3)
        theirs = [one for one in held if one.worker == held[0].worker]
        before, rest = theirs[: len(ended)], theirs[len(ended) :]
        running = rest.pop(0) if runs and rest else None
        dead = leases.Dead(
            held[0].worker if held else "one",
            os.getpid(),
            [self.ended(one, how) for one, how in zip(before, ended, strict=False)],
            (running.claim.id, running.claim.attempt) if running else None,
            lambda claim: attempts.lost(claim, "its process was killed"),
        )
        with self.step({one.claim.id for one in theirs}) as step, transaction() as session:
            leases.bury(session, dead)
        for one, how in zip(before, ended, strict=False):
            self.need_ended(step, one.claim, how)
        if running:
            self.need_lost(step, running.claim.id)
        for one in rest:
            self.need_given_back(step, one.claim.id)

    @rule(number=numbers, is_seen=st.booleans())
    def crash_again_and_again(self, number: int, is_seen: bool) -> None:
        """A task that kills its horse each time, or its worker, too, so that nobody sees it, fails at its limit."""
        business_id = pick(self.businesses, number)
        id_ = self.add(business_id, None, pick(TYPES, number), priority=99)
        task = self.seen.tasks[id_]
        crashes = 0
        for _ in range(task.max_attempts):
            held = [one for one in self.take(business_id, task.queue, 1, "one") if one.claim.id == id_]
            crashes += len(held)  # none if it is paused, or another one stands before it
            if is_seen:
                self.end(held, ["lost"])
            else:
                self.lose(held)
        new = self.seen.tasks[id_]
        need(crashes < task.max_attempts or new.state == "failed", "16: what always crashes fails at its limit", new)

    def bring_stale(self, number: int, is_held: bool) -> Held | None:
        """A claim that was taken away, of a task that somebody else holds now, or of one that waits or is over."""

        def found() -> list[Held]:
            others = [one for one in self.claims if not self.is_live(one) and one.claim.id in self.seen.tasks]
            return [one for one in others if (self.seen.tasks[one.claim.id].claim_token is not None) == is_held]

        if not found():
            can_lose = [one for one in self.bring_claimed(number) if one.claim.attempt < one.claim.max_attempts]
            self.lose(can_lose[:1])
            for one in can_lose[:1] if is_held else []:
                name = handlers.QUEUE_OF[one.claim.task_type]
                for _ in range(3):  # it is claimed alone
                    self.take(one.claim.business_id, name, 9, "two")
        return pick(found(), number) if found() else None

    def end(self, held: Sequence[Held], hows: Sequence[str]) -> None:
        """Record the ends of these claims, which count, and look at what they became."""
        by_worker = {worker: [one for one in held if one.worker == worker] for worker in WORKERS}
        how_of = dict(zip((one.claim.id for one in held), hows, strict=False))
        for worker, theirs in by_worker.items():
            with self.step({one.claim.id for one in theirs}) as step:
                self.record_now([self.ended(one, how_of[one.claim.id]) for one in theirs], worker)
            for one in theirs:
                self.need_ended(step, one.claim, how_of[one.claim.id])

    def ended(self, one: Held, how: str) -> Ended:
        """An end as a worker holds it in its hands: the engine makes it of what a handler does."""
        context = TaskContext(one.claim.id, one.claim.attempt, one.claim.business, one.claim.user)
        context.log("said at the end")
        if how == "lost":
            outcome: Outcome = attempts.lost(one.claim, "its process was killed")
        else:
            outcome = attempts.perform(one.claim, context, lambda _: handlers.ACTS[how]())
        return Ended(one.claim, outcome, 0.001, 0.002, os.getpid(), context.news())

    def record_now(self, ended: Sequence[Ended], worker: str) -> None:
        """The transaction in which a worker writes ends."""
        with transaction(claims=True) as session:
            records.record(session, ended, worker)

    def give_back_now(self, held: Sequence[Held]) -> None:
        """The transaction in which a worker gives back."""
        with transaction(claims=True) as session:
            claims.give_back(session, [one.claim for one in held])

    def need_ended(self, step: Step, claim: Claim, how: str) -> None:
        """The attempt ended as it did, unless an interrupt came first."""
        old, new = step.pair(claim.id)
        if how == "lost":
            self.need_lost(step, claim.id)
        elif old.state == "cancelling":
            need(new.state == "canceled", "11: an interrupt wins over whatever the handler did", old, new)
        elif how in NEXT:
            need(new.state == NEXT[how], "12: it ends as its handler ended", how, new)
        elif old.attempts >= old.max_attempts:
            need(new.state == "failed", "4: the last attempt fails", new)
        else:
            self._need_later(step, old, new, handlers.LATER if how == "retry" else 0.0)
        (last,) = step.after.attempts_of(claim.id)[-1:]
        need(last.number == claim.attempt, "12: the attempt that ended is written", last)
        said = len(step.after.entries) - len(step.before.entries)
        need(said, "12: what the handler said is written")

    def _need_later(self, step: Step, old: Row, new: Row, delay: float) -> None:
        wait = (new.next_try_at - step.before.now).total_seconds()
        latest = (step.after.now - step.before.now).total_seconds() + delay
        need(new.state == "pending" and delay - 1 <= wait <= latest + 1, "10: a retry waits for its delay", wait, new)
        need(not new.claim_alone and new.priority == old.priority, "9: a retry is one among others", new)

    def need_given_back(self, step: Step, task_id: int) -> None:
        """As if it had never been claimed, unless an interrupt was accepted meanwhile."""
        old, new = step.pair(task_id)
        need(new.state == ("canceled" if old.state == "cancelling" else "pending"), "4, 11: it goes back", old, new)
        need(new.attempts == old.attempts - 1, "4: giving back costs no attempt", old, new)
        same = replace(step.before, now=step.after.now)
        need(same.attempts_of(task_id) == step.after.attempts_of(task_id), "12: giving back is no attempt", new)
        need((new.next_try_at, new.priority) == (old.next_try_at, old.priority), "9: it keeps its place", old, new)
