"""Alembic's way in: `alembic upgrade head` works on DATABASE_URL, `tenants.database.migrate` brings a connection."""

from alembic import context
from sqlalchemy import Connection, create_engine

from config import Config
from jobs import indexes as _indexes  # noqa: F401 - fills the metadata
from tenants import models as _tenants_models  # noqa: F401
from tenants.database import Base, engine_options, prepare


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


if given := context.config.attributes.get("connection"):
    run(given)
else:
    url = Config.from_env().database_url
    engine = create_engine(url, **engine_options(url))
    prepare(engine)
    with engine.begin() as connection:
        run(connection)
