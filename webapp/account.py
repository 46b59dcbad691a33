"""One's own account: where one is logged in."""

from __future__ import annotations

from flask import Blueprint, Response, url_for

from tenants import accounts
from webapp import db, htmx
from webapp.access import LOGIN, access, end, me

bp = Blueprint("account", __name__, url_prefix="/account")


@bp.get("")
@access(LOGIN)
def index() -> Response:
    """The user's open logins."""
    current = me()
    return htmx.page("account/index.html", logins=accounts.open_logins(db.session, current.user), current=current)


@bp.post("/logins/<int:login_id>/revocation")
@access(LOGIN)
def revoke(login_id: int) -> Response:
    """End one login, such as that of a lost phone."""
    mine = accounts.get_login(db.session, me().user, login_id)
    accounts.end_login(db.session, mine)
    return htmx.done("That login has ended.", "logins-changed", to=url_for("account.index"))


@bp.post("/logins/revocation")
@access(LOGIN)
def revoke_all() -> Response:
    """End every login of the user, this one too."""
    accounts.end_all_logins(db.session, me().user)
    end()
    return htmx.leave(url_for("auth.login"))
