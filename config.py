"""Every setting of Sluice, typed. This is the only reader of the environment; it imports nothing of ours."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

_ORIGIN = re.compile(r"https?://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?")


class BadSetting(Exception):
    """A setting in the environment is wrong; the message is one line that names it."""


class Config(BaseModel):
    """The settings, each read from the environment variable of its name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address that the web server listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port that the web server listens on.")
    data_dir: Path = Field(Path("var"), description="Folder for the SQLite database, the broker's files and exports.")
    database_url: str = Field(
        default_factory=lambda known: f"sqlite:///{Path(known['data_dir']).absolute()}/sluice.db",
        description="SQLAlchemy address of the database: `sqlite:///…` or `postgresql+psycopg://…`.",
    )
    redis_url: str | None = Field(
        None, description="Address of Redis or Valkey. Without it `make run` starts a private Valkey."
    )
    workers: int = Field(
        40, ge=0, le=1000, description="Workers that `run.py` starts: so many tasks run at once. `make run` starts 2."
    )
    web_processes: int = Field(1, ge=1, le=64, description="Web processes that `make run` starts, 8 threads each.")
    task_modules: tuple[str, ...] = Field(
        (), description="Python modules that register task types, separated by commas."
    )
    script_dirs: tuple[Path, ...] = Field(
        (Path(__file__).parent / "jobs" / "builtin" / "scripts",),
        description="Folders whose executable files `script.execute` may run, separated by commas.",
    )
    demo: bool = Field(False, description="Make the demo accounts and a trickle of demo tasks.")
    secret_key: SecretStr | None = Field(
        None, description="Signs cookies and form tokens; 32 characters or more. The web server does not start without."
    )
    cookie_secure: bool = Field(
        False, description="Send cookies over HTTPS only. Switch it on wherever Sluice is served over HTTPS."
    )
    trusted_proxies: int = Field(
        0, ge=0, le=10, description="Reverse proxies before the web server, whose X-Forwarded headers tell who asks."
    )
    embed_origins: tuple[str, ...] = Field(
        (),
        description="Origins whose pages may embed Background-Tasks, such as `https://shop.example.com`, with commas.",
    )
    session_idle_minutes: int = Field(30, ge=1, description="A login ends after so many minutes without a click.")
    session_hours: int = Field(12, ge=1, description="A login ends after so many hours whatever happens.")
    slice_seconds: float = Field(1.0, gt=0, description="How long one turn works for one business.")
    lease_seconds: float = Field(10.0, gt=0, description="A running task whose worker is silent for so long is lost.")
    heartbeat_seconds: float = Field(3.0, gt=0, description="How often a worker renews the lease of a running task.")
    grace_seconds: float = Field(
        10.0, gt=0, description="How long an interrupted or timed-out handler may clean up before it is killed."
    )
    stop_seconds: float = Field(
        25.0, gt=0, description="After SIGTERM a worker lets its running task go on for so long; then it goes back."
    )
    log_lines: int = Field(5_000, ge=1, description="Log lines and steps of a task that are kept, of all its attempts.")
    retention_days: float = Field(
        30.0,
        gt=0,
        le=36_500,
        description="How long final tasks, with their logs, and firings are kept. A task type may say otherwise.",
    )
    beat_seconds: float = Field(1.0, gt=0, description="How often the scheduler repairs what fell between.")

    @field_validator("database_url")
    @classmethod
    def _with_our_driver(cls, url: str) -> str:
        for scheme in ("postgres://", "postgresql://"):
            if url.startswith(scheme):
                return "postgresql+psycopg://" + url.removeprefix(scheme)
        if url.startswith("sqlite:///"):  # the same file for every process, wherever it was started
            return f"sqlite:///{Path(url.removeprefix('sqlite:///')).absolute()}"
        if not url.startswith("postgresql+psycopg://"):
            raise ValueError("must begin with sqlite:/// or postgresql://")
        return url

    @field_validator("task_modules", "script_dirs", "embed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("embed_origins")
    @classmethod
    def _exact(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        """As browsers write them: they are compared with what browsers send, and stand in a header."""
        for one in origins:
            default_port = ":443" if one.startswith("https:") else ":80"
            if not _ORIGIN.fullmatch(one) or one.endswith(default_port):
                raise ValueError(
                    f"{one!r} is no exact origin. Write scheme, host and, if it is not the usual one, port, in lower "
                    "case: https://shop.example.com, without a path, a slash at the end or a *"
                )
        return origins

    @classmethod
    def from_env(cls) -> Config:
        """Read the environment. BadSetting names every variable that is wrong."""
        try:
            known = {name: os.environ[name.upper()] for name in cls.model_fields if name.upper() in os.environ}
            return cls.model_validate(known)
        except ValidationError as error:
            wrong = [e for e in error.errors() if e["type"] != "default_factory_not_called"]  # follows from another
            raise BadSetting("; ".join(f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in wrong)) from None
