"""A column that has one of many numbers: given ones, or those that another query finds."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ARRAY, Dialect, Select, SQLColumnExpression, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine


class Numbers(TypeDecorator[list[int]]):
    """An array of the column's type where there are arrays, so that PostgreSQL hashes it once; else JSON."""

    impl = String
    cache_ok = True

    def __init__(self, item: TypeEngine[int]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(self.item) if dialect.name == "postgresql" else String())

    def process_bind_param(self, value: list[int] | None, dialect: Dialect) -> Any:
        return value if dialect.name == "postgresql" else json.dumps(value)


class within(FunctionElement[bool]):  # noqa: N801 - it reads as an SQL function
    """Whether a column has one of `numbers`, a literal or a parameter whose type is `Numbers`.

    They travel as one value: a parameter for each costs more than the query.
    """

    type = NullType()  # type: ignore[assignment]  # of a Boolean SQLite would get "= 1", which no index knows
    inherit_cache = True


class found_by(FunctionElement[bool]):  # noqa: N801 - it reads as an SQL function
    """Whether a column has one of the numbers that a query finds, which are all looked up in the column's index.

    IN is a join, for which PostgreSQL may read the whole table: once it has analysed that while it was empty, it did so
    for each of the numbers, 0.8 s for 300 of 40,000. And a join costs a fifth more where all is well.
    """

    type = NullType()  # type: ignore[assignment]  # as above
    inherit_cache = True

    def __init__(self, column: SQLColumnExpression[int], query: Select[tuple[int]]) -> None:
        super().__init__(column, query.scalar_subquery())


@compiles(within, "postgresql")
def _on_postgresql(element: within, compiler: Any, **kw: Any) -> str:
    column, numbers = (compiler.process(one, **kw) for one in element.clauses)
    return f"{column} = ANY ({numbers})"


@compiles(within, "sqlite")
def _on_sqlite(element: within, compiler: Any, **kw: Any) -> str:
    column, numbers = (compiler.process(one, **kw) for one in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({numbers}))"  # noqa: S608 - compiled parts


@compiles(found_by, "postgresql")
def _looked_up(element: found_by, compiler: Any, **kw: Any) -> str:
    column, query = (compiler.process(one, **kw) for one in element.clauses)
    return f"{column} = ANY (ARRAY{query})"


@compiles(found_by, "sqlite")
def _in(element: found_by, compiler: Any, **kw: Any) -> str:
    column, query = (compiler.process(one, **kw) for one in element.clauses)
    return f"{column} IN {query}"
