"""Every list in every order under every filter, gathered and walked: the same tasks as plain Python finds."""

from __future__ import annotations

import functools
import itertools
import random
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from jobs import conditions, counting, gathering, judge, lists, orders, people, task_types, walks
from jobs.counting import Count
from jobs.filters import Origin, Priority, TaskFilter, View
from jobs.lists import Tab
from jobs.models import Pause, Task
from jobs.pages import Page
from jobs.states import FINAL, WAITING, State
from tenants import accounts, members
from tenants.clock import clock
from tenants.permissions import Actor
from tests.factories import Cast
from tests.waiting import until

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
TYPES = ("test.note", "test.other", "gone.away")
TITLES = (None, None, "Untitled", "Count the stock", "count the stock", "\u00c5ngstr\u00f6m 100%", "Zebra")
WAYS = ("gathered", "walked", "walked in steps", "many of each")


@pytest.fixture
def everything(db: Session, cast: Cast) -> list[Task]:
    """Tasks of Acme in all states, by everybody and nobody, with many ties; a pause of Ben, and tasks of others."""
    draw = random.Random(7)
    namesake = accounts.register(db, "ben2@example.com", "BEN ITO", "correct-horse")
    members.add(db, cast.acme, namesake)
    users = [cast.ada.user.id, cast.ben.user.id, cast.cleo.user.id, namesake.id, None, None]
    for number in range(130):
        db.add(_task(draw, number, cast.acme.id, draw.choice(users)))
        if number % 10 == 0:
            db.add(_task(draw, number, cast.initech.id, cast.zoe.user.id))
            db.add(_task(draw, number, cast.globex.id, cast.ada.user.id))
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="floods the queue"))
    db.flush()
    # Only what a pause holds is marked, though not all of it yet: it may have arrived a moment ago.
    db.execute(
        update(Task)
        .where(Task.state == "paused", Task.user_id.is_distinct_from(cast.ben.user.id))
        .values(state="pending")
    )
    db.commit()
    return list(db.scalars(select(Task).where(Task.business_id == cast.acme.id).order_by(Task.id)))


def _task(draw: random.Random, number: int, business_id: int, user_id: int | None) -> Task:
    state = draw.choices(list(State), [6, 2, 3, 1, 6, 3, 2])[0]
    lives = state in (State.RUNNING, State.CANCELLING)
    started = NOON + timedelta(hours=draw.randrange(5)) if lives or draw.random() < 0.3 else None
    return Task(
        business_id=business_id,
        user_id=user_id,
        task_type=draw.choice(TYPES),
        queue=draw.choice(("default", "aside")),
        title=draw.choice(TITLES),
        priority=draw.choice((0, 0, 0, 5, 9, 10, -3)),
        state=state,
        attempts=draw.choice((0, 0, 0, 1, 2)),
        created_at=NOON - timedelta(hours=draw.randrange(40)),
        started_at=started,
        claim_token=f"{number}" if lives else None,
        lease_until=clock(60) if lives else None,
    )


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How they are found: all at once, or along indexes, with no end or with stops in between."""
    if request.param != "gathered":
        monkeypatch.setattr(gathering, "MOST", -1)
    if request.param == "walked in steps":
        monkeypatch.setattr(walks, "SCAN", 7)
    if request.param == "many of each":
        monkeypatch.setattr(orders, "SORTABLE", 3)
        monkeypatch.setattr(people, "SORTABLE", 3)
        monkeypatch.setattr(people, "FEW", 2)
        monkeypatch.setattr(people, "SPARSE", 2)
        monkeypatch.setattr(people, "AT_ONCE", 2)
    return str(request.param)


@pytest.fixture
def shown(cast: Cast) -> Callable[[Task], State]:
    """The state that pages show."""

    def of(task: Task) -> State:
        if task.state in WAITING:
            return State.PAUSED if task.user_id == cast.ben.user.id else State.PENDING
        return State(task.state)

    return of


def key_of(task: Task, view: View, sort: str, state: State) -> object:
    """What a column sorts by."""
    user = task.user.name.lower() if task.user else "scheduler"
    is_live = task.state in ("running", "cancelling")
    title = (task.title or task_types.title_of(task.task_type)).lower()
    return {
        "created": task.created_at,
        "user": user,
        "type": task.task_type if view is View.ACTIVE else task_types.title_of(task.task_type).lower(),
        "status": orders.RANKS[state],
        "origin": task.user_id is not None,
        "id": task.id,
        "title": (task.title or "Untitled").lower() if view is View.ACTIVE else title,
        "started": task.started_at if is_live and task.started_at else orders.NEVER,
        "attempts": task.attempts,
        "priority": task.priority,
    }[sort]


def through(db: Session, cast: Cast, wanted: TaskFilter) -> Iterator[Page]:
    """All pages, from the first to the last."""
    for _ in range(400):
        page = lists.search(db, cast.ada, wanted)
        yield page
        if page.older is None:
            return
        wanted = replace(wanted, after=page.older, before="")
    raise AssertionError("no end")


def ids(pages: list[Page]) -> list[int]:
    return [row.task.id for page in pages for row in page.rows]


@pytest.mark.parametrize("view", View)
def test_every_column_sorts_both_ways_over_all_pages_and_back(  # noqa: PLR0917 - fixtures
    db: Session, cast: Cast, everything: list[Task], way: str, shown: Callable[[Task], State], view: View
) -> None:
    for sort, descending in itertools.product(view.sorts, (True, False)):
        of_view = [task for task in everything if shown(task) in view.states]
        of_view.sort(key=lambda task: (key_of(task, view, sort, shown(task)), task.id), reverse=descending)
        wanted = TaskFilter(view=view, sort=sort, descending=descending, size=25)
        forth = list(through(db, cast, wanted))
        assert ids(forth) == [task.id for task in of_view], sort
        assert forth[0].newer is None, sort
        back = _back(db, cast, wanted, forth[-1])
        assert set(ids(back)) == {task.id for task in of_view}, sort
        if way != "walked in steps":  # where stops meant nothing newer after all, the first page came again
            assert ids(back) == [task.id for task in of_view], sort


def _back(db: Session, cast: Cast, wanted: TaskFilter, page: Page) -> list[Page]:
    """All pages, from the last to the first."""
    back = [page]
    while page.newer:
        page = lists.search(db, cast.ada, replace(wanted, before=page.newer))
        back.insert(0, page)
    return back


FILTERS: dict[str, Callable[[Task, State], bool]] = {
    "state=failed": lambda task, state: state is State.FAILED,
    "state=paused": lambda task, state: state is State.PAUSED,
    "state=pending": lambda task, state: state is State.PENDING,
    "type=test.note": lambda task, state: task.task_type == "test.note",
    "queue=aside": lambda task, state: task.queue == "aside",
    "origin=system": lambda task, state: task.user_id is None,
    "origin=user": lambda task, state: task.user_id is not None,
    "priority=high": lambda task, state: task.priority >= 10,
    "priority=medium": lambda task, state: 5 <= task.priority < 10,
    "priority=low": lambda task, state: task.priority < 5,
    "since=2026-10-31&until=2026-10-31": lambda task, state: task.created_at.date() == date(2026, 10, 31),
    "until=2026-10-30": lambda task, state: task.created_at.date() <= date(2026, 10, 30),
    "late=1": lambda task, state: state in (State.RUNNING, State.CANCELLING),
    "q=ben": lambda task, state: bool(task.user and "ben" in task.user.name.lower()),
    "q=ben+stock": lambda task, state: bool(
        task.user and "ben" in task.user.name.lower() and "stock" in (task.title or "").lower()
    ),
    "q=SCHED": lambda task, state: task.user_id is None,
    "q=user:%22ben+i%22": lambda task, state: bool(task.user and "ben i" in task.user.name.lower()),
    "q=user:sched": lambda task, state: task.user_id is None,
    "q=type:else": lambda task, state: task.task_type == "test.other",
    "q=gone.a": lambda task, state: task.task_type == "gone.away",
    "q=type:gone": lambda task, state: task.task_type == "gone.away",
    "q=state:paused+type:note": lambda task, state: state is State.PAUSED and task.task_type == "test.note",
    "q=state:nonsense": lambda task, state: False,
    "q=%C3%85NGSTR%C3%96M": lambda task, state: bool(task.title and "100" in task.title),
    "q=100%25": lambda task, state: bool(task.title and "100%" in task.title),
    "q=id:x": lambda task, state: False,
    "q=_": lambda task, state: False,
}


@pytest.mark.parametrize("view", View)
def test_every_filter_finds_what_it_says_and_counts_it(  # noqa: PLR0917 - fixtures
    db: Session, cast: Cast, everything: list[Task], way: str, shown: Callable[[Task], State], view: View
) -> None:
    for query, fits in FILTERS.items():
        args = dict(urllib.parse.parse_qsl(query))
        of_view = [task for task in everything if shown(task) in view.states]
        expected = [task.id for task in of_view if fits(task, shown(task))]
        sorts = ("-created", view.sorts[0], f"-{view.sorts[-1]}")
        for sort in sorts[:1] if way == "walked in steps" else sorts:  # many short pages
            found = list(through(db, cast, TaskFilter.from_args({**args, "sort": sort, "size": "25"}, view=view)))
            assert sorted(ids(found)) == expected, (query, sort)
            assert (found[0].total, found[0].is_capped) == (len(expected), False), (query, sort)
        every = TaskFilter.from_args({**args, "state": ""}, view=view)
        states = Counter(shown(task) for task in of_view if args.get("state") or fits(task, shown(task)))
        told = lists.counts(db, cast.ada, every)
        assert found[0].counts == told, "the chosen state changes nothing about the others"
        assert {state: count.number for state, count in told.items()} == {
            None: states.total(),
            **{state: states[state] for state in view.states},
        }, query


def test_one_task_is_found_by_its_id_and_one_user_by_theirs(
    db: Session, cast: Cast, everything: list[Task], way: str
) -> None:
    some = everything[17]
    for q in (f"id:{some.id}", str(some.id)):
        assert some.id in ids(list(through(db, cast, TaskFilter(q=q))))
    assert ids(list(through(db, cast, TaskFilter(q=f"id:{some.id}")))) == [some.id]
    bens = [task.id for task in everything if task.user_id == cast.ben.user.id]
    assert sorted(ids(list(through(db, cast, TaskFilter(user=cast.ben.user.id))))) == bens
    assert ids(list(through(db, cast, TaskFilter(user=cast.zoe.user.id)))) == []


def test_members_find_and_count_their_own_only_and_nobody_finds_another_business(
    db: Session, cast: Cast, everything: list[Task], way: str
) -> None:
    bens = {task.id for task in everything if task.user_id == cast.ben.user.id}
    for view in View:
        for sort in view.sorts:
            found = lists.search(db, cast.ben, TaskFilter(view=view, sort=sort, size=100))
            assert {row.task.id for row in found.rows} <= bens
    assert lists.counts(db, cast.ben, TaskFilter())[None].number == len(bens)
    of_initech = lists.search(db, cast.zoe, TaskFilter(size=100))
    assert {row.task.business_id for row in of_initech.rows} == {cast.initech.id}
    assert lists.search(db, cast.zoe, TaskFilter(q="ben")).rows == []


def test_a_search_that_stops_says_how_far_it_looked_and_goes_on_from_there(
    db: Session, cast: Cast, everything: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST", -1)
    monkeypatch.setattr(walks, "SCAN", 20)
    first = lists.search(db, cast.ada, TaskFilter(q="zebra"))
    assert first.looked_back_to
    assert first.older
    assert all(row.task.created_at >= first.looked_back_to for row in first.rows)
    pages = list(through(db, cast, TaskFilter(q="zebra")))
    assert len(pages) > 3
    assert pages[-1].looked_back_to is None
    newest = sorted(everything, key=lambda task: (task.created_at, task.id), reverse=True)
    assert ids(pages) == [task.id for task in newest if task.title == "Zebra"]


@functools.cache
def built_once() -> None:
    """As clauses and statements are."""


def built() -> Counter[str]:
    """How many clauses and statements of lists were built in this process, by what builds them."""
    modules = (conditions, counting, gathering, judge, lists, orders, people, walks)
    kept = [one for module in modules for one in vars(module).values() if isinstance(one, type(built_once))]
    return Counter({one.__qualname__: one.cache_info().misses for one in kept})


@pytest.mark.parametrize("view", View)
def test_a_list_asked_for_with_other_words_builds_no_statement(
    db: Session, cast: Cast, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST", -1)
    for state, (user, word) in itertools.product(State, ((cast.ben.user.id, "beta"), (cast.cleo.user.id, "gamma"))):
        task = Task(
            business_id=cast.acme.id, user_id=user, title=word, task_type=f"test.{word}", queue=word, state=state
        )
        lives = {"claim_token": word, "lease_until": clock(60), "started_at": NOON}
        for name, value in lives.items() if state in (State.RUNNING, State.CANCELLING) else ():
            setattr(task, name, value)
        db.add(task)
    db.commit()

    def ask(user: int, name: str, word: str, since: date) -> None:
        searches = [{"q": q} for q in (word, f"user:{name}", f"type:{word}", f"id:{user}")]
        others: list[dict[str, Any]] = [{"user": user}, {"type": f"test.{word}"}, {"queue": word}, {"since": since}]
        for narrow, sort in itertools.product(searches + others, view.sorts):
            lists.search(db, cast.ada, TaskFilter(view=view, sort=sort, size=25, **narrow))

    ask(cast.ben.user.id, "ito", "beta", date(2026, 10, 31))
    before = built()
    ask(cast.cleo.user.id, "marsh", "gamma", date(2026, 11, 1))
    assert built() == before


def test_a_list_of_the_paused_counts_the_tasks_of_everybody(db: Session, cast: Cast) -> None:
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="floods the queue"))
    for user, state in ((cast.ben, "paused"), (cast.cleo, "pending"), (cast.cleo, "completed"), (cast.ben, "failed")):
        db.add(Task(business_id=cast.acme.id, user_id=user.user.id, task_type="test.note", queue="x", state=state))
    db.commit()
    found = lists.search(db, cast.ada, TaskFilter(state=State.PAUSED))
    assert found.counts == lists.counts(db, cast.ada, TaskFilter())
    assert (found.total, found.counts[State.PENDING], found.counts[None]) == (1, Count(1), Count(4))


@pytest.mark.parametrize("state", [State.PENDING, State.PAUSED])
def test_few_of_one_waiting_state_among_many_of_the_other_are_walked_to(
    db: Session, cast: Cast, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST", 10)
    monkeypatch.setattr(walks, "SCAN", 20)
    db.add(Pause(business_id=cast.acme.id, task_type="test.note", reason="of a type"))
    for number in range(45):
        is_held = (number < 5) is (state is State.PAUSED)
        about = {"task_type": "test.note", "state": "paused"} if is_held else {"task_type": "test.other"}
        db.add(Task(business_id=cast.acme.id, user_id=cast.ben.user.id, queue="default", **about))
    db.commit()
    found = list(through(db, cast, TaskFilter(state=state, size=25)))
    assert found[0].looked_back_to, "the first page looked at everything"
    assert len(ids(found)) == 5


def test_counts_know_at_once_that_a_pause_has_ended(db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MOST", -1)
    db.add(Pause(business_id=cast.acme.id, user_id=cast.cleo.user.id, reason="still on"))
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="over", ended_at=clock(-1)))
    for number in range(6):
        user = cast.cleo.user.id if number < 2 else cast.ben.user.id
        db.add(Task(business_id=cast.acme.id, user_id=user, task_type="test.note", queue="default", state="paused"))
    db.commit()
    for wanted in (TaskFilter(), TaskFilter(queue="default")):
        told = lists.counts(db, cast.ada, wanted)
        assert (told[State.PENDING], told[State.PAUSED]) == (Count(4), Count(2))


def test_many_paused_tasks_leave_no_doubt_about_the_pending_ones(
    db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST", -1)
    for name, limit in (("LIMIT", 20), ("JUDGED", 5), ("LOOK", 5)):
        monkeypatch.setattr(counting, name, limit)
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="floods the queue"))
    for number in range(14):
        user, state = (cast.ada.user.id, "pending") if number < 3 else (cast.ben.user.id, "paused")
        db.add(Task(business_id=cast.acme.id, user_id=user, task_type="test.note", queue="default", state=state))
    db.commit()
    told = lists.counts(db, cast.ada, TaskFilter())
    assert (told[State.PENDING], told[State.PAUSED], told[None]) == (Count(3), Count(11), Count(14))
    told = lists.counts(db, cast.ada, TaskFilter(queue="default"))
    assert (told[State.PENDING], told[State.PAUSED], told[None]) == (Count(3), Count(5, True), Count(8, True))


def test_counts_say_when_there_are_more(
    db: Session, cast: Cast, everything: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST", -1)
    monkeypatch.setattr(counting, "LIMIT", 5)
    monkeypatch.setattr(counting, "LOOK", 10)
    told = lists.counts(db, cast.ada, TaskFilter(queue="aside"))
    assert told[None].is_capped
    assert all(count.number <= 5 for count in told.values())
    assert lists.search(db, cast.ada, TaskFilter()).is_capped


def test_what_was_full_a_moment_ago_is_not_counted_again(
    db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "LIMIT", 5)
    monkeypatch.setattr(counting, "FULL_SECONDS", 2.0)
    for business in (cast.acme, cast.globex):
        db.add_all(
            Task(business_id=business.id, task_type="test.note", queue="default", state="failed") for _ in "1234"
        )
    db.add_all(Task(business_id=cast.acme.id, task_type="test.note", queue="default", state="failed") for _ in "56")
    db.commit()
    assert failed(db, cast.ada) == Count(5, is_capped=True)
    db.execute(delete(Task).where(Task.business_id == cast.acme.id))
    db.commit()
    assert failed(db, cast.ada) == Count(5, is_capped=True)
    assert failed(db, members.enter(db, cast.ada.user, "globex")) == Count(4), "each business has its own"
    until(lambda: failed(db, cast.ada) == Count(0))


def failed(db: Session, by: Actor) -> Count:
    """How many failed tasks a list tells of."""
    return lists.counts(db, by, TaskFilter())[State.FAILED]


@pytest.mark.parametrize("tab", Tab)
def test_a_tab_of_background_tasks_is_ones_own(
    db: Session, cast: Cast, everything: list[Task], way: str, tab: Tab
) -> None:
    mine = [task for task in everything if task.user_id == cast.ada.user.id and task.state in tab.states]
    mine.sort(key=lambda task: (task.created_at, task.id), reverse=True)
    found, after = [], ""
    while True:
        page = lists.own(db, cast.ada, tab, TaskFilter(size=25, after=after))
        found += [row.task.id for row in page.rows]
        if page.older is None:
            break
        after = page.older
    assert found == [task.id for task in mine]
    assert lists.count_own(db, cast.ada, tab).number == len(mine)


def test_rows_come_in_chunks_up_to_the_last_that_was_there(
    db: Session, cast: Cast, everything: list[Task], way: str
) -> None:
    last = everything[99].id
    wanted, found, after = TaskFilter(origin=Origin.USER, priority=Priority.LOW, view=View.HISTORY), [], 0
    while chunk := lists.rows_of(db, cast.ada, wanted, after_id=after, limit=10, last_id=last):
        assert len(chunk) <= 10
        found += [row.task.id for row in chunk]
        after = found[-1]
    fits = [one for one in everything[:100] if one.user_id and one.priority < 5 and one.state not in WAITING]
    assert found == [task.id for task in fits]


def test_days_are_those_of_the_reader(db: Session, cast: Cast) -> None:
    late = Task(business_id=cast.acme.id, task_type="test.note", queue="default")
    late.created_at = datetime(2026, 11, 1, 23, 30, tzinfo=UTC)
    db.add(late)
    db.commit()
    for zone, day in (("UTC", "2026-11-01"), ("Europe/Berlin", "2026-11-02")):
        wanted = TaskFilter.from_args({"since": day, "until": day}, zone=ZoneInfo(zone))
        assert len(lists.search(db, cast.ada, wanted).rows) == 1
        missed = TaskFilter.from_args({"until": "2026-10-31"}, zone=ZoneInfo(zone))
        assert lists.search(db, cast.ada, missed).rows == []


def test_a_type_says_itself_when_its_tasks_are_late(db: Session, cast: Cast) -> None:
    for minutes in (5, 20, 90):
        new = _task(random.Random(minutes), minutes, cast.acme.id, None)
        new.state, new.task_type, new.claim_token, new.lease_until = "running", "test.open", f"{minutes}", clock(60)
        new.started_at, new.title = datetime.now(UTC) - timedelta(minutes=minutes), f"{minutes}"
        db.add(new)
    db.commit()
    assert task_types.get("test.open").late_seconds == 600
    found = lists.search(db, cast.ada, TaskFilter(view=View.ACTIVE, late=True))
    assert sorted(int(row.task.title or 0) for row in found.rows) == [20, 90]


def test_an_edit_changes_where_a_title_stands(db: Session, cast: Cast) -> None:
    from jobs import submit, tasks
    from jobs.tasks import Changes

    id_ = submit("test.note", business="acme", title="Alpha", session=db)
    tasks.edit(db, cast.ada, id_, Changes("\u00d6mega", 0, None, {}))
    assert db.scalar(select(Task.sort_title).where(Task.id == id_)) == "\u00f6mega"
    tasks.edit(db, cast.ada, id_, Changes(None, 0, None, {}))
    assert db.scalar(select(Task.sort_title).where(Task.id == id_)) == "take a note"


def test_unknown_values_of_an_address_fall_back_and_defaults_are_left_out() -> None:
    odd = {"state": "x", "user": "0", "origin": "me", "priority": "1", "since": "yesterday", "until": "2026-13-01",
           "late": "yes", "sort": "-title", "size": "7", "view": "history"}  # fmt: skip
    assert TaskFilter.from_args(odd) == TaskFilter()
    assert TaskFilter().args() == {}
    good = {"q": "ben", "state": "failed", "user": "7", "type": "test.note", "queue": "aside", "origin": "user",
            "priority": "high", "since": "2026-11-01", "until": "2026-11-02", "late": "1", "sort": "title",
            "size": "100", "after": "x"}  # fmt: skip
    assert TaskFilter.from_args(good, view=View.HISTORY).args() == good
    assert set(View.HISTORY.states) > FINAL
