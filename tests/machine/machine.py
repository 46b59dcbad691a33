"""The machine itself: all rules. Here are those of turns, beats, Redis, schedules and time."""

from __future__ import annotations

import time
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import rule
from rq.serializers import JSONSerializer
from sqlalchemy import update

from jobs import pauses, queue, schedules, turns
from jobs.judge import Target
from jobs.schedule_models import Schedule
from jobs.scheduler import BeatingScheduler
from jobs.schedules import Draft
from tenants.database import transaction
from tests.machine import handlers, oracle
from tests.machine.at_work import numbers
from tests.machine.invariants import need
from tests.machine.people import People
from tests.machine.steps import LEASE, QUEUES, TYPES, pick
from tests.machine.view import View

_EVERY = 997  # seconds between firings; no time that passes is a multiple of it, or due times would meet
_SLICE = 0.03


class Machine(People):
    """Everything that can happen to Sluice's tables and turns, in any order."""

    @rule(number=numbers, twice=st.booleans())
    def turn(self, number: int, twice: bool) -> None:
        """A worker takes a turn; the broker may hand out the same one twice."""
        if not self.turns():
            self.add(pick(self.businesses, number), None, pick(TYPES, number), priority=number % 3)
        self.take_turn(number, twice)

    @rule(number=numbers, how=st.sampled_from(["slice", "stop"]))
    def end_a_turn_early(self, number: int, how: str) -> None:
        """The slice is over, or the worker told to stop, and Redis was emptied meanwhile: who is ready needs a turn."""
        self.end_all_pauses()
        self.lift_limits()
        business_id = pick(self.businesses, number)
        for _ in range(2):
            self.add(business_id, None, "machine.thrice", priority=9, plan=["retry now"])
        self.begun.clear()

        def end_early(_task_id: int, _attempt: int) -> None:
            self.redis.flushall()
            turns.stop_soon() if how == "stop" else time.sleep(_SLICE)

        with self.step(None), handlers.listening(end_early):
            self.run_turn(business_id, "machine", "a turn", slice_seconds=_SLICE)
        if self.begun and oracle.ready(self.seen, business_id, "machine", self.seen.now):
            need(self.is_marked(business_id, "machine"), "21: what is left after a slice gets its turn")

    @rule(number=numbers, meanwhile=st.sampled_from(["pause", "pause everywhere", "interrupt", "lose", "wait"]))
    def begin_late(self, number: int, meanwhile: str) -> None:
        """Between a claim and a start something happens, and then the 50 ms are over."""
        business_id = pick(self.businesses, number)
        for place in range(2):
            self.add(business_id, self.person(business_id, place), "machine.twice", priority=9)
        turn = turns._Turn(business_id, "machine")
        turn._usual_seconds = 0.001  # so that it claims several
        with self.step(None):
            turn.exchange()
        held = [one.id for one in turn._unbegun]
        self.happen(meanwhile, business_id, held[number % len(held)] if held else 0)
        turn._checked_at -= 1.0  # the worker's clock moves on
        with self.step(None) as step:
            while begun := turn.next():
                turn.perform(*begun)
            turn._ends_at = 0.0
            turn.exchange()
        for id_ in held:
            old, new = step.pair(id_)
            need(new.claim_token is None, "5: a turn that is over holds nothing", new)
            need(old.state != "cancelling" or new.state == "canceled", "11: an interrupt ends as canceled", old, new)

    def happen(self, meanwhile: str, business_id: int, task_id: int) -> None:
        """What people and faults do in the meantime."""
        self.make_room()
        task = self.seen.tasks.get(task_id)
        if meanwhile.startswith("pause"):
            everywhere = meanwhile == "pause everywhere"
            target = Target(None if everywhere else business_id, task_type="machine.twice")
            with self.step(), transaction() as session:
                pauses.pause(session, self.root if everywhere else self.admins[business_id], target, "meanwhile")
        elif meanwhile == "interrupt" and task:
            self.ask_to_stop(task.business_id, task.id)
        elif meanwhile == "lose" and task:
            self.lose_tokens({task.claim_token})

    @rule(number=numbers, how=st.sampled_from(["flush", "lose", "lie"]))
    def harm_redis(self, number: int, how: str) -> None:
        """It is emptied; a worker is killed between pop and begin; or turns are doubled, reordered, or nonsense."""
        self.add(pick(self.businesses, number), None, "machine.twice")
        if how == "flush":
            self.redis.flushall()
        elif how == "lose" and self.turns():
            job = pick(self.turns(), number)
            for name in QUEUES:
                self.redis.lrem(f"rq:queue:{name}", 1, job)
        elif how == "lie":
            name = f"rq:queue:{pick(QUEUES, number)}"
            self.redis.rpush(name, *reversed(self.turns()), "nonsense")
        self.two_beats(0.0)

    @rule(after=st.sampled_from([0.0, 1.1 * LEASE]))
    def two_beats(self, after: float) -> None:
        """After two beats nothing is left that fell between: no wake, no lease, no mark."""
        self.pass_time(after)
        over = {task.id for task in self.seen.tasks.values() if task.lease_until and task.lease_until < self.seen.now}
        with self.step(over) as step:
            self.beat()
            self.beat()
        for id_ in over:
            self.need_lost(step, id_)
        for business_id in self.businesses:
            for name in QUEUES:
                if oracle.ready(self.seen, business_id, name, self.seen.now):
                    need(self.has_turn(business_id, name), "21: what is ready gets a turn within a beat", name)
        for task in self.seen.tasks.values():
            if task.state in oracle.WAITING:
                is_marked = task.state == "paused"
                need(is_marked == oracle.is_held(self.seen, task), "9: marks follow the registry", task)

    @rule(seconds=st.sampled_from([1.1 * LEASE, 2.1 * LEASE, 5.3 * LEASE]))
    def clock_moves_on(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule(number=numbers, overlap=st.sampled_from(["skip", "queue"]), again=st.booleans())
    def fire(self, number: int, overlap: str, again: bool) -> None:
        """A schedule is due, and two Schedulers fire it; `again`: the second one still believes in the old due time."""
        business_id = pick(self.businesses, number)
        draft = Draft("by a schedule", pick(TYPES, number), {"plan": []}, interval_seconds=_EVERY, overlap=overlap)
        with transaction() as session:
            id_ = schedules.create(session, self.admins[business_id], draft).id
        self.pass_time(1.1 * _EVERY)
        due = self.seen.schedules[id_].next_at
        self.tick()
        fired, tasks = len(self.seen.firings), len(self.seen.tasks)
        if again:
            with transaction() as session:
                session.execute(update(Schedule).where(Schedule.id == id_).values(next_at=due))
        self.tick()
        need((len(self.seen.firings), len(self.seen.tasks)) == (fired, tasks), "19: one firing for a due time", due)
        need(any((one.schedule_id, one.due_at) == (id_, due) for one in self.seen.firings), "19: it fires when due")
        with transaction() as session:
            schedules.disable(session, self.admins[business_id], id_)
        self.seen = View.read()

    def tick(self) -> None:
        """A Scheduler fires what is due."""
        self.redis.delete(BeatingScheduler.scheduler_lock_key)  # it was frozen for too long
        with self.step():
            BeatingScheduler(self.redis, self.beat, 1.0).enqueue_jobs()

    def take_turn(self, number: int, twice: bool = False) -> bool:
        """Pop a turn and run it as a horse would. What is not a turn of ours is dropped."""
        names = [name for name in QUEUES if self.redis.llen(f"rq:queue:{name}")]
        if not names:
            return False
        job_id = self.redis.lpop(f"rq:queue:{pick(names, number)}")
        assert isinstance(job_id, bytes)
        key = f"rq:job:{job_id.decode()}"
        if not self.redis.exists(key):
            return True  # flushed, or nonsense
        job = queue.Turn.fetch(job_id.decode(), connection=self.redis, serializer=JSONSerializer)
        self.redis.delete(key)
        business_id, name, ticket = job.about
        for _ in range(1 + twice):
            self.whole_turn(business_id, name, ticket)
        return True

    def whole_turn(self, business_id: int, name: str, ticket: str) -> None:
        """Run it and look at the order in which handlers began, and at what is left."""
        self.begun.clear()
        with self.step(None) as step:
            self.run_turn(business_id, name, ticket)
        first = [id_ for id_, attempt in self.begun if attempt == step.before.tasks[id_].attempts + 1]
        places = [oracle.place(step.before.tasks[id_]) for id_ in first]
        need(places == sorted(places), "9: the best begin first", first)
        need(
            not oracle.ready(self.seen, business_id, name, self.seen.now) or self.is_marked(business_id, name),
            "21: what a turn leaves gets another turn",
        )

    def run_turn(self, business_id: int, name: str, ticket: str, slice_seconds: float = 1.0) -> None:
        """The function that RQ calls, with the settings of this worker."""
        usual = turns.settings
        turns.settings = replace(usual, worker="here", lease_seconds=LEASE, slice_seconds=slice_seconds)
        try:
            turns.run(business_id, name, ticket)
        finally:
            turns.settings = usual
            turns._is_stopping.clear()
