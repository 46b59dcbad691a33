"""One statement that writes and that the database commits by itself, sent by the driver.

No session, no BEGIN, no COMMIT, and nothing of what SQLAlchemy does around a statement: together half of a submit on
SQLite, and more than the INSERT with its commit takes. Its errors are SQLAlchemy's nevertheless, and its pool gets no
connection back that is lost or in the middle of something.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, Engine, PoolProxiedConnection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

from tenants import sqlite
from tenants.database import bound


def write(statement: UpdateBase, values: Mapping[str, Any]) -> Sequence[Any]:
    """Run the statement, commit it and answer the rows it returns, as the driver reads them.

    Raises what SQLAlchemy would. Then nothing is written, unless the connection was lost after the commit. What a
    statement is compiled to is kept with it, so it is to be made once. ValueError if it holds what SQLAlchemy fills in
    while it executes a statement itself.
    """
    engine = bound()
    text, sent = _said(engine.dialect, statement, values)
    alone = sqlite.alone if engine.dialect.name == "sqlite" else _by_itself
    driver: Any = engine.dialect.loaded_dbapi
    try:
        return _lend(engine, lambda lent: alone(engine, lent, lambda: _send(lent, text, sent)))
    except driver.Error as error:
        raise DBAPIError.instance(
            text, sent, error, driver.Error, hide_parameters=engine.hide_parameters, dialect=engine.dialect
        ) from error


def _lend(engine: Engine, use: Callable[[PoolProxiedConnection], Sequence[Any]]) -> Sequence[Any]:
    """Use a connection. On SQLite one stays lent: what the pool does around it takes a tenth of a submit there."""
    lent = _kept_for(engine) or engine.raw_connection()
    try:
        rows = use(lent)
    except BaseException:
        lent.close()  # the pool makes an end of whatever it was in the middle of
        raise
    if _kept or engine.dialect.name != "sqlite":  # who writes at the same time gets another one
        lent.close()
    else:
        _kept.append((engine, lent))
    return rows


def _kept_for(engine: Engine) -> PoolProxiedConnection | None:
    try:
        of, lent = _kept.pop()
    except IndexError:
        return None
    if of is engine:
        return lent
    lent.invalidate()
    return None


def _close_kept(*_: object) -> None:
    with contextlib.suppress(IndexError):
        while True:
            _kept.pop()[1].invalidate()  # closed, not given back: its pool is gone


_kept: list[tuple[Engine, PoolProxiedConnection]] = []  # one, or one more that two threads kept at the same moment
event.listen(Engine, "engine_disposed", _close_kept)  # in a forked process, too (`database`)


def _send(lent: PoolProxiedConnection, text: str, sent: Any) -> Sequence[Any]:
    cursor = lent.cursor()
    try:
        cursor.execute(text, sent)
        return cursor.fetchall()  # SQLite commits when the last row is read
    finally:
        cursor.close()  # interrupted between the two, it would hold SQLite's lock for as long as somebody has the error


def _by_itself(_engine: Engine, lent: PoolProxiedConnection, write: Callable[[], Sequence[Any]]) -> Sequence[Any]:
    """The pool makes an end of it (`database._end_autocommit`), since here an interrupt might come first."""
    driver: Any = lent.dbapi_connection
    driver.autocommit = True
    try:
        return write()
    except BaseException as error:
        lent.invalidate(error if isinstance(error, Exception) else None)
        raise


def _said(dialect: Dialect, statement: UpdateBase, values: Mapping[str, Any]) -> tuple[str, Any]:
    """The statement and its parameters as the driver wants them."""
    made = _compiled(dialect, statement)
    given = {**made.constants, **values}
    for name, way in made.ways:
        if name in values:
            given[name] = way(values[name])
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
    if made.prefetch or made.post_compile_params or made.literal_execute_params:
        raise ValueError("a default or a list that only SQLAlchemy fills in, when it executes a statement itself")
    constants: dict[str, Any] = {}
    ways: dict[str, Callable[[Any], Any]] = {}
    for bind, name in made.bind_names.items():
        way = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if way:
            ways[name] = way
        if not bind.required:
            constants[name] = way(bind.value) if way else bind.value
    return _Compiled(made.string, made.positiontup, constants, list(ways.items()))
