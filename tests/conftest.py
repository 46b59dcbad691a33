"""The servers, a fresh database on each of the two for every test, and the cast."""

from __future__ import annotations

import collections
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from tenants.database import Sessions, connect, migrate, transaction
from tests import dialects, factories, servers
from tests.factories import Cast

dialects.share()

_numbers = itertools.count(1)
TESTS = Path(__file__).parent
BROWSER = TESTS / "browser"
FAILPOINTS = TESTS / "jobs/test_failpoints.py"
RACES = TESTS / "jobs/test_racing.py"
LONGEST = (
    "jobs/test_failpoints.py",
    "browser/test_accessible.py",
    "browser/test_story.py",
    "browser/test_details.py",
    "browser/test_fitting.py",
    "chaos/test_chaos.py",
    "browser/test_table.py",
    "jobs/test_schedules.py",
    "browser/test_pausing.py",
    "browser/test_budget.py",
    "jobs/test_machine.py",
    "browser/test_live.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, then those with most tests: a process that ends late is alone then.

    Browsers come first, so that their stack can end, and with them what mostly waits. Races come last, when no browser
    takes the processors from them: they have to be over in time.
    """
    number = collections.Counter(one.path for one in items)
    place = {TESTS / name: place for place, name in enumerate(LONGEST)}

    def turn(one: pytest.Item) -> tuple[bool, bool, int, int]:
        is_early = one.path == FAILPOINTS or BROWSER in one.path.parents
        return one.path == RACES, not is_early, place.get(one.path, len(LONGEST)), -number[one.path]

    items.sort(key=turn)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[servers.Valkey]:
    """One Valkey for all tests."""
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        server = servers.Valkey(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def valkey(valkey_server: servers.Valkey) -> str:
    """The address of an empty Valkey."""
    with Redis.from_url(valkey_server.url) as redis:
        redis.flushall()
    return valkey_server.url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables and the cast."""
    path = tmp_path_factory.mktemp("template") / "sluice.db"
    _fill(f"sqlite:///{path}").dispose()
    return path


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Engine]:
    """A PostgreSQL with a database `template` that has the tables and the cast."""
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        server, url = servers.start_postgresql(Path(folder))
        maintenance = create_engine(url, isolation_level="AUTOCOMMIT")
        with maintenance.connect() as connection:
            for safety in ("fsync", "full_page_writes", "synchronous_commit"):  # no test cuts the power
                connection.execute(text(f"ALTER SYSTEM SET {safety} = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
            connection.execute(text("CREATE DATABASE template"))
        _fill(url.replace("/postgres?", "/template?")).dispose()
        yield maintenance
        maintenance.dispose()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own, with the tables and the cast: the test runs once on each kind."""
    if request.param == "sqlite":
        path = tmp_path / "sluice.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    maintenance: Engine = request.getfixturevalue("postgresql")
    name = f"test_{next(_numbers)}"
    with maintenance.connect() as connection:
        # Its usual strategy, made for big servers, writes every page to the log and takes half as long again.
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template STRATEGY FILE_COPY"))
    yield maintenance.url.set(database=name).render_as_string(hide_password=False)
    with maintenance.connect() as connection:  # hundreds of them take half a minute to remove at the end
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """This process's engine, which `transaction` uses, too."""
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def db(engine: Engine) -> Iterator[Session]:
    """A session of the test's own."""
    with Sessions() as session:
        yield session


@pytest.fixture
def cast(db: Session) -> Cast:
    """The people and businesses."""
    cast = factories.assemble(db)
    db.commit()  # a test holds no lock that it did not ask for; a rollback would expire the cast
    return cast


def _fill(url: str) -> Engine:
    engine = connect(url)
    migrate(engine)
    with transaction() as session:
        factories.fill(session)
    return engine
