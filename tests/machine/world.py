"""The machine's world: one database, one Valkey, the people, the claims that workers hold, and what handlers began."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine
from redis import Redis
from sqlalchemy import update

from jobs import claims, interrupts, judge, leases, limits, pauses, queue, submit
from jobs.beat import Beat
from jobs.models import Task
from tenants.clock import clock
from tenants.database import transaction
from tenants.permissions import Actor
from tests import factories
from tests.machine import handlers, oracle
from tests.machine.invariants import check, need
from tests.machine.steps import LEASE, QUEUES, TYPES, WORKERS, Held, Step, pick
from tests.machine.view import Row, View, forget_everything, let_pass

_ROUNDS = 15


class World(RuleBasedStateMachine):
    """Acts that rules are made of. Each is checked against all invariants when it ends."""

    def __init__(self) -> None:
        super().__init__()
        forget_everything()
        self.redis: Redis = queue.connection()
        self.redis.flushall()
        with transaction(read_only=True) as session:
            cast = factories.assemble(session)
            ada_at_globex = factories.members.enter(session, cast.ada.user, "globex")
            at_globex = factories.members.enter(session, cast.root.user, "globex")
        self.admins: dict[int, Actor] = {cast.acme.id: cast.ada, cast.globex.id: ada_at_globex}
        self.slugs = {cast.acme.id: "acme", cast.globex.id: "globex"}
        self.roots = {cast.acme.id: cast.root, cast.globex.id: at_globex}
        self.root = cast.root
        self.users = {None: None, cast.ada.user.id: "ada@example.com", cast.ben.user.id: "ben@example.com"}
        self.businesses = sorted(self.admins)
        self.beat = Beat()
        self.claims: list[Held] = []
        self.wrong: list[BaseException] = []
        self.begun: list[tuple[int, int]] = []
        self.ever_begun: set[tuple[int, int]] = set()
        self.seen = View.read()
        self._ends = contextlib.ExitStack()
        self._ends.enter_context(handlers.listening(self.note_begin))

    @contextlib.contextmanager
    def step(self, touched: Collection[int] | None = (), removed: Collection[int] = ()) -> Iterator[Step]:
        """A step that may change only these tasks (None: all); afterwards the invariants are checked."""
        step = Step(self.seen)
        yield step
        if self.wrong:
            raise self.wrong[0]
        queue.flush()
        self.seen = step.after = View.read()
        check(step.before, step.after, touched, removed)

    def note_begin(self, task_id: int, attempt: int) -> None:
        """A handler begins. What is wrong is kept until the step ends, since the engine survives whatever it raises."""
        try:
            self.check_begin(task_id, attempt)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the step raises it
            self.wrong.append(error)

    def check_begin(self, task_id: int, attempt: int) -> None:
        """It must hold the task, and no pause may."""
        view = View.read()
        task = view.tasks[task_id]
        need(task.state in oracle.HELD and task.attempts == attempt, "7, 11: only what is claimed begins", task)
        need((task_id, attempt) not in self.ever_begun, "7: an attempt begins once", task)
        need(not oracle.is_held(view, task), "8: nothing begins after a pause answered", task)
        self.ever_begun.add((task_id, attempt))
        self.begun.append((task_id, attempt))

    def person(self, business_id: int, number: int) -> int | None:
        """A user of the business, or nobody. Ada belongs to both businesses."""
        here = [one for one in self.users if self.users[one] != "ben@example.com" or self.slugs[business_id] == "acme"]
        return pick(here, number)  # type: ignore[no-any-return]

    def add(self, business_id: int, user_id: int | None, task_type: str, **asked: Any) -> int:
        """Submit a task. It is in SQL and its turn in Redis when this returns, and not before the commit."""
        payload = {"plan": asked.pop("plan", []), "note": handlers.CANARY}
        about = {"business": self.slugs[business_id], "user": self.users[user_id], "payload": payload, **asked}
        with self.step() as step:
            turns_before = self.turns()
            with transaction() as session:
                id_ = submit(task_type, **about, session=session)
                queue.flush()
                need(self.turns() == turns_before, "house 6.2: a wake comes after the commit")
        new = step.after.tasks[id_]
        need(set(step.after.tasks) - set(step.before.tasks) == {id_}, "1: a submit makes one row")
        need((new.state, new.attempts) == ("pending", 0), "1: a new task is pending", new)
        need(self.is_marked(business_id, new.queue), "21: a submit wakes", new)
        return id_

    def take(self, business_id: int, name: str, limit: int, worker: str) -> list[Held]:
        """Claim, and compare with what the oracle says."""
        with self.step(None) as step, transaction(claims=True) as session:
            judge.let_claims_pass(session, business_id)
            earliest = View.of(session).now
            got = claims.claim(session, business_id, name, limit=limit, worker=worker, lease_seconds=LEASE)
            latest = View.of(session).now
        wanted = [oracle.claimed(step.before, business_id, name, limit, now) for now in (earliest, latest)]
        ids = [one.id for one in got]
        need(ids in wanted, "8, 9, 10: a claim takes what is ready, best first", ids, wanted)
        need(len({one.token for one in got}) <= 1, "5: one token for one batch", got)
        for one in got:
            old, new = step.pair(one.id)
            need(new.claim_token == one.token != old.claim_token, "5: a fresh token", old, new)
            need(one.attempt == new.attempts == old.attempts + 1, "4: a start is one attempt", old, new)
            need((new.state, new.worker) == ("running", worker), "7: what is claimed runs", new)
            need(0 < (new.lease_until - earliest).total_seconds() <= LEASE + 1, "3: a lease of its length", new)
        for id_, old in step.before.tasks.items():
            new = step.after.tasks[id_]
            if id_ not in ids and new != old:  # it was unmarked
                need(old._replace(state="pending") == new, "9: the rest keeps its place", old, new)
        self.claims += [Held(one, worker) for one in got]
        return [Held(one, worker) for one in got]

    def live(self, state: str | None = None) -> list[Held]:
        """The claims that count still."""
        return [one for one in self.claims if self.is_live(one, state)]

    def is_live(self, one: Held, state: str | None = None) -> bool:
        """Whether the token of a claim is still the task's."""
        task = self.seen.tasks.get(one.claim.id)
        return task is not None and task.claim_token == one.claim.token and state in (None, task.state)

    def bring_claimed(self, number: int, at_least: int = 1) -> list[Held]:
        """Claims that count, made if need be; none if all is paused."""
        for attempt in range(6):
            if len(self.live()) >= at_least:
                break
            business_id = pick(self.businesses, number + attempt)
            name = pick(TYPES, number + attempt)
            for _ in range(at_least):
                self.add(business_id, self.person(business_id, number), name, priority=9)
            self.take(business_id, handlers.QUEUE_OF[name], at_least, pick(WORKERS, number))
        return self.live()

    def lose(self, lost: Sequence[Held]) -> None:
        """Let the leases of these claims run out, and reap."""
        self.lose_tokens({one.claim.token for one in lost})

    def lose_tokens(self, tokens: Collection[str]) -> None:
        """The same, of whoever holds these tokens."""
        with transaction() as session:
            session.execute(update(Task).where(Task.claim_token.in_(tokens)).values(lease_until=clock(-1)))
        self.seen = View.read()
        self.reap()

    def reap(self) -> None:
        """Take away what has no lease any more."""
        over = [task.id for task in self.seen.tasks.values() if task.lease_until and task.lease_until < self.seen.now]
        with self.step(over) as step, transaction() as session:
            found = leases.reap(session)
        need(found == len(over), "5: every lease that ran out is reaped, once", found, over)
        for id_ in over:
            self.need_lost(step, id_)

    def need_lost(self, step: Step, task_id: int) -> None:
        """The attempt was lost: the task is back in its place, or over."""
        old, new = step.pair(task_id)
        wanted = "failed" if old.attempts >= old.max_attempts else "pending"
        wanted = "canceled" if old.state == "cancelling" else wanted
        aside = {"paused"} if wanted == "pending" and oracle.is_held(step.after, new) else set()
        need(new.state in {wanted, *aside}, "11, 16: what becomes of a lost task", old, new)
        last = step.after.attempts_of(task_id)[-1]
        need(last.outcome in {"lost", "canceled"} and last.error, "12: a lost attempt says so", last)
        need((new.next_try_at, new.priority) == (old.next_try_at, old.priority), "9: what is lost keeps its place", new)
        need(new.claim_alone or new.state in oracle.FINAL, "16: what was lost is claimed alone", new)

    def ask_to_stop(self, business_id: int, task_id: int) -> tuple[Step, str | None]:
        """Interrupt a task; what was answered, None if it was over."""
        answer: str | None = None
        with self.step({task_id}) as step, contextlib.suppress(interrupts.AlreadyOver), transaction() as session:
            answer = interrupts.interrupt(session, self.admins[business_id], task_id)
        events = [one for id_, one in step.after.entries.items() if id_ not in step.before.entries]
        changed = step.before.tasks[task_id].state != step.after.tasks[task_id].state
        need(len(events) == changed, "12: an interrupt leaves its line, once", events)
        return step, answer

    def pass_time(self, seconds: float) -> None:
        """The clock moves on."""
        let_pass(seconds)
        self.seen = View.read()

    def turns(self) -> list[bytes]:
        """The turns in Redis, queue by queue."""
        return [job for name in QUEUES for job in self.redis.lrange(f"rq:queue:{name}", 0, -1)]

    def is_marked(self, business_id: int, name: str) -> bool:
        """Whether a turn of this pair counts as queued."""
        return bool(self.redis.exists(f"sluice:{business_id}:turn:{name}"))

    def resume_now(self, pause: Row) -> None:
        """End one pause, or try to end an ended one again."""
        with self.step(), transaction() as session:
            by = self.root if pause.business_id is None else self.admins[pause.business_id]
            pauses.resume(session, by, pause.id)
        need(self.seen.pauses[pause.id].ended_at is not None, "9: the pause has ended", pause)

    def set_limit(self, business_id: int, max_running: int | None, task_type: str | None) -> None:
        """Set or lift a limit. It moves no task."""
        with self.step() as step, transaction() as session:
            limits.set(session, self.roots[business_id], business_id, max_running, task_type)
        need(step.before.tasks == step.after.tasks, "5: a limit changes no task")

    def make_room(self) -> None:
        """A world in which everything is paused or limited shows nothing: leave one of each at most."""
        standing = [one for one in self.seen.pauses.values() if oracle.is_open(one, self.seen.now)]
        for one in standing[:-1]:
            self.resume_now(one)
        if len(self.seen.limits) > 1:
            self.lift_limits()

    def lift_limits(self) -> None:
        """As many may run as want to."""
        for one in self.seen.limits:
            self.set_limit(one.business_id, None, one.task_type)

    def end_all_pauses(self) -> None:
        """Resume everything, the pauses of the whole installation, too."""
        for one in self.seen.pauses.values():
            self.resume_now(one)
        need(not any(oracle.is_open(one, self.seen.now) for one in self.seen.pauses.values()), "9: all is resumed")

    def has_turn(self, business_id: int, name: str) -> bool:
        """Whether a turn of this pair lies in its queue."""
        return self.is_marked(business_id, name) and queue.missing_ticket(business_id, name) is None

    def teardown(self) -> None:
        """What every run must come to, unless a rule has failed."""
        with self._ends:
            if sys.exc_info()[0] is None:
                self.come_to_an_end()

    def come_to_an_end(self) -> None:
        """Invariant 2: when the faults stop and no pause is left, every task comes to its end."""
        self.need_no_secret_in_redis()
        self.end_all_pauses()
        self.lift_limits()
        for _ in range(_ROUNDS):
            if all(task.state in oracle.FINAL for task in self.seen.tasks.values()):
                return
            self.pass_time(5 * LEASE)
            for _ in range(2):  # a lost turn is made again at the second beat
                with self.step(None):
                    self.beat()
            while self.take_turn(0):
                pass
        left = [task for task in self.seen.tasks.values() if task.state not in oracle.FINAL]
        need(not left, "2: every row not under a pause becomes final", left)

    def need_no_secret_in_redis(self) -> None:
        """Invariant 14: no payload."""
        for key in self.redis.scan_iter():
            need(handlers.CANARY.encode() not in (self.redis.dump(key) or b""), "14: a payload in Redis", key)

    def take_turn(self, number: int, twice: bool = False) -> bool:
        """Take a queued turn as a worker does; False if there is none."""
        raise NotImplementedError
