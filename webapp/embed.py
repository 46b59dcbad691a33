"""Background-Tasks inside of a host application: a script that makes a button there, and the page that it frames.

All of this is there only when EMBED_ORIGINS names somebody; `webapp.security` says whose pages may use it.
"""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify, make_response, request

from tenants.permissions import May
from webapp import background
from webapp.access import EMBED, PUBLIC, access
from webapp.security import STATIC, share_with_hosts
from webapp.settings import settings

bp = Blueprint(EMBED, __name__)


@bp.get("/embed.js")
@access(PUBLIC)
def script() -> Response:
    """The one line of HTML that a host application adds loads this."""
    response = make_response((STATIC / "embed" / "button.js").read_text())
    response.mimetype = "text/javascript"
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@bp.get("/b/<business>/background-tasks/embed")
@access(May.ENTER)
def index() -> Response:
    """Background-Tasks without our header. Whoever is not logged in gets a link to log in, not our login page."""
    return background.page("embed/index.html")


@bp.get("/b/<business>/background-tasks/embed/count")
@access(May.ENTER)
def count() -> Response:
    """How many own tasks are not over, for the badge of the button."""
    unfinished = background.unfinished(g.actor)
    return jsonify(unfinished=unfinished.number, is_capped=unfinished.is_capped)


@bp.after_request
def _share(response: Response) -> Response:
    """Scripts of the host's page may read the number, and nothing else."""
    return share_with_hosts(response) if request.endpoint == "embed.count" else response


@bp.app_context_processor
def _known() -> dict[str, object]:
    return {"embed_origins": settings().embed_origins}
