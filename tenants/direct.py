"""One statement that writes and that the database commits by itself, sent by the driver.

No session, no BEGIN, no COMMIT, and nothing of what SQLAlchemy does around a statement: together half of a submit on
SQLite, and more than the INSERT with its commit takes. Its errors are SQLAlchemy's nevertheless, and its pool gets no
connection back that is lost or in the middle of something.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, Engine, PoolProxiedConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

from tenants import sqlite
from tenants.database import bound


def write(statement: UpdateBase, values: Mapping[str, Any]) -> Sequence[Any]:
    """Run the statement, commit it and answer the rows it returns, as the driver reads them.

    What it is compiled to is kept for as long as it lives. Raises DBAPIError; then nothing is written.
    """
    engine = bound()
    text, sent = _said(engine.dialect, statement, values)
    alone = sqlite.alone if engine.dialect.name == "sqlite" else _autocommit
    driver: Any = engine.dialect.loaded_dbapi
    try:
        with contextlib.closing(engine.raw_connection()) as lent, alone(engine, lent):
            return _send(lent, text, sent)
    except driver.Error as error:
        raise DBAPIError.instance(
            text, sent, error, driver.Error, hide_parameters=engine.hide_parameters, dialect=engine.dialect
        ) from error


def _send(lent: PoolProxiedConnection, text: str, sent: Any) -> Sequence[Any]:
    cursor = lent.cursor()
    cursor.execute(text, sent)
    return cursor.fetchall()  # SQLite commits when the last row is read


@contextlib.contextmanager
def _autocommit(_engine: Engine, lent: PoolProxiedConnection) -> Iterator[None]:
    driver: Any = lent.dbapi_connection
    driver.autocommit = True
    try:
        yield
    except BaseException as error:
        lent.invalidate(error if isinstance(error, Exception) else None)
        raise
    driver.autocommit = False


def _said(dialect: Dialect, statement: UpdateBase, values: Mapping[str, Any]) -> tuple[str, Any]:
    """The statement and its parameters as the driver wants them."""
    made = _compiled(dialect, statement)
    given = {**made.constants, **values}
    for name, way in made.ways:
        given[name] = way(given[name])
    return made.text, given if made.order is None else [given[name] for name in made.order]


@dataclass(frozen=True)
class _Compiled:
    text: str
    order: Sequence[str] | None  # of the parameters, where they have no names
    constants: dict[str, Any]
    ways: Sequence[tuple[str, Callable[[Any], Any]]]  # from values of some types to the driver's


@functools.lru_cache(maxsize=128)
def _compiled(dialect: Dialect, statement: UpdateBase) -> _Compiled:
    made: Any = statement.compile(dialect=dialect)
    constants: dict[str, Any] = {}
    ways: list[tuple[str, Callable[[Any], Any]]] = []
    for bind, name in made.bind_names.items():
        way = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if not bind.required:
            constants[name] = way(bind.value) if way else bind.value
        elif way:
            ways.append((name, way))
    return _Compiled(made.string, made.positiontup, constants, ways)
