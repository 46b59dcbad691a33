"""What a task type says of itself: how often and when it is tried again, how long it may take, what is secret."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs import Retry, TaskContext, payloads, submit, task_type, task_types
from jobs.models import Attempt
from tenants.clock import clock
from tests import look
from tests.factories import Cast
from tests.waiting import until

Work = Callable[..., None]


@pytest.fixture(autouse=True)
def _own_types() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = dict(task_types._registry)
    yield
    task_types._registry.clear()
    task_types._registry.update(before)


def register(name: str = "own.type", **settings: Any) -> task_types.TaskType:
    @task_type(name, title="Own", **settings)
    def own(task: TaskContext, *, delay: float | None = None) -> None:
        raise Retry("not yet", delay=delay)

    return task_types.get(name)


def test_the_wait_is_thirty_seconds_for_a_type_that_says_nothing() -> None:
    own = register()
    assert [own.wait_after(attempt) for attempt in (1, 2, 9)] == [30, 30, 30]
    assert own.max_attempts == 10


def test_a_backoff_multiplies_the_wait_up_to_its_limit() -> None:
    own = register(retry_seconds=10, backoff=2, max_retry_seconds=100)
    assert [own.wait_after(attempt) for attempt in (1, 2, 3, 4, 5, 10_000)] == [10, 20, 40, 80, 100, 100]
    assert register(retry_seconds=0, backoff=10.0).wait_after(10_000) == 0


def test_jitter_spreads_the_wait_on_both_sides() -> None:
    own = register(retry_seconds=100, jitter=0.2)
    waits = [own.wait_after(1) for _ in range(300)]
    assert 80 <= min(waits) < 90
    assert 110 < max(waits) <= 120
    assert max(register(retry_seconds=100, jitter=1, max_retry_seconds=110).wait_after(1) for _ in range(99)) == 110


def _no_task(*, number: int) -> None: ...


def _by_place(task: TaskContext, number: int, /) -> None: ...


@pytest.mark.parametrize("handler", [_no_task, _by_place])
def test_a_handler_that_could_not_be_called_is_refused_when_it_is_registered(handler: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="takes the task first, and the payload by name"):
        task_type("own.type", title="Own")(handler)


def test_what_is_imported_for_type_checkers_only_may_annotate_the_task_and_not_the_payload() -> None:
    @task_type("own.type", title="Own")
    def own(task: OnlyForTypeCheckers, *, number: int) -> OnlyForTypeCheckers: ...  # type: ignore[name-defined]  # noqa: F821

    assert payloads.check(task_types.get("own.type"), {"number": 3}) == '{"number": 3}'
    with pytest.raises(payloads.BadPayload, match="number"):
        payloads.check(task_types.get("own.type"), {"number": "three"})

    @task_type("own.other", title="Own")
    def other(task: TaskContext, *, number: OnlyForTypeCheckers) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(task_types.BadTaskModule, match=r"'own\.other' cannot be read: NameError"):
        payloads.warm([task_types.get("own.other")])


@pytest.mark.parametrize(("delay", "wait"), [(None, 40), (5, 5), (10**9, 365 * 86_400)])
def test_the_next_attempt_waits_as_the_type_says_unless_the_handler_says_otherwise(
    db: Session, cast: Cast, work: Work, delay: float | None, wait: float
) -> None:
    register(retry_seconds=40, backoff=3)
    id_ = submit("own.type", business="acme", payload={"delay": delay})
    soonest = look.scalar(select(clock(wait)))
    until(lambda: work("default") or look.scalar(select(Attempt.id)))
    assert soonest <= look.task(id_).next_try_at <= look.scalar(select(clock(wait)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": True},
        {"timeout": "1 h"},
        {"max_attempts": 0},
        {"max_attempts": 2.5},
        {"retry_seconds": -1},
        {"retry_seconds": float("nan")},
        {"retry_seconds": 7200},
        {"max_retry_seconds": "much"},
        {"max_retry_seconds": 10**9},
        {"backoff": 0.5},
        {"backoff": float("inf")},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"retry_on": (ConnectionError, "timeout")},
        {"retry_on": ConnectionError},
        {"secrets": "password"},
        {"secrets": (1,)},
    ],
)
def test_a_setting_that_cannot_be_is_refused_and_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"'own\.type': {name} must be"):
        register(**wrong)
    assert "own.type" not in {one.name for one in task_types.all_types()}


@pytest.mark.parametrize("wrong", [{"name": "x" * 101}, {"name": "own.type", "queue": "q" * 51}, {"name": "Own"}])
def test_a_name_that_no_task_could_be_stored_with_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="task type"):
        task_type(**wrong, title="Own")
    assert wrong["name"] not in {one.name for one in task_types.all_types()}


def test_two_functions_of_one_module_cannot_share_a_name() -> None:
    register()
    with pytest.raises(ValueError, match=r"'own\.type' is registered by .*own already"):

        @task_type("own.type", title="Another")
        def another(task: TaskContext) -> None: ...

    assert task_types.get("own.type").title == "Own"


def test_a_module_that_is_imported_again_registers_again() -> None:
    register()
    register(timeout=5)
    assert task_types.get("own.type").timeout == 5
    count = importlib.import_module("jobs.builtin.count")
    assert task_types.get("test.count").handler is not importlib.reload(count).count
