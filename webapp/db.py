"""The request's session: GETs only read, and a good answer commits before it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from flask import Flask, Response, request
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session

from config import Config
from tenants.database import Base, Sessions, engine_options, prepare, read_only

_SAFE = {"GET", "HEAD", "OPTIONS"}
_WITHOUT_DATABASE = {"home.healthz", "embed.script"}  # what is the same whatever became of the database

_db = SQLAlchemy(metadata=Base.metadata, session_options={"expire_on_commit": False})
# A scoped session: the one of this request. For types it is a plain one, as the domain wants it.
session = cast("Session", _db.session)


def init_app(app: Flask, config: Config) -> None:
    """Connect to the database, with our transaction rules, also for `tenants.database.transaction`."""
    app.config["SQLALCHEMY_DATABASE_URI"] = _absolute(config.database_url)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = _engine_options(config.database_url)
    _db.init_app(app)
    with app.app_context():
        prepare(_db.engine)
        Sessions.configure(bind=_db.engine)
    app.before_request(_begin)
    app.after_request(_end)


def start_over() -> None:
    """Drop what the request did so far; from now on it only reads."""
    drop()
    read_only(session)


def drop() -> None:
    """Roll back. What was loaded stays readable: a rollback alone would expire it, and reading it begin again."""
    session.expunge_all()
    session.rollback()


def is_safe() -> bool:
    """Whether the request promises to change nothing."""
    return request.method in _SAFE


def _begin() -> None:
    if is_safe() and request.endpoint not in _WITHOUT_DATABASE:
        read_only(session)


def _end(response: Response) -> Response:
    """Commit, or forget. A commit that fails raises, and so becomes an error page."""
    if response.status_code < 400:
        session.commit()
    else:
        drop()
    return response


def _engine_options(url: str) -> dict[str, Any]:
    options = engine_options(url)
    if "connect_args" in options:
        mine = options["connect_args"]
        # People wait for pages: a query that takes longer is an error.
        options["connect_args"] = {**mine, "options": f"{mine['options']} -c statement_timeout=5000"}
    return options


def _absolute(url: str) -> str:
    """Flask-SQLAlchemy takes a relative SQLite path for one in its instance folder, all others do not."""
    scheme, _, path = url.partition(":///")
    return f"{scheme}:///{Path(path).absolute()}" if scheme == "sqlite" else url
