"""The statements that `jobs.filling` fills a database with: what the task of each number is like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.orm import Session

from jobs import task_types
from jobs.models import UNGROUPED

_PRIME = 2_147_483_647
_DAYS = 30
_ERRORS = ("LookupError: no such file", "ConnectionError: refused", "ValueError: 17 of 400 rows are wrong")


class Amounts(Protocol):
    """How many tasks in all, and the seed."""

    @property
    def tasks(self) -> int: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class Soil:
    """Where tasks are put: the businesses, largest first, and the users of all of them."""

    businesses: Sequence[int]
    users: Sequence[int]
    plan: Amounts

    @property
    def paused_user(self) -> int:
        """The one with a twelfth of the first business's tasks."""
        return self.users[0]

    def staff(self) -> Iterator[tuple[int, Sequence[int]]]:
        """Half of the users are the first business's, an eighth the second's, the rest the others'."""
        count, others = len(self.users), self.businesses[2:]
        marks = [0, count // 2, count // 2 + count // 8] if others else [0, count // 2]
        rest = count - marks[-1]
        marks += [marks[-1] + rest * place // max(1, len(others)) for place in range(1, len(others) + 1)]
        marks = [*marks[: len(self.businesses)], count]
        for place, business in enumerate(self.businesses):
            yield business, self.users[marks[place] : max(marks[place] + 1, marks[place + 1])]


def sow_tasks(session: Session, soil: Soil, start: int, end: int) -> None:
    """The tasks of these numbers: old ones are done, of the newest fifth most wait."""
    bind = session.get_bind().dialect.name
    values = {"start": start, "last": end - 1, "all": soil.plan.tasks, "seed": soil.plan.seed % 1000}
    session.execute(text(_tasks(soil, bind)), values)


def sow_attempts(session: Session, first: int) -> None:
    """An attempt for each start that is over, a minute after the one before it; the last one has result or error."""
    when = _plus_seconds(session.get_bind().dialect.name, "t.started_at", "(k.k - t.attempts) * 60")
    done = _plus_seconds(session.get_bind().dialect.name, "t.started_at", "(k.k - t.attempts) * 60 + 2")
    query = f"""
        INSERT INTO attempts (business_id, task_id, number, outcome, worker, started_at, ended_at, result, error,
          traceback)
        SELECT t.business_id, t.id, k.k,
          CASE WHEN k.k < t.attempts OR t.ended_at IS NULL THEN 'retry' ELSE t.state END,
          'filled', {when}, {done},
          CASE WHEN k.k = t.attempts AND t.state = 'completed' THEN {_json(session, ":result")} END,
          CASE WHEN k.k < t.attempts OR t.ended_at IS NULL THEN 'Try again'
            WHEN t.state = 'failed' THEN CASE t.id % 3 {_cases(_ERRORS)} END END,
          CASE WHEN k.k = t.attempts AND t.state = 'failed' THEN 'Traceback (most recent call last): ...' END
        FROM tasks t JOIN (SELECT 1 AS k UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) k
          ON k.k <= t.attempts - (CASE WHEN t.state IN ('running', 'cancelling') THEN 1 ELSE 0 END)
        WHERE t.id >= :first AND t.started_at IS NOT NULL"""  # noqa: S608 - nothing of anybody else's is in it
    session.execute(text(query), {"first": first, "result": '{"counted": 50}'})


def _tasks(soil: Soil, dialect: str) -> str:
    """One statement. `a`, `b` and `c` are drawn from 0 to 999 for each number `n`, `d` from the whole range."""
    created = _ago(dialect, f"(:all - n) * {_DAYS * 86400} / :all + a % 60")
    later = _ago(dialect, f"(:all - n) * {_DAYS * 86400} / :all + a % 60 - 5 - b % 90")
    ended = _ago(dialect, f"(:all - n) * {_DAYS * 86400} / :all + a % 60 - 10 - b % 90 - c % 120")
    begun, over = (
        "state IN ('running', 'cancelling', 'completed', 'failed')",
        "state IN ('completed', 'failed', 'canceled')",
    )
    payload = "CAST(payload AS JSON)" if dialect == "postgresql" else "payload"
    tried = f"({begun} OR attempts > 0)"
    alive = "state IN ('running', 'cancelling')"
    return f"""
        WITH RECURSIVE numbers(n) AS (
          SELECT CAST(:start AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < :last),
        mixed AS (SELECT n, ((n + 7) * 1103515245 + :seed * 7919) % {_PRIME} AS x FROM numbers),
        drawn AS (SELECT n, (x * (x % 65521 + 17)) % {_PRIME} AS d FROM mixed),
        dice AS (SELECT n, d, d % 1000 AS a, d / 1000 % 1000 AS b, d / 1000000 * 487 % 1000 AS c FROM drawn),
        placed AS (SELECT dice.*, {_business(soil)} AS business_id, {_type()} AS task_type FROM dice),
        owned AS (SELECT placed.*, {_user(soil)} AS user_id, {_title()} AS title FROM placed),
        lived AS (SELECT owned.*, {_state(soil)} AS state FROM owned),
        counted AS (SELECT lived.*, {_attempts()} AS attempts FROM lived),
        told AS (SELECT counted.*, CASE task_type WHEN 'test.count' THEN '{{"times"\\: 2}}'
          WHEN 'tasks.export' THEN '{{"filter"\\: {{}}}}' ELSE '{{"script"\\: "report_sizes"}}' END AS payload
          FROM counted)
        INSERT INTO tasks (business_id, user_id, task_type, queue, title, sort_title, payload, priority, state, cause,
          created_at, next_try_at, started_at, ended_at, attempts, max_attempts, claim_token, lease_until, worker,
          failure_id, claim_alone)
        SELECT business_id, user_id, task_type, CASE task_type {_map("queue")} ELSE 'default' END, title,
          lower(coalesce(title, CASE task_type {_map("title")} END)), {payload},
          CASE WHEN c < 800 THEN 0 WHEN c < 900 THEN 5 WHEN c < 950 THEN 10 WHEN c < 970 THEN 7 ELSE -5 END,
          state, CASE WHEN state = 'canceled' THEN 'deleted' WHEN state = 'failed' THEN 'LookupError' END,
          {created}, CASE WHEN state = 'pending' AND attempts > 0 THEN {_ago(dialect, "-3600 - a")} ELSE {created} END,
          CASE WHEN {tried} THEN {later} END, CASE WHEN {over} THEN {ended} END, attempts, 10,
          CASE WHEN {alive} THEN 'filled-' || n END, CASE WHEN {alive} THEN {_ago(dialect, "-3600")} END,
          CASE WHEN {tried} THEN 'filled' END,
          CASE WHEN state = 'failed' THEN {UNGROUPED} END, {"false" if dialect == "postgresql" else "0"}
        FROM told ORDER BY n"""  # noqa: S608 - nothing of anybody else's is in it


def _business(soil: Soil) -> str:
    """525 of 1,000 for the first, 25 for the second, the others share the rest."""
    first, *others = soil.businesses
    if not others:
        return str(first)
    second, *rest = others
    shared = "".join(f" WHEN {place} THEN {id_}" for place, id_ in enumerate(rest))
    of_rest = f"CASE d / 7 % {len(rest)}{shared} END" if rest else str(first)
    return f"CASE WHEN a < 525 THEN {first} WHEN a < 550 THEN {second} ELSE {of_rest} END"


def _user(soil: Soil) -> str:
    """A tenth has no user, a twelfth of the first business is one user's; of the others a few submit most."""
    base = soil.users[0]
    parts = ""
    for business, users in soil.staff():
        drawn = f"(b * c / 1000) * {len(users)} / 1000 + d % {max(1, len(users) // 999)}"
        parts += f" WHEN {business} THEN {users[0] - base} + {drawn}"
    flood = f"WHEN business_id = {soil.businesses[0]} AND b < 183 THEN {soil.paused_user}"
    return f"CASE WHEN b < 100 THEN NULL {flood} ELSE {base} + CASE business_id{parts} END END"


def _type() -> str:
    return "CASE WHEN c < 700 THEN 'test.count' WHEN c < 900 THEN 'tasks.export' ELSE 'script.execute' END"


def _title() -> str:
    """A third has none; of the others some differ from all before."""
    return """CASE WHEN b % 3 = 0 THEN NULL WHEN task_type = 'script.execute' THEN 'Nightly size report'
          WHEN task_type = 'tasks.export' THEN 'Task history for the board, part ' || (d % 12)
          WHEN b % 9 = 1 THEN 'Recount shelf ' || (d % 5000) WHEN b % 9 = 2 THEN 'Count order ' || n
          ELSE 'Count the stock' END"""


def _state(soil: Soil) -> str:
    """Of the newest fifth nearly all wait; of the rest a few do, for their next attempt."""
    done = "CASE WHEN d % 100 < 93 THEN 'completed' WHEN d % 100 < 98 THEN 'failed' ELSE 'canceled' END"
    waits = f"CASE WHEN user_id = {soil.paused_user} AND n % 2 = 0 THEN 'paused' ELSE 'pending' END"
    return f"""CASE WHEN n * 5 >= :all * 4 AND d % 50 > 1 THEN
          CASE WHEN d % 4999 = 77 THEN 'running' WHEN d % 50021 = 78 THEN 'cancelling' ELSE {waits} END
          WHEN d % 200 = 7 THEN {waits} ELSE {done} END"""


def _attempts() -> str:
    return """CASE WHEN state = 'canceled' THEN 0 WHEN state IN ('pending', 'paused') THEN
          CASE WHEN n * 5 < :all * 4 THEN 1 + d % 3 ELSE 0 END
          WHEN d % 40 = 3 THEN 2 + d % 3 ELSE 1 END"""


def _map(attribute: str) -> str:
    known = {one.name: getattr(one, attribute) for one in task_types.all_types()}
    demo = ("test.count", "tasks.export", "script.execute")
    return " ".join(f"WHEN '{name}' THEN '{known.get(name, name)}'" for name in demo)


def _cases(texts: Sequence[str]) -> str:
    return " ".join(f"WHEN {place} THEN '{one}'" for place, one in enumerate(texts)).replace(":", "\\:")


def _json(session: Session, value: str) -> str:
    return f"CAST({value} AS JSON)" if session.get_bind().dialect.name == "postgresql" else value


def _ago(dialect: str, seconds: str) -> str:
    """The time so many seconds ago, as the database stores it."""
    if dialect == "postgresql":
        return f"(statement_timestamp() - ({seconds}) * interval '1 second')"
    return f"strftime('%Y-%m-%d %H\\:%M\\:%f000', 'now', -({seconds}) || ' seconds')"


def _plus_seconds(dialect: str, at: str, seconds: str) -> str:
    if dialect == "postgresql":
        return f"({at} + ({seconds}) * interval '1 second')"
    return f"strftime('%Y-%m-%d %H\\:%M\\:%f000', {at}, ({seconds}) || ' seconds')"
