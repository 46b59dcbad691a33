"""The oracle itself: a run without fault is clean, and each falsified one is found out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs import task_types
from tests.chaos import oracle
from tests.chaos.evidence import SCHEDULED, AttemptRow, Evidence, FiringRow, TaskRow
from tests.chaos.journal import Line
from tests.chaos.profiles import PUSH

QUICK, FLAKY, VICTIM, POISON, INTERRUPTED, PAUSED, ZOMBIE = range(1, 8)
KINDS = {FLAKY: "flaky", VICTIM: "longer", POISON: "poison", ZOMBIE: "longer"}


@dataclass
class World:
    """What happened in a small run, to be falsified."""

    lines: list[Line] = field(default_factory=list)
    journal: list[dict[str, Any]] = field(default_factory=list)
    tasks: dict[int, TaskRow] = field(default_factory=dict)
    attempts: list[AttemptRow] = field(default_factory=list)
    firings: list[FiringRow] = field(default_factory=list)

    def judge(self) -> oracle.Report:
        return oracle.judge(Evidence(PUSH, self.lines, self.journal, self.tasks, self.attempts, self.firings))

    def note(self, at: float, what: str, **facts: Any) -> None:
        self.journal.append({"at": at, "wall": at, "what": what, **facts})

    def begin(self, at: float, task: int, attempt: int, pid: int) -> None:
        self.lines.append(Line(at, "begin", "acme", task, attempt, pid, "life"))

    def end(self, at: float, task: int, attempt: int, pid: int, how: str = "done") -> None:
        self.lines.append(Line(at, "end", "acme", task, attempt, pid, "life", how))

    def row(self, at: float, task: int, number: int, pid: int, outcome: str) -> None:
        result = {"attempt": number, "pid": pid} if outcome == "completed" else None
        self.attempts.append(AttemptRow(task, "acme", number, outcome, pid, at, result))

    def complete(self, at: float, task: int, attempt: int, pid: int) -> None:
        self.begin(at, task, attempt, pid)
        self.end(at + 0.1, task, attempt, pid)
        self.row(at + 0.1, task, attempt, pid, "completed")

    def change(self, task: int, **values: Any) -> None:
        self.tasks[task] = dataclasses.replace(self.tasks[task], **values)

    def change_row(self, task: int, which: int, **values: Any) -> None:
        self.attempts = [
            dataclasses.replace(one, **values) if one.start == (task, which) else one for one in self.attempts
        ]

    def entry(self, what: str, **facts: Any) -> dict[str, Any]:
        wanted = {"what": what, **facts}.items()
        return next(one for one in self.journal if all(one.get(name) == value for name, value in wanted))


@pytest.fixture
def world() -> World:
    """A run with a retry, a killed horse, poison, an interrupt, a pause and a zombie; nothing went wrong."""
    world = World()
    states = {POISON: "failed", INTERRUPTED: "canceled"}
    attempts = {FLAKY: 2, VICTIM: 2, POISON: 3, INTERRUPTED: 0, ZOMBIE: 2}
    for task in range(1, 8):
        kind = f"chaos.{KINDS.get(task, 'quick')}"
        state, limit = states.get(task, "completed"), 3 if task == POISON else 10
        payload, number = {"call": f"call-{task}"}, attempts.get(task, 1)
        world.tasks[task] = TaskRow(task, "acme", "ben", kind, state, payload, number, limit)
        world.note(1, "submit", call=f"call-{task}", answer=task, business="acme", user="ben", asked=0.9, raised=None)
    world.complete(2, QUICK, 1, 100)
    _retry(world)
    _kill_a_horse(world)
    for number in (1, 2, 3):
        world.begin(10 + number, POISON, number, 110 + number)
        world.row(10.5 + number, POISON, number, 110 + number, "lost")
    answer = {"found": "waiting", "attempts": 0}
    world.note(3, "interrupt", task=INTERRUPTED, asked=2.9, answered=3, answer=answer, raised=None)
    about = {"business": "acme", "user": "ben", "task_type": "chaos.quick"}
    world.note(20, "pause", asked=19.9, answered=20, answer=1, raised=None, **about)
    world.note(24.9, "asking", of="resume", pause=1)
    world.note(25, "resume", asked=24.9, answered=25, answer=1, raised=None, pause=1)
    world.complete(26, PAUSED, 1, 130)
    _freeze(world)
    world.note(60, "drained", unfinished=0)
    shown = {"all": 7, "completed": 5, "failed": 1, "canceled": 1, "running": 0}
    world.note(61, "counted", business="acme", shown=shown)
    return world


def _retry(world: World) -> None:
    world.begin(3, FLAKY, 1, 101)
    world.end(3.1, FLAKY, 1, 101, "Retry")
    world.row(3.1, FLAKY, 1, 101, "retry")
    world.complete(4, FLAKY, 2, 102)


def _kill_a_horse(world: World) -> None:
    world.begin(5, VICTIM, 1, 103)
    hit = {"worker": 50, "pids": [103], "victims": [(VICTIM, 1)], "survived": []}
    world.note(5.1, "fault", kind="horse", since=5.1, **hit)
    world.note(5.6, "noticed", start=[VICTIM, 1], kind="horse", hit_at=5.1, after=0.5)
    world.row(5.5, VICTIM, 1, 103, "lost")
    world.complete(7, VICTIM, 2, 104)


def _freeze(world: World) -> None:
    """Its handler ends long after the task was done by another process; that changes nothing."""
    world.begin(30, ZOMBIE, 1, 140)
    hit = {"worker": 51, "pids": [140], "victims": [(ZOMBIE, 1)]}
    world.note(30.1, "fault", kind="frozen", since=30.1, **hit)
    world.note(34, "noticed", start=[ZOMBIE, 1], kind="frozen", hit_at=30.1, after=3.9)
    world.row(34, ZOMBIE, 1, 140, "lost")
    world.complete(34.5, ZOMBIE, 2, 141)
    world.note(36, "thawed", pids=[51, 140], since=30.1)
    world.end(36.1, ZOMBIE, 1, 140)


def lose_a_task(world: World) -> None:
    del world.tasks[QUICK]


def make_two_of_one_call(world: World) -> None:
    world.tasks[99] = dataclasses.replace(world.tasks[QUICK], id=99)


def leave_one_running(world: World) -> None:
    world.change(QUICK, state="running", token="mine", lease_until="soon")


def forget_a_lease(world: World) -> None:
    world.change(QUICK, token="mine")


def skip_a_number(world: World) -> None:
    world.change_row(VICTIM, 1, number=7)


def go_past_the_limit(world: World) -> None:
    world.change(VICTIM, max_attempts=1)


def finish_as_a_zombie(world: World) -> None:
    world.change_row(ZOMBIE, 1, outcome="completed")


def finish_without_a_handler(world: World) -> None:
    world.lines = [line for line in world.lines if line.task != QUICK or line.word == "begin"]


def overwrite_a_result(world: World) -> None:
    world.change_row(ZOMBIE, 2, result={"attempt": 1, "pid": 140})


def fail_a_neighbour(world: World) -> None:
    world.change(QUICK, state="failed")
    world.change_row(QUICK, 1, outcome="lost")


def give_an_attempt_to_another_business(world: World) -> None:
    world.change_row(QUICK, 1, business="initech")


def serve_two_businesses(world: World) -> None:
    world.tasks[99] = dataclasses.replace(world.tasks[QUICK], id=99, business="initech")
    world.lines.append(Line(2.5, "begin", "initech", 99, 1, 100, "life"))


def begin_an_attempt_twice(world: World) -> None:
    world.begin(2.2, QUICK, 1, 105)


def begin_again_for_no_reason(world: World) -> None:
    world.change_row(VICTIM, 1, outcome="completed")


def begin_again_before_the_loss_was_written(world: World) -> None:
    world.change_row(VICTIM, 1, ended_at=7.5)


def run_twice_at_once(world: World) -> None:
    world.end(7.05, VICTIM, 1, 103)


def begin_what_is_final(world: World) -> None:
    world.begin(50, QUICK, 2, 160)


def begin_what_was_given_up(world: World) -> None:
    world.begin(20, POISON, 3, 113)


def forget_a_row(world: World) -> None:
    world.attempts = [one for one in world.attempts if one.start != (VICTIM, 1)]


def retry_at_once(world: World) -> None:
    world.lines = [dataclasses.replace(line, at=3.2) if line.start == (FLAKY, 2) else line for line in world.lines]


def begin_under_a_pause(world: World) -> None:
    world.lines = [dataclasses.replace(line, at=20.01) if line.task == PAUSED else line for line in world.lines]


def begin_what_was_interrupted(world: World) -> None:
    world.begin(3.5, INTERRUPTED, 1, 106)


def complete_what_was_interrupted(world: World) -> None:
    world.change(INTERRUPTED, state="completed")


def lose_more_than_the_task_at_work(world: World) -> None:
    world.row(5.5, PAUSED, 2, 103, "lost")


def give_poison_up_early(world: World) -> None:
    world.attempts = [one for one in world.attempts if one.start != (POISON, 3)]


def count_one_too_many(world: World) -> None:
    world.entry("counted")["shown"]["failed"] += 1


def let_a_horse_live_on(world: World) -> None:
    world.entry("fault", kind="horse")["survived"] = [103]


def let_a_dead_horse_work(world: World) -> None:
    world.end(6, VICTIM, 1, 103)


def let_a_worker_exit(world: World) -> None:
    world.note(8, "exited", module="jobs.worker", pid=50, code=1, killed=False)


def notice_a_dead_horse_late(world: World) -> None:
    world.entry("noticed", kind="horse")["after"] = 1.5


def notice_a_zombie_late(world: World) -> None:
    world.entry("noticed", kind="frozen")["after"] = 7.0


def notice_nothing(world: World) -> None:
    world.journal.remove(world.entry("noticed", kind="horse"))


def begin_again_late(world: World) -> None:
    world.lines = [
        dataclasses.replace(line, at=line.at + 30) if line.start == (VICTIM, 2) else line for line in world.lines
    ]


def stand_still_after_a_flush(world: World) -> None:
    world.note(40, "fault", kind="flush", since=40, ready=50, worker=None, pids=[], victims=[])


def stand_still_after_the_broker_came_back(world: World) -> None:
    world.note(41, "outage", of="broker", since=40, till=41)
    for task in range(100, 120):
        world.note(39, "submit", call=f"call-{task}", answer=task, business="acme", user="ben", asked=38.9, raised=None)


def schedule(world: World, *due: float) -> None:
    """One that was due at 12:00:00 and a second later, and fired at these seconds."""
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    world.note(60, "schedule", since=noon.isoformat(), till=(noon + timedelta(seconds=2)).isoformat())
    for task, second in enumerate(due, 50):
        payload = {"call": SCHEDULED}
        world.tasks[task] = TaskRow(task, "acme", None, "chaos.quick", "completed", payload, 1, 10)
        world.complete(task, task, 1, 100)
        world.entry("counted")["shown"].update(all=task - 42, completed=task - 44)
        world.firings.append(FiringRow(noon + timedelta(seconds=second), "fired", task))


def fire_twice(world: World) -> None:
    schedule(world, 0, 1, 1)


def fire_not(world: World) -> None:
    schedule(world, 0)


def make_a_task_of_no_firing(world: World) -> None:
    schedule(world, 0, 1)
    world.firings.pop()
    world.firings.append(dataclasses.replace(world.firings[0], due_at=datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)))


FALSIFIED: list[tuple[str, Callable[[World], None]]] = [
    ("lost", lose_a_task),
    ("doubled", make_two_of_one_call),
    ("unfinished", leave_one_running),
    ("token without lease", forget_a_lease),
    ("attempts do not add up", skip_a_number),
    ("attempts do not add up", go_past_the_limit),
    ("finished twice", finish_as_a_zombie),
    ("finish that nobody saw", finish_without_a_handler),
    ("finish that nobody saw", overwrite_a_result),
    ("wrong end", fail_a_neighbour),
    ("counted otherwise", count_one_too_many),
    ("another business", give_an_attempt_to_another_business),
    ("process of two businesses", serve_two_businesses),
    ("attempt begun twice", begin_an_attempt_twice),
    ("begun twice without lost attempt", begin_again_for_no_reason),
    ("begun twice without lost attempt", begin_again_before_the_loss_was_written),
    ("two live runs", run_twice_at_once),
    ("begun after its end", begin_what_is_final),
    ("begun after its end", begin_what_was_given_up),
    ("begin without a row", forget_a_row),
    ("retry too early", retry_at_once),
    ("begun under a pause", begin_under_a_pause),
    ("interrupted and yet", begin_what_was_interrupted),
    ("interrupted and yet", complete_what_was_interrupted),
    ("a dead horse cost more than its task", lose_more_than_the_task_at_work),
    ("poison not at its limit", give_poison_up_early),
    ("horse outlived its parent", let_a_horse_live_on),
    ("horse outlived its parent", let_a_dead_horse_work),
    ("exited by itself", let_a_worker_exit),
    ("noticed late", notice_a_dead_horse_late),
    ("noticed late", notice_a_zombie_late),
    ("noticed late", notice_nothing),
    ("begun again late", begin_again_late),
    ("no turn after a flush", stand_still_after_a_flush),
    ("no turn after a flush", stand_still_after_the_broker_came_back),
    ("not fired once", fire_twice),
    ("not fired once", fire_not),
    ("not fired once", make_a_task_of_no_firing),
]


def test_a_run_in_which_nothing_went_wrong_is_clean(world: World) -> None:
    report = world.judge()
    assert report.violations == []
    assert (report.figures.begun_twice, report.figures.horse_notice) == (4, [0.5])


@pytest.mark.parametrize(("rule", "falsify"), FALSIFIED, ids=lambda one: getattr(one, "__name__", None))
def test_what_is_falsified_is_found_out(world: World, rule: str, falsify: Callable[[World], None]) -> None:
    falsify(world)
    assert rule in {one.rule for one in world.judge().violations}


def test_every_rule_was_seen_to_be_broken() -> None:
    assert {rule for rule, _ in FALSIFIED} == set(oracle.CHECKS)


def test_a_frozen_process_may_begin_under_a_pause(world: World) -> None:
    """It was frozen between the check and the handler's first line."""
    begin_under_a_pause(world)
    world.note(20.5, "thawed", pids=[130], since=19.8)
    assert world.judge().count("begun under a pause") == 0


def test_two_clocks_that_disagree_do_not_make_a_task_begin_after_its_own_end(world: World) -> None:
    world.change_row(QUICK, 1, ended_at=1.8)
    assert world.judge().violations == []


def test_an_outage_of_the_database_excuses_a_late_notice(world: World) -> None:
    notice_a_dead_horse_late(world)
    world.note(6, "outage", of="database", since=5.2, till=6.0)
    assert world.judge().count("noticed late") == 0


def test_a_schedule_whose_due_times_were_all_fired_once_is_clean(world: World) -> None:
    schedule(world, 0, 1)
    assert world.judge().violations == []


def test_a_run_in_which_little_was_broken_proves_nothing(world: World) -> None:
    evidence = Evidence(PUSH, world.lines, world.journal, world.tasks, world.attempts)
    assert evidence.left_out() == {"kills": f"{len(evidence.faults('horse'))} of 10", "flushes": "0 of 1"}
    for number in range(10):
        world.note(50 + number, "fault", kind="horse" if number else "flush")
    assert evidence.left_out() == {}


def test_task_types_of_chaos_stay_out_of_this_process() -> None:
    """The runs are processes of their own: no other test meets these types."""
    assert not [one for one in task_types.all_types() if one.name.startswith("chaos.")]
