"""The database: base classes, engines for SQLite and PostgreSQL, transactions and what follows a commit."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, cast

import structlog
from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    literal,
    true,
)
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, SessionTransaction, mapped_column, sessionmaker

from tenants import sqlite

log = structlog.get_logger()

BigId = BigInteger().with_variant(Integer, "sqlite")


def ByteOrdered(length: int) -> String:  # noqa: N802 - it reads as a type
    """Text that both databases, and Python, sort alike: by code point."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of every table, in both packages."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012 - SQLAlchemy reads it


class BusinessOwned:
    """Mixin of the tables whose rows belong to one business."""

    business_id: Mapped[int] = mapped_column(ForeignKey("businesses.id"))


def table(of: type[Base]) -> Table:
    """A model's table, for what every claim asks.

    A statement over classes is the ORM's: it configures all of them, and compiles the statement in a way of its own.
    That is a megabyte of each horse.
    """
    return cast("Table", of.__table__)


def any_id(id_: int) -> BindParameter[int]:
    """An id that somebody typed: one that is too big for its column is nobody's on PostgreSQL, too, and no error."""
    return literal(id_, BigId)


def unindexed(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The same, such that no index by it fits. Unlike a function of the column, it leaves statistics their use."""
    return condition.is_(true())


Sessions = sessionmaker(expire_on_commit=False)


def connect(url: str) -> Engine:
    """The engine of this process at `url`; `Sessions` and `transaction` use it from now on."""
    engine = create_engine(url, **engine_options(url))
    prepare(engine)
    Sessions.configure(bind=engine)
    return engine


def bound() -> Engine:
    """The engine of this process."""
    engine: Engine = Sessions.kw["bind"]
    return engine


def migrate(engine: Engine) -> None:
    """Bring the tables up to date. Several at once wait for each other."""
    import alembic.command  # 90 ms that only the runner should pay
    import alembic.config

    settings = alembic.config.Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(20718, 1)")
        settings.attributes["connection"] = connection
        alembic.command.upgrade(settings, "head")


_SESSION = (
    "timezone=UTC",
    # A process that is frozen in the middle of a transaction must not hold its locks for ever.
    "idle_in_transaction_session_timeout=15000",
    # All our statements read a little along an index. As it comes, PostgreSQL thinks that dear, and reads the table.
    "random_page_cost=1.1",
    "max_parallel_workers_per_gather=0",
    "jit=off",
)


def engine_options(url: str) -> dict[str, Any]:
    """What `create_engine` needs beside the address."""
    # An error that is logged must not hold what somebody submitted.
    quiet = {"hide_parameters": True}
    if url.startswith("sqlite"):
        return quiet
    # psycopg prepares a statement after five runs, and PostgreSQL may then keep a generic plan: searches got 7x slower.
    arguments = {
        "prepare_threshold": None,
        "options": " ".join(f"-c {setting}" for setting in _SESSION),
        "connect_timeout": 5,
        "tcp_user_timeout": 10_000,  # milliseconds: a network that drops everything is an error, not a wait
    }
    return {**quiet, "connect_args": arguments}


def prepare(engine: Engine) -> None:
    """Give an engine our transaction rules. Call it once, before the first connection."""
    if engine.dialect.name == "sqlite":
        sqlite.prepare(engine)
    else:
        event.listen(engine, "checkout", _refuse_lost)
        event.listen(engine, "begin", _begin_postgresql)
        event.listen(engine, "reset", _end_autocommit)


def _refuse_lost(dbapi: Any, _record: Any, _proxy: Any) -> None:
    """Let the pool make a new connection if the server has ended this one.

    At rest it has nothing to say, so what there is to read is its end. A look costs no way to the server and back, as
    `pool_pre_ping` does before every transaction.
    """
    if dbapi.closed or _is_readable(dbapi.fileno()):
        raise DisconnectionError


def _is_readable(file: int) -> bool:
    look = select.poll()
    look.register(file, select.POLLIN)
    return bool(look.poll(0))


def _begin_postgresql(connection: Connection) -> None:
    options = connection.get_execution_options()
    # Else None, not False: what the server says by itself counts.
    connection.connection.dbapi_connection.read_only = options.get("read_only") or None  # type: ignore[union-attr]
    if patience := options.get("patience"):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(patience * 1000)}")


def _end_autocommit(dbapi: Any, _record: Any, _state: Any) -> None:
    """Whatever interrupted `direct.write`: who gets the connection next has transactions."""
    if dbapi.autocommit:
        dbapi.autocommit = False


def disconnect() -> None:
    """Close this process's connections; the next transaction makes a new one."""
    engine = Sessions.kw.get("bind")
    if engine is not None:
        engine.dispose()


def _leave_connections_to_the_parent() -> None:
    engine = Sessions.kw.get("bind")
    if engine is not None:
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_leave_connections_to_the_parent)


@contextlib.contextmanager
def transaction(**options: Any) -> Iterator[Session]:
    """A session that commits at the end of the block and rolls back on an error.

    `read_only=True` takes no write lock; `claims=True` lets every other writer go first (SQLite). `durable=False`: a
    power cut may undo it (SQLite), which is as well for what means nothing without the processes that it ends, too.
    `patience`: seconds to wait for a lock; after that OperationalError. `dry=True`, of a reading one: SQLite refuses a
    write before it takes a lock, as PostgreSQL does in any reading one.
    """
    with Sessions.begin() as session:
        if options:
            session.connection(execution_options=options)
        yield session


def read_only(session: Session) -> None:
    """Make the session's transaction a reading one. Call it before the first query."""
    session.connection(execution_options={"read_only": True})


def on_commit(session: Session, key: Hashable, act: Callable[[], None]) -> None:
    """Call `act` after the session's outermost commit, once per `key`; a rollback forgets it."""
    session.info.setdefault("on_commit", {})[key] = act


@event.listens_for(Session, "after_commit")
def _run_acts(session: Session) -> None:
    if session.in_nested_transaction():  # releasing a savepoint fires this event, too
        return
    for key, act in session.info.pop("on_commit", {}).items():
        try:
            act()
        except Exception:  # what is committed is committed: nobody may be told otherwise
            log.exception("an act after a commit failed", key=key)


@event.listens_for(Session, "after_transaction_end")
def _forget_acts(session: Session, ended: SessionTransaction) -> None:
    if ended.parent is None:  # rolled back or closed: acts of an outer transaction outlive its savepoints
        session.info.pop("on_commit", None)
