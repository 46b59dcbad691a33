"""The tables of schedules and of what became of their due times. Workers do without them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, ForeignKeyConstraint, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, foreign, mapped_column, relationship

from jobs.models import Task
from tenants.clock import UtcDateTime, clock
from tenants.database import Base, BigId, BusinessOwned


class Schedule(BusinessOwned, Base):
    """Makes a task again and again: by cron in a time zone, or every so many seconds."""

    __tablename__ = "schedules"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    task_type: Mapped[str] = mapped_column(String(100))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    priority: Mapped[int] = mapped_column(default=0)
    cron: Mapped[str | None] = mapped_column(String(100))
    interval_seconds: Mapped[int | None] = mapped_column()
    time_zone: Mapped[str] = mapped_column(String(50), default="UTC")
    enabled: Mapped[bool] = mapped_column(default=True)
    catch_up: Mapped[str] = mapped_column(String(10), default="one")
    overlap: Mapped[str] = mapped_column(String(10), default="skip")
    next_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))

    __table_args__ = (
        UniqueConstraint("business_id", "id"),
        CheckConstraint("(cron IS NULL) <> (interval_seconds IS NULL)", name="rhythm"),
        CheckConstraint("catch_up IN ('one', 'none', 'all')", name="catch_up"),
        CheckConstraint("overlap IN ('skip', 'queue')", name="overlap"),
    )


class Firing(BusinessOwned, Base):
    """What became of one due time of a schedule: a task, or the reason for none.

    A skipped one names the unfinished task that was in its way.
    """

    __tablename__ = "firings"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    schedule_id: Mapped[int] = mapped_column()
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    fired_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())
    outcome: Mapped[str] = mapped_column(String(10))
    task_id: Mapped[int | None] = mapped_column(BigId)
    error: Mapped[str | None] = mapped_column(Text)

    task: Mapped[Task | None] = relationship(
        primaryjoin=lambda: (
            (foreign(Firing.task_id) == Task.id) & (Firing.business_id == Task.business_id)  # a task may be deleted
        ),
        viewonly=True,
    )

    __table_args__ = (
        UniqueConstraint("schedule_id", "due_at"),
        CheckConstraint("outcome IN ('fired', 'skipped', 'missed', 'failed')", name="outcome"),
        ForeignKeyConstraint(
            ["business_id", "schedule_id"],
            ["schedules.business_id", "schedules.id"],
            ondelete="CASCADE",
            name="fk_firings_schedule",
        ),
    )
