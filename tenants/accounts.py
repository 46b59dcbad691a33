"""Accounts: registering people, and their logins."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, bindparam, select, update
from sqlalchemy.orm import Session

from tenants.clock import clock
from tenants.database import any_id, read_only
from tenants.errors import Conflict, Invalid, NotFound
from tenants.models import NAME, Login, User

DEMO_PASSWORD = "sluice-demo"  # noqa: S105 - shown in the README; `authenticate` takes it in a demo only
_EMAIL = re.compile(r"[^@\s\x00\ud800-\udfff]{1,100}@[^@\s\x00\ud800-\udfff]{1,99}")


class WrongPassword(Invalid):
    """This e-mail address and password do not match."""


class TakenEmail(Conflict):
    """There is an account with this e-mail address already."""


class WeakPassword(Invalid):
    """A password has 8 characters or more, and is not a common one."""


def register(
    session: Session, email: str, name: str, password: str, *, is_platform_admin: bool = False, demo: bool = False
) -> User:
    """A new user. Only a demo may use the demo password."""
    from tenants import passwords

    if find(session, email):
        raise TakenEmail(field="email")
    if not _EMAIL.fullmatch(_normal(email)) or not NAME.fullmatch(name.strip()):
        raise Invalid("An account needs an e-mail address and a name of 100 characters at most.", field="email")
    if passwords.is_weak(password) or (password == DEMO_PASSWORD and not demo):
        raise WeakPassword(field="password")
    new = User(
        email=_normal(email),
        name=name.strip(),
        password_hash=passwords.hashed(password),
        is_platform_admin=is_platform_admin,
    )
    session.add(new)
    session.flush()
    return new


def find(session: Session, email: str) -> User | None:
    """The user of this e-mail address, in any case."""
    if not _EMAIL.fullmatch(_normal(email)):
        return None
    return session.scalar(select(User).where(User.email == _normal(email)))


def authenticate(session: Session, email: str, password: str, *, demo: bool) -> User:
    """The user whose password this is. WrongPassword never tells which of the two was wrong.

    Reads, ends the transaction, and only then hashes: no lock is held meanwhile. A demo password opens nothing
    outside a demo, even if a demo's database is used in production.
    """
    from tenants import passwords

    read_only(session)
    user = find(session, email)
    session.close()  # a rollback would expire the user, and the next attribute begin a transaction
    is_theirs = passwords.fits(password, user.password_hash if user else None)
    if user is None or not is_theirs or user.disabled_at or (password == DEMO_PASSWORD and not demo):
        raise WrongPassword(field="password")
    return user


def begin_login(session: Session, user: User, address: str | None) -> str:
    """A new login of the user; the answer is the token that opens it, which is stored nowhere."""
    token = secrets.token_urlsafe(32)
    session.add(Login(token_hash=hashed(token), user_id=user.id, address=address))
    return token


def is_open(idle: float, longest: float) -> ColumnElement[bool]:
    """True of the login of a `token`, unless it ended, was idle or lasted for too long (seconds). Join its user."""
    return and_(
        Login.token_hash == bindparam("token"),
        Login.ended_at.is_(None),
        Login.seen_at > clock(-idle),
        Login.created_at > clock(-longest),
        User.disabled_at.is_(None),
    )


def touch_login(session: Session, login: Login) -> None:
    """Note that the user is there."""
    session.execute(update(Login).where(Login.id == login.id).values(seen_at=clock()))


def end_login(session: Session, login: Login) -> None:
    """End one login; its token opens nothing from now on."""
    session.execute(update(Login).where(Login.id == login.id, Login.ended_at.is_(None)).values(ended_at=clock()))


def open_logins(session: Session, user: User) -> Sequence[Login]:
    """The logins of a user that were not ended, last seen first."""
    query = select(Login).where(Login.user_id == user.id, Login.ended_at.is_(None))
    return session.scalars(query.order_by(Login.seen_at.desc(), Login.id.desc())).all()


def get_login(session: Session, user: User, login_id: int) -> Login:
    """A user's own login; else NotFound."""
    found = session.scalar(select(Login).where(Login.user_id == user.id, Login.id == any_id(login_id)))
    if found is None:
        raise NotFound
    return found


def end_all_logins(session: Session, user: User) -> None:
    """End every login of a user, on every device."""
    session.execute(update(Login).where(Login.user_id == user.id, Login.ended_at.is_(None)).values(ended_at=clock()))


def hashed(token: str) -> str:
    """A login's token as it is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def _normal(email: str) -> str:
    return email.strip().lower()
