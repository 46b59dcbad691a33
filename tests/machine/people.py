"""Rules about people: they submit, pause, resume, interrupt, edit and delete, and look at numbers."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from sqlalchemy import update

from jobs import judge, pauses, settling, submit, tasks
from jobs.judge import Target
from jobs.models import Pause
from tenants.clock import clock
from tenants.database import transaction
from tests.machine import handlers, oracle
from tests.machine.at_work import AtWork, numbers
from tests.machine.invariants import need
from tests.machine.steps import LEASE, TYPES, pick
from tests.machine.view import Row, View

plans = st.lists(st.sampled_from(handlers.PLANS), max_size=2)
priorities = st.sampled_from([-1, 0, 0, 5])
GOALS = ["pending", "paused", "running", "cancelling", "final"]


class People(AtWork):
    """What people do."""

    @rule(number=numbers, name=st.sampled_from(TYPES), priority=priorities, plan=plans, later=st.booleans())
    def submit(self, number: int, name: str, priority: int, plan: list[str], later: bool) -> None:
        business_id = pick(self.businesses, number)
        at = self.seen.now + timedelta(seconds=3 * LEASE) if later and number % 2 else None
        self.add(business_id, self.person(business_id, number // 2), name, priority=priority, plan=plan, start_at=at)

    @rule(number=numbers, count=st.integers(2, 5))
    def submit_many(self, number: int, count: int) -> None:
        """Of all users and types in one business, so that there is something to choose from. One is rolled back."""
        business_id = pick(self.businesses, number)
        self.submit_and_roll_back(business_id)
        for place in range(count):
            name = pick(TYPES, number + place)
            self.add(business_id, self.person(business_id, place), name, priority=(place * 5) % 3)

    @rule(number=numbers, who=numbers, shape=st.sampled_from("user type both system".split()), ends=st.booleans())
    def pause(self, number: int, who: int, shape: str, ends: bool) -> None:
        """Pausing a second time answers the first pause."""
        self.make_room()
        business_id = pick(self.businesses, number)
        people = [one for one in self.users if one is not None and (one in self._known(business_id))]
        user_id = pick(people, who) if shape in ("user", "both") else None
        name = pick(TYPES, who) if shape != "user" else None
        target = Target(None if shape == "system" else business_id, user_id, name)
        by = self.root if shape == "system" else self.admins[business_id]
        ids = []
        for _ in range(2):
            with self.step(), transaction() as session:
                ids.append(pauses.pause(session, by, target, "too loud").id)
            if ends:
                self._set_until(ids[0], 4 * LEASE)
        need(ids[0] == ids[1], "8: repeating a pause answers the first", ids)
        need(oracle.is_open(self.seen.pauses[ids[0]], self.seen.now), "8: the pause stands", target)

    @rule(
        number=numbers,
        shape=st.sampled_from("user user type both both system".split()),
        ended=st.sampled_from(["no", "no", "resumed", "by itself"]),
    )
    def claim_under_a_pause(self, number: int, shape: str, ended: str) -> None:
        """Whatever stands, nobody is forgotten and nobody slips through, here and in the other business."""
        self.pause(number, number, shape, ended == "by itself")
        for business_id in self.businesses:
            for place in range(3):
                self.add(business_id, self.person(business_id, place), pick(TYPES[1:], number + place), priority=7)
        newest = max(self.seen.pauses)
        if ended == "resumed":
            self.resume_now(self.seen.pauses[newest])
        elif ended == "by itself":
            self._set_until(newest, -1)
        for business_id in self.businesses:
            self.take(business_id, "machine", 9, "one")

    @rule(number=numbers, how=st.sampled_from(["resume", "resume all", "its time is over"]))
    def end_a_pause(self, number: int, how: str) -> None:
        """Of itself, when its time is over: no process needs to end it."""
        standing = self._open(self.seen)
        if how == "resume all":
            self.resume_all(pick(self.businesses, number))
        elif how == "resume" and self.seen.pauses:  # perhaps one that has ended
            self.resume_now(self.seen.pauses[pick(sorted(self.seen.pauses), number)])
        elif standing:
            self._set_until(pick(standing, number).id, -1)

    @rule(number=numbers, count=st.integers(3, 5), limit=st.integers(1, 2), by_itself=st.booleans())
    def pause_for_a_while(self, number: int, count: int, limit: int, by_itself: bool) -> None:
        """Tasks are set aside and brought back: it must be as if there had been no pause."""
        business_id = pick(self.businesses, number)
        target = Target(business_id, None, "machine.thrice")
        for place in range(count):
            self.add(business_id, self.person(business_id, place), "machine.thrice", priority=place * 7 % 5)
        with self.step(), transaction() as session:
            pause_id = pauses.pause(session, self.admins[business_id], target, "for a while").id
        self.settle_now(business_id, 1000)
        if by_itself:
            self._set_until(pause_id, -1)
        else:
            self.resume_now(self.seen.pauses[pause_id])
        self.take(business_id, "machine", limit, "one")
        self.settle_now(business_id, 1000)

    @rule(number=numbers, most=st.sampled_from([0, 1, 2, None]), name=st.sampled_from([None, *TYPES]))
    def limit(self, number: int, most: int | None, name: str | None) -> None:
        self.make_room()
        business_id = pick(self.businesses, number)
        self.set_limit(business_id, most, name)
        for _ in range(2):
            self.add(business_id, None, name or "machine.twice", priority=9)
            self.take(business_id, handlers.QUEUE_OF[name or "machine.twice"], 2, "one")

    @rule(number=numbers, chunk=st.sampled_from([1, 2, 1000]))
    def settle(self, number: int, chunk: int) -> None:
        self.settle_now(pick(self.businesses, number), chunk)
        self.look_at_numbers(pick(self.businesses, number))

    @rule(number=numbers, goal=st.sampled_from(GOALS))
    def interrupt(self, number: int, goal: str) -> None:
        """What waits is over at once, what runs is asked to stop, what is over stays as it is."""
        task = self.bring(number, goal)
        if task is None:
            return
        over = task.state in oracle.FINAL
        step, answer = self.ask_to_stop(task.business_id, task.id)
        new = step.after.tasks[task.id]
        need(
            answer == (None if over else new.state), "11: the answer of an interrupt is what became of it", answer, new
        )
        if task.state in oracle.WAITING:
            need((new.state, new.attempts) == ("canceled", task.attempts), "11: it never begins", new)
        elif over or task.state == "cancelling":
            step.need_nothing_changed("6, 11: an interrupt that comes twice or too late changes nothing")
        else:
            need(new.state == "cancelling" and new.claim_token == task.claim_token, "11: it is asked to stop", new)

    @rule(number=numbers, goal=st.sampled_from(GOALS))
    def delete(self, number: int, goal: str) -> None:
        task = self.bring(number, goal)
        if task is None:
            return
        removed = {task.id} if task.state in oracle.FINAL else set()
        with self.step({task.id}, removed) as step, transaction() as session:
            if task.state in oracle.HELD:
                with pytest.raises(tasks.StillRunning):
                    tasks.delete(session, self.admins[task.business_id], task.id)
            else:
                tasks.delete(session, self.admins[task.business_id], task.id)
        if task.state in oracle.WAITING:
            need(step.after.tasks[task.id].state == "canceled", "1: a waiting task is canceled", task)
        elif removed:
            need(task.id not in step.after.tasks and not step.after.attempts_of(task.id), "1: it is gone", task)
        else:
            step.need_nothing_changed("1: what runs is not deleted")

    @rule(number=numbers, goal=st.sampled_from(GOALS), priority=priorities, at=st.sampled_from([None, -50, 3 * LEASE]))
    def edit(self, number: int, goal: str, priority: int, at: float | None) -> None:
        task = self.bring(number, goal)
        if task is None:
            return
        when: datetime | None = None if at is None else self.seen.now + timedelta(seconds=at)
        to = tasks.Changes("edited", priority, when, task.payload)
        with self.step({task.id}) as step, transaction() as session:
            if task.state in oracle.WAITING and not task.attempts:
                tasks.edit(session, self.admins[task.business_id], task.id, to)
            else:
                with pytest.raises(tasks.AlreadyStarted):
                    tasks.edit(session, self.admins[task.business_id], task.id, to)
        new = step.after.tasks[task.id]
        changed = {"title": "edited", "sort_title": "edited", "priority": priority}
        changed |= {"next_try_at": when or task.next_try_at}
        may = task.state in oracle.WAITING and not task.attempts
        need(new == (task._replace(**changed) if may else task), "6: an edit is for what has not started", task, new)

    def look_at_numbers(self, business_id: int) -> None:
        """Invariant 17: numbers that people see are those of the rows."""
        by = self.admins[business_id]
        waiting = [
            one for one in self.seen.tasks.values() if one.business_id == business_id and one.state in oracle.WAITING
        ]
        with transaction(read_only=True) as session:
            shown = {one.id: count for one, count in pauses.search_open(session, by)}
            held = pauses.held_back(session, by, judge.standing(session, business_id))
        standing = [one for one in self._open(self.seen) if one.business_id in (None, business_id)]
        counted = {one.id: sum(oracle.covers(one, task) for task in waiting) for one in standing}
        need(shown == counted, "17: how many tasks each pause holds", shown, counted)
        need(held == sum(oracle.is_held(self.seen, task) for task in waiting), "17: how many tasks are held", held)

    def bring(self, number: int, goal: str) -> Row | None:
        """A task that stands so, made in one step if there is none."""
        states = oracle.FINAL if goal == "final" else {goal}

        def found() -> list[Row]:
            return [task for task in self.seen.tasks.values() if task.state in states]

        if not found():
            self._make(number, goal)
        return pick(found(), number) if found() else None

    def _make(self, number: int, goal: str) -> None:
        business_id = pick(self.businesses, number)
        if goal in ("pending", "paused"):
            self.add(business_id, self.person(business_id, number), pick(TYPES, number))
        elif goal == "final":
            held = self.bring_claimed(number)[:1]
            self.end(held, [pick(["done", "fail", "stop"], number)])
        elif self.bring_claimed(number) and goal == "cancelling":
            (task,) = [one for one in self.seen.tasks.values() if one.state == "running"][:1]
            self.ask_to_stop(task.business_id, task.id)

    def settle_now(self, business_id: int, chunk: int) -> None:
        """Settle a chunk; when all fits into it, marks follow the registry."""
        with self.step() as step, transaction(claims=True) as session:
            moved = settling.settle(session, business_id, chunk=chunk)
        changed = [id_ for id_, old in step.before.tasks.items() if step.after.tasks[id_] != old]
        need(len(changed) == moved, "9: settling tells how many it moved", moved, changed)
        for task in step.after.tasks.values():
            if task.business_id == business_id and task.state in oracle.WAITING and chunk == 1000:
                need((task.state == "paused") == oracle.is_held(step.after, task), "9: marks follow the registry", task)

    def resume_all(self, business_id: int) -> None:
        """It ends every pause of the business, and none else."""
        with self.step() as step, transaction() as session:
            told = pauses.resume_all(session, self.admins[business_id])
        ours = [one for one in self._open(step.before) if one.business_id == business_id]
        need(told.pauses == len(ours), "17: how many pauses were ended", told)
        need(not [one for one in self._open(step.after) if one.business_id == business_id], "9: all are ended")
        others = [one for one in self._open(step.before) if one.business_id != business_id]
        need([step.after.pauses[one.id] for one in others] == others, "8: other pauses stand")

    def submit_and_roll_back(self, business_id: int) -> None:
        """It leaves neither a row nor a turn."""
        turns = self.turns()
        with self.step() as step, transaction() as session:
            submit("machine.once", business=self.slugs[business_id], session=session)
            session.rollback()
        step.need_nothing_changed("1: a rolled-back submit leaves no row")
        need(self.turns() == turns, "house 6.2: a rollback forgets its wake")

    def _set_until(self, pause_id: int, seconds: float) -> None:
        with transaction() as session:
            session.execute(update(Pause).where(Pause.id == pause_id).values(until=clock(seconds)))
        self.seen = View.read()

    def _open(self, view: View) -> list[Row]:
        return sorted((one for one in view.pauses.values() if oracle.is_open(one, view.now)), key=lambda one: one.id)

    def _known(self, business_id: int) -> set[int | None]:
        """Ben works at Acme only: nobody can pause him elsewhere."""
        return {self.person(business_id, number) for number in range(3)}
