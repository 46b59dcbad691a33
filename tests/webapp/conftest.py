"""The portal, and people at their browsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from sqlalchemy import Engine

from config import Config
from tenants.permissions import Actor
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser
from webapp import create_app
from webapp.db import _db
from webapp.security import limiter

HOST = "https://shop.example.com"  # whose pages may embed Background-Tasks
SECRET = "a secret of the tests, long enough"


@pytest.fixture
def config(database_url: str, valkey: str, tmp_path: Path) -> Config:
    """The settings of the portal."""
    return Config(
        data_dir=tmp_path,
        database_url=database_url,
        redis_url=valkey,
        secret_key=SECRET,
        demo=True,
        embed_origins=HOST,
    )


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Templates compiled once for all apps of the tests."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("compiled")))


@pytest.fixture
def app(config: Config, engine: Engine, compiled: FileSystemBytecodeCache) -> Iterator[Flask]:
    """The portal, whose engine `transaction` uses, too."""
    limiter._storage_dead = False  # the limiter is the module's, and remembers a Redis that was away
    app = create_app(config)
    app.jinja_env.bytecode_cache = compiled
    yield app
    with app.app_context():
        _db.engine.dispose()


@pytest.fixture
def as_user(app: Flask, cast: Cast) -> Callable[..., Browser]:
    """A browser of somebody of the cast who is logged in; of nobody without a name."""

    def open_browser(who: str | Actor | None = None) -> Browser:
        actor = getattr(cast, who) if isinstance(who, str) else who
        return Browser(app, rows.login(actor.user) if actor else None)

    return open_browser


@pytest.fixture
def ada(as_user: Callable[..., Browser]) -> Browser:
    """Ada runs Acme and Globex."""
    return as_user("ada")


@pytest.fixture
def ben(as_user: Callable[..., Browser]) -> Browser:
    """Ben works at Acme."""
    return as_user("ben")
