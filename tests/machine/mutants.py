"""Planted bugs: each drops one guard of the engine, by changing one expression in the source of one function."""

from __future__ import annotations
import __future__

import contextlib
import functools
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Mutant:
    """A bug: in `where`, such as "jobs.beat:Beat.reap", the text `old` becomes `new`."""

    name: str
    where: str
    old: str
    new: str

    def __str__(self) -> str:
        return self.name


MUTANTS = [
    # who may write
    Mutant(
        "no token check in record",
        "jobs.records:_moving",
        '_tasks.c.claim_token == bindparam("token")',
        'bindparam("token", type_=_tasks.c.claim_token.type).is_not(None)',
    ),
    Mutant("no token check in the log", "jobs.records:tell", ", _tasks.c.claim_token == one.token", ""),
    Mutant(
        "no token check in give back",
        "jobs.claims:give_back",
        "records.held(token, [one.id for one in claims])",
        "_tasks.c.id.in_([one.id for one in claims])",
    ),
    Mutant(
        "claims what is running",
        "jobs.picks:_finding",
        "Task.stands(State.PENDING)",
        "Task.state.in_([State.PENDING, State.RUNNING])",
    ),
    # pauses
    Mutant("no pause check in the claim", "jobs.picks:_finding", "Standing(dict(enumerate(held))).sparing(), ", ""),
    Mutant(
        "pause ignores business",
        "jobs.judge:touching",
        "or_(_pauses.c.business_id.is_(None), _pauses.c.business_id == business_id)",
        "_pauses.c.id.is_not(None)",
    ),
    Mutant("user and type read as either", "jobs.judge:Target.covering", "and_(*about)", "or_(*about)"),
    Mutant(
        "NOT IN drops tasks without a user",
        "jobs.judge:_covering",
        "and_(_tasks.c.user_id.is_not(None), _tasks.c.user_id.in_(users))",
        "_tasks.c.user_id.in_(users)",
    ),
    Mutant("ended pause blocks", "jobs.judge:is_open", "_pauses.c.ended_at.is_(None), ", ""),
    Mutant(
        "pause blocks after its time",
        "jobs.judge:is_open",
        "or_(_pauses.c.until.is_(None), _pauses.c.until > clock())",
        "_pauses.c.id.is_not(None)",
    ),
    Mutant(
        "released out of order",
        "jobs.settling:bring_back",
        ".order_by(*Task.claim_order())",
        ".order_by(Task.priority, Task.id.desc())",
    ),
    Mutant("claims forget what is marked", "jobs.settling:bring_back", "now.ended.values()", "()"),
    Mutant("settling never unmarks", "jobs.settling:settle", "now.ended.items()", "()"),
    Mutant("settling marks everything", "jobs.settling:_covered", "if now.over(user_id, task_type)", ""),
    Mutant(
        "50 ms ignored",
        "jobs.turns:_Turn._is_stale",
        "time.monotonic() - self._checked_at >= judge.CLAIM_VALID_SECONDS",
        "False",
    ),
    Mutant("checked again without pauses", "jobs.claims:still_good", "standing.sparing(),", ""),
    # attempts and their ends
    Mutant("no attempt limit for retries", "jobs.attempts:_raised", " or claim.attempt >= claim.max_attempts", ""),
    Mutant(
        "no attempt limit for dead horses",
        "jobs.attempts:lost",
        "State.FAILED if claim.attempt >= claim.max_attempts else State.PENDING",
        "State.PENDING",
    ),
    Mutant(
        "no attempt limit for lost leases",
        "jobs.leases:reap",
        "(Task.attempts >= Task.max_attempts, State.FAILED),",
        "",
    ),
    Mutant(
        "reaper forgets cancelling",
        "jobs.leases:reap",
        "(Task.state == State.CANCELLING, State.CANCELED),",
        "",
    ),
    Mutant(
        "completed beats canceled",
        "jobs.records:_moving",
        "_tasks.c.state == State.RUNNING",
        "_tasks.c.state.in_([State.RUNNING, State.CANCELLING])",
    ),
    Mutant(
        "interrupt overwrites final",
        "jobs.interrupts:interrupt",
        "or_(waits, Task.state == State.RUNNING)",
        "Task.state.is_not(None)",
    ),
    Mutant("no retry delay", "jobs.records:_moving", 'clock(bindparam("wait"))', "clock()"),
    Mutant("no history of ends", "jobs.records:record", "if rows:", "if False:"),
    Mutant(
        "no history of losses",
        "jobs.leases:reap",
        "session.execute(insert(Attempt), [_attempt(row, now) for row in lost])",
        "pass",
    ),
    Mutant("give-back counts an attempt", "jobs.claims:_give_back", "_tasks.c.attempts - 1", "_tasks.c.attempts"),
    Mutant(
        "a dead horse costs the unbegun an attempt",
        "jobs.leases:bury",
        "claims.give_back_of(session, dead.worker, dead.pid)",
        "session.execute(update(Task).where(Task.worker == dead.worker, Task.lease_until.is_not(None))"
        ".values(lease_until=clock(-1))); reap(session)",
    ),
    Mutant(
        "a lost task is not claimed alone",
        "jobs.claims:_kept",
        "next((max(place, 1) for place, is_alone in enumerate(alone) if is_alone), len(alone))",
        "len(alone)",
    ),
    # order, limits, turns
    Mutant("no priority order", "jobs.models:Task.claim_order", "tasks.priority.desc(), ", ""),
    Mutant("limits ignored", "jobs.limits:open_types", "if not any_of(name, now):", "if True:"),
    Mutant("beat never wakes", "jobs.beat:Beat.wake_ready", "queue.quietly(self._wake, self._ready())", "pass"),
    Mutant("a lost turn is never replaced", "jobs.beat:Beat._wake", "self._replace_lost(ready)", "pass"),
    Mutant(
        "wake before commit",
        "jobs.queue:wake",
        'on_commit(session, ("wake", business_id, name), lambda: _waker.post(wake_now, business_id, name))',
        "_waker.post(wake_now, business_id, name)",
    ),
    Mutant("no wake after a slice", "jobs.turns:run", "if turn.claimed:", "if False:"),
    Mutant(
        "firing twice",
        "jobs.firings:fire",
        "_fire_each(session, schedule, plan.due)",
        "_fire_each(session, schedule, [now for _ in plan.due])",
    ),
]


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[list[str]]:
    """The engine with this bug, in every module that has the function; each call of it is noted."""
    module_name, _, path = mutant.where.partition(":")
    module, (*owners, name) = importlib.import_module(module_name), path.split(".")
    owner = getattr(module, owners[0]) if owners else module
    standing = inspect.getattr_static(owner, name)
    calls: list[str] = []
    _forget_statements()
    bug = _counted(_mutated(module, standing, mutant), calls, mutant.name)
    with pytest.MonkeyPatch.context() as patch:
        if owner is module:
            for one in [one for key, one in sys.modules.items() if key.startswith(("jobs.", "tenants."))]:
                for alias in [alias for alias, value in vars(one).items() if value is standing]:
                    patch.setattr(one, alias, bug)
        else:
            patch.setattr(owner, name, bug)
        yield calls
    _forget_statements()


def _forget_statements() -> None:
    """Those that were built by the other engine."""
    for module in [module for key, module in sys.modules.items() if key.startswith("jobs.")]:
        for function in [value for value in vars(module).values() if hasattr(value, "cache_clear")]:
            function.cache_clear()


def _mutated(module: Any, standing: Any, mutant: Mutant) -> Any:
    """The function made anew from its changed source."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(getattr(standing, "__func__", standing))))
    assert source.count(mutant.old) == 1, f"{mutant.where} has changed: adapt the mutant {mutant.name!r}"
    code = compile(source.replace(mutant.old, mutant.new), mutant.where, "exec", __future__.annotations.compiler_flag)
    made: dict[str, Any] = {}
    exec(code, vars(module), made)  # noqa: S102 - our own source
    (function,) = made.values()
    return function


def _counted(function: Any, calls: list[str], name: str) -> Any:
    inner: Callable[..., Any] = getattr(function, "__func__", function)

    @functools.wraps(inner)
    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return inner(*args, **kwargs)

    return classmethod(counting) if isinstance(function, classmethod) else counting
