"""The whole of Sluice as `make run` starts it, for people with real browsers."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import update

from jobs import queue, task_types
from jobs.models import Pause, Task
from jobs.states import WAITING, State
from jobs.submitting import submit
from processes import dying_with_me
from tenants import businesses, members
from tenants.clock import clock
from tenants.database import connect, transaction
from tenants.models import Business, Role
from tests import factories
from tests.factories import Cast
from tests.waiting import until

ROOT = Path(__file__).parents[2]


@dataclass
class Stack:
    """A running Sluice: where its pages, database and broker are. `logins` keeps the cookies of who logged in."""

    url: str
    database_url: str
    redis_url: str
    logins: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def at_hand(self) -> Iterator[Cast]:
        """Use its database and broker here, with nothing waiting and nothing paused. The demo goes on."""
        task_types.load(())
        engine = connect(self.database_url)
        queue.connect(self.redis_url)
        _calm()
        with transaction(read_only=True) as session:
            cast = factories.assemble(session)
        yield cast
        queue.flush()
        engine.dispose()

    def submit(self, who: str | None, task_type: str = "test.count", *, business: str = "acme", **values: Any) -> int:
        """A task of somebody, or of the Scheduler; it goes first. Counting takes a second unless `times` says more."""
        payload = values.pop("payload", {"times": values.pop("times", 1)})
        user = f"{who}@example.com" if who else None
        return submit(task_type, business=business, user=user, payload=payload, **{"priority": 50, **values})

    def found(self, cast: Cast, slug: str, name: str) -> Business:
        """A new business without tasks, which Ada runs and where Ben and Cleo work."""
        with transaction() as session:
            new = businesses.create(session, slug, name)
            for person, role in ((cast.ada, Role.ADMIN), (cast.ben, Role.MEMBER), (cast.cleo, Role.MEMBER)):
                members.add(session, new, person.user, role)
            return new


@contextlib.contextmanager
def start(folder: Path, **settings: str) -> Iterator[Stack]:
    """Start `run.py` with the demo and two workers, wait until it says that it is ready, and stop it at the end."""
    url = f"http://127.0.0.1:{_free_port()}"
    known = {"DATABASE_URL": f"sqlite:///{folder}/sluice.db", "DATA_DIR": str(folder), "DEMO": "1", "WORKERS": "2"}
    outside = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    environment = {**outside, **known, "PORT": url.rpartition(":")[2], **settings}
    said = folder / "said.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "run.py"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=dying_with_me(),  # noqa: PLW1509 - one system call, of a library loaded before
        )
    try:
        until(lambda: process.poll() is not None or "Sluice is ready" in said.read_text(), seconds=40)
        assert process.poll() is None, said.read_text()
        yield Stack(url, environment["DATABASE_URL"], _broker_of(process.pid))
    finally:
        process.terminate()
        process.wait(timeout=15)


def tomorrow() -> datetime:
    """A start time that no test lives to see."""
    return datetime.now(UTC).replace(year=datetime.now(UTC).year + 1, day=1)


def _broker_of(pid: int) -> str:
    """The broker that this `run.py` has started."""
    owners = Path(tempfile.gettempdir()).glob("sluice-broker-*/owner")
    [ours] = [one.parent for one in owners if one.read_text() == str(pid)]
    return f"unix://{ours}/r.sock?db=0"


def _calm() -> None:
    """Cancel what waits and end what is paused, so that a test begins with idle workers."""
    with transaction() as session:
        session.execute(update(Pause).where(Pause.ended_at.is_(None)).values(ended_at=clock()))
        waits = Task.state.in_(sorted(WAITING))
        session.execute(update(Task).where(waits).values(state=State.CANCELED, ended_at=clock()))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
