"""Logging in and out."""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Blueprint, Response, request, session, url_for
from flask_limiter import RequestLimit
from flask_login import current_user
from limits import parse

from tenants import accounts, audit, demo
from tenants.accounts import WrongPassword
from tenants.database import transaction
from tenants.models import User
from webapp import db, forms, htmx
from webapp.access import LOGIN, PUBLIC, access, begin, end, local_path
from webapp.forms import LoginForm
from webapp.security import limiter, take_back
from webapp.settings import settings

FAILURES_PER_ACCOUNT = "10/minute"
FAILURES_PER_ADDRESS = "50/minute"
_NOTED_PER_ADDRESS = parse("10/minute")  # refusals in the audit log

bp = Blueprint("auth", __name__)


def _account() -> str:
    return hashlib.sha256(request.form.get("email", "").strip().lower().encode()).hexdigest()


def _address() -> str:
    return request.remote_addr or "here"


def _refuse(_breached: RequestLimit) -> None:
    """Too many wrong passwords: this one was not looked at, counts nowhere, and is in the audit log.

    A flood is not all of it there: anybody could fill the database.
    """
    take_back()
    if limiter.limiter.hit(_NOTED_PER_ADDRESS, "refused logins", _address()):
        email = request.form.get("email", "").strip()
        with transaction() as own:
            audit.record_login(own, accounts.find(own, email), email, outcome="limited", address=request.remote_addr)


@bp.route("/login", methods=["GET", "POST"])
@access(PUBLIC)
@limiter.limit(FAILURES_PER_ACCOUNT, key_func=_account, methods=["POST"], on_breach=_refuse)
@limiter.limit(FAILURES_PER_ADDRESS, key_func=_address, methods=["POST"], on_breach=_refuse)
def login() -> Response:
    """Ask who it is. A try takes its place in the limits before any password is hashed; a right one gives it back."""
    form = LoginForm(next=local_path(request.args.get("next")))
    user = _authenticated(form) if form.validate_on_submit() else None
    if user is None:
        status = 422 if form.is_submitted() else 200
        return htmx.page("auth/login.html", status=status, form=form, has_ended=_has_ended(), **_demo())
    take_back()
    begin(user)
    return htmx.leave(local_path(form.next.data) or url_for("home.index"))


@bp.post("/logout")
@access(LOGIN)
def logout() -> Response:
    """End this login; others stay."""
    ended = end()
    if ended:
        user = ended.user
        audit.record_login(db.session, user, user.email, outcome="logout", address=request.remote_addr)
    return htmx.leave(url_for("auth.login"))


def _has_ended() -> bool:
    """Whether the browser brings a login that was left alone for too long, or ended elsewhere."""
    return "_user_id" in session and not current_user.is_authenticated


def _demo() -> dict[str, Any]:
    """What the login page of a demo shows."""
    if not settings().demo:
        return {"demo": False}
    return {"demo": True, "demo_logins": demo.LOGINS, "demo_password": accounts.DEMO_PASSWORD}


def _authenticated(form: LoginForm) -> User | None:
    """The user, whose login joins the request's transaction; or None, with the failure in the audit log."""
    email, address = form.email.data, request.remote_addr
    try:
        user = accounts.authenticate(db.session, email, form.password.data, demo=settings().demo)
    except WrongPassword as error:
        with transaction() as own:
            audit.record_login(own, accounts.find(own, email), email, outcome="refused", address=address)
        forms.note(form, error)
        return None
    audit.record_login(db.session, user, email, outcome="done", address=address)
    return user
