"""Acts of Sluice alone: lists of tasks among very many, as their pages answer within one process."""

from __future__ import annotations

import gc
import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from flask.testing import FlaskClient

from bench.contenders import sluice
from config import Config
from jobs import filling, lists, task_types
from jobs.filters import TaskFilter, View
from tenants import accounts, members
from tenants.database import Sessions, transaction
from tenants.permissions import Actor

_PATHS = {View.ALL: "tasks", View.ACTIVE: "active", View.HISTORY: "history"}
_NARROWED = (
    "q=ada", "q=stock", "q=user:yara", "q=zzz", "q=4711", "state=failed", "state=paused", "state=canceled",
    "type=script.execute", "queue=scripts", "origin=system", "priority=high", "late=1",
    "since=2020-01-01&until=2020-01-02",
)  # fmt: skip
_REPEATS = 2
ready = sluice.ready


def sow(tasks: int, **how: int) -> float:
    """Fill the database; the seconds it took."""
    task_types.load(())
    began = time.perf_counter()
    with transaction() as session:
        filling.fill(session, filling.Plan(tasks, **how))
    sluice.add_admin()
    tidy()
    return time.perf_counter() - began


def tidy() -> None:
    """What PostgreSQL would do by itself some minutes later, in the middle of the measurement."""
    engine = Sessions.kw["bind"]
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM (ANALYZE)")


def look() -> dict[str, float]:
    """Milliseconds of wall time for each list, at both ends and a page further: p50, p95, and the slowest list's."""
    took: dict[str, list[float]] = {}
    for view in View:
        for wanted in _wanted(view):
            name = f"{view} {'&'.join(f'{key}={value}' for key, value in wanted.args().items())}"
            took[name] = _times(view, wanted)
    every = [one for some in took.values() for one in some]
    slowest = sorted(took, key=lambda name: -statistics.median(took[name]))
    for name in slowest[:12]:
        print(f"{name}: {statistics.median(took[name]):.1f} ms")
    figures = {"p50_ms": statistics.median(every), "p95_ms": _p95(every)}
    figures["worst_ms"] = statistics.median(took[slowest[0]])
    for view in View:
        figures[f"{view}_p95_ms"] = _p95([one for name in took if name.startswith(view) for one in took[name]])
    return figures


def _p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]


def _wanted(view: View) -> Iterator[TaskFilter]:
    for sort in view.sorts:
        for sign in ("-", ""):
            yield TaskFilter.from_args({"sort": sign + sort}, view=view)
    for query in _NARROWED:
        for sort in (view.sorts[0], "-created", f"-{view.sorts[-1]}"):
            args = dict(part.split("=", 1) for part in query.split("&"))
            yield TaskFilter.from_args({**args, "sort": sort}, view=view)


def _times(view: View, wanted: TaskFilter) -> list[float]:
    """Page one and the next; descending and ascending together reach both ends."""
    times = []
    ask = _asker(view)
    for _ in range(2):
        one = []
        for _ in range(_REPEATS):
            began = time.perf_counter()
            ask(wanted)
            one.append((time.perf_counter() - began) * 1000)
        times.append(min(one))
        with transaction(read_only=True) as session:
            older = lists.search(session, admin(), wanted).older
        if older is None:
            break
        wanted = replace(wanted, after=older, before="")
    return times


def _asker(view: View) -> Callable[[TaskFilter], None]:
    """The page's fragment over HTTP within the process; the domain alone while there is no such page."""
    client, routes = _client()
    path = f"/b/{sluice.BUSINESSES[0]}/{_PATHS[view]}"

    def page(wanted: TaskFilter) -> None:
        headers = {"HX-Request": "true", "HX-Request-Type": "partial"}
        answer = client.get(path, query_string=wanted.args(), headers=headers)
        assert answer.status_code == 200, answer.status

    def domain(wanted: TaskFilter) -> None:
        with transaction(read_only=True) as session:
            lists.search(session, admin(), wanted)

    return page if f"/b/<business>/{_PATHS[view]}" in routes else domain


_made: dict[str, tuple[FlaskClient, set[str]]] = {}
_actors: list[Actor] = []


def _client() -> tuple[FlaskClient, set[str]]:
    if "client" not in _made:
        from webapp import create_app

        folder = Path(os.environ["BENCH_WITNESS"]).parent
        app = create_app(
            Config(
                data_dir=folder,
                database_url=os.environ["DATABASE_URL"],
                redis_url=os.environ["REDIS_URL"],
                secret_key=secrets.token_urlsafe(32),
            )
        )
        client = app.test_client()
        with transaction() as session:
            token = accounts.begin_login(session, admin().user, "192.0.2.1")
        with client.session_transaction() as cookie:
            cookie["_user_id"], cookie["_fresh"] = token, True
        _made["client"] = client, {one.rule for one in app.url_map.iter_rules()}
        gc.collect()
        gc.freeze()  # as wsgi.py does
    return _made["client"]


def admin() -> Actor:
    """Whoever runs the first business."""
    if not _actors:
        with transaction(read_only=True) as session:
            user = accounts.find(session, sluice.EMAIL)
            assert user
            _actors.append(members.enter(session, user, sluice.BUSINESSES[0]))
    return _actors[0]
