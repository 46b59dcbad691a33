"""Looking at the database as it is now. Each look is a reading transaction of its own, so that it holds no lock."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select

from jobs.models import Task
from tenants.database import transaction


def scalar(query: Select[Any]) -> Any:
    """The first column of the first row."""
    with transaction(read_only=True) as session:
        return session.scalar(query)


def scalars(query: Select[Any]) -> list[Any]:
    """The first column of every row."""
    with transaction(read_only=True) as session:
        return list(session.scalars(query))


def rows(query: Select[Any]) -> list[Any]:
    """Every row."""
    with transaction(read_only=True) as session:
        return list(session.execute(query))


def task(id_: int) -> Task:
    """A task, whole."""
    with transaction(read_only=True) as session:
        return session.get_one(Task, id_)
