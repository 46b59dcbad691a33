"""One's own account: where one is logged in, and what one prefers."""

from __future__ import annotations

from flask import Blueprint, Response, request, url_for

from tenants import accounts, preferences
from webapp import db, htmx
from webapp.access import LOGIN, access, end, local_path, me

bp = Blueprint("account", __name__, url_prefix="/account")


@bp.get("")
@access(LOGIN)
def index() -> Response:
    """The user's open logins."""
    current = me()
    return htmx.page("account/index.html", logins=accounts.open_logins(db.session, current.user), current=current)


@bp.post("/preferences")
@access(LOGIN)
def prefer() -> Response:
    """Keep one preference of the user: its `name`, and its `value` or values."""
    name, values = request.form.get("name", ""), request.form.getlist("value")
    value = values if preferences.is_list(name) else "".join(values)
    preferences.put(db.session, me().user, name, value)
    to = local_path(request.form.get("next")) or url_for("account.index")
    return htmx.kept(name, value, to=to)


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
