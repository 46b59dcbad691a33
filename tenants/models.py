"""The tables of who: businesses, users, members, logins and the audit log."""

from __future__ import annotations

import enum
import re
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from tenants.clock import UtcDateTime, clock
from tenants.database import Base, BigId, BusinessOwned, ByteOrdered


def _default_sort_name(context: Any) -> str:
    return str(context.get_current_parameters()["name"]).lower()


NAME = re.compile(r"[^\x00\ud800-\udfff]{1,100}", re.DOTALL)  # of a person or business, as a database takes it


class Role(enum.StrEnum):
    """What a person is in a business. A platform admin is one in every business, without a membership."""

    MEMBER = "member"
    ADMIN = "admin"
    AUDITOR = "auditor"
    PLATFORM_ADMIN = "platform admin"


class Business(Base):
    """A tenant."""

    __tablename__ = "businesses"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())
    archived_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class User(Base):
    """A person who can log in."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    sort_name: Mapped[str] = mapped_column(ByteOrdered(200), default=_default_sort_name, server_default="")
    password_hash: Mapped[str] = mapped_column(String(200))
    is_platform_admin: Mapped[bool] = mapped_column(default=False)
    time_zone: Mapped[str] = mapped_column(String(50), default="UTC")
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @validates("name")
    def _sort(self, _key: str, name: str) -> str:
        """Lists sort and search people by their name in lower case: by Python's, since each database has its own."""
        self.sort_name = name.lower()
        return name

    __table_args__ = (Index("ix_users_name", "name"), Index("ix_users_sort_name", "sort_name", "id"))


class Member(BusinessOwned, Base):
    """A user in a business, with a role."""

    __tablename__ = "members"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    role: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())

    user: Mapped[User] = relationship()
    business: Mapped[Business] = relationship()

    __table_args__ = (
        UniqueConstraint("business_id", "user_id"),
        Index("ix_members_user_id", "user_id"),
        CheckConstraint("role IN ('member', 'admin', 'auditor')", name="role"),
    )


class Login(Base):
    """One login of a user: what the cookie's token, stored hashed, opens until it ends or is revoked."""

    __tablename__ = "logins"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    address: Mapped[str | None] = mapped_column(String(50))

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class AuditEntry(Base):
    """Who did what to what, and what was before and after. Rows are only ever added."""

    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    business_id: Mapped[int | None] = mapped_column(ForeignKey("businesses.id"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())
    act: Mapped[str] = mapped_column(String(50))
    subject: Mapped[str] = mapped_column(String(200))
    outcome: Mapped[str] = mapped_column(String(20), default="done")
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    reason: Mapped[str | None] = mapped_column(Text)

    user: Mapped[User | None] = relationship()

    __table_args__ = (Index("ix_audit_entries_business_id_id", "business_id", "id"),)
