"""What people see: pages, fragments and the small HTTP API. No SQL and no Redis here; the domain asks them."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_compress import Compress
from flask_wtf.csrf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

import logs
from config import BadSetting, Config
from jobs import queue, task_types
from webapp import (
    access,
    account,
    active,
    audit,
    auth,
    background,
    bulk,
    cli,
    db,
    deletions,
    details,
    embed,
    errors,
    exports,
    failures,
    formats,
    history,
    home,
    htmx,
    interruptions,
    links,
    palette,
    pauses,
    reruns,
    rows,
    security,
    settings,
    shell,
    tasks,
    views,
)
from webapp.api import refs, taskqueue

SHORTEST_SECRET = 32
OF_TASKS = (details, interruptions, reruns, deletions)  # they add their routes to the blueprint of tasks
LISTS = (tasks, active, history, failures, views, bulk, exports, pauses, background)
BLUEPRINTS = (auth, account, home, *LISTS, audit, palette, taskqueue, refs)


def create_app(config: Config) -> Flask:
    """The portal. BadSetting without a proper secret key; NoRedis without REDIS_URL; BadTaskModule names the module."""
    logs.configure()
    app = Flask(__name__, static_folder=None)
    app.config.from_mapping(_flask_settings(config))
    if config.trusted_proxies:
        hops = config.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    settings.keep(app, config)
    task_types.load(config.task_modules)
    queue.connect(config.redis_url)
    # Hooks before a request run in this order, hooks after it in the opposite one: access notes who was there
    # when db has committed, and db commits when everybody else is done with the answer.
    access.note_presence(app)
    db.init_app(app, config)
    access.init_app(app)
    CSRFProtect(app)
    Compress(app)
    for part in (htmx, errors, formats, links, rows, shell, security, cli):
        part.init_app(app)
    for module in (*BLUEPRINTS, *([embed] if config.embed_origins else [])):
        app.register_blueprint(module.bp)
    return app


def _flask_settings(config: Config) -> dict[str, Any]:
    return {
        "SECRET_KEY": _secret(config),
        "PROPAGATE_EXCEPTIONS": False,  # errors become pages, also those of a commit
        "MAX_CONTENT_LENGTH": 1024 * 1024,
        "SESSION_COOKIE_NAME": "sluice",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": config.cookie_secure,
        "WTF_CSRF_TIME_LIMIT": None,  # as long as the session: a page left open must still be able to pause
        "RATELIMIT_STORAGE_URI": security.limiter_storage(config.redis_url or ""),
        "RATELIMIT_STORAGE_OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
        "RATELIMIT_STRATEGY": "moving-window",
        "RATELIMIT_IN_MEMORY_FALLBACK_ENABLED": True,
    }


def _secret(config: Config) -> str:
    secret = config.secret_key.get_secret_value() if config.secret_key else ""
    if len(secret) < SHORTEST_SECRET:
        raise BadSetting(
            f"SECRET_KEY: the web server needs one of {SHORTEST_SECRET} characters or more. "
            'Make one with: python3 -c "import secrets; print(secrets.token_hex())"'
        )
    return secret
