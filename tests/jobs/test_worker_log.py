"""What a real worker process prints: no secret of the tasks that it ran."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from jobs import submit
from tests import look
from tests.factories import Cast
from tests.waiting import until


def test_a_worker_prints_no_secret(
    db: Session, cast: Cast, start: Callable[..., subprocess.Popen[bytes]], capfd: Any
) -> None:
    worker = start("worker", "default")
    ids = [
        submit("test.secret", business="acme", payload={"password": "canary-7Q", "how": how})
        for how in ("return", "retry", "raise", "odd")
    ]
    until(lambda: all(look.task(id_).ended_at for id_ in ids), seconds=30)
    worker.terminate()
    assert worker.wait(timeout=20) == 0
    assert "canary" not in "".join(capfd.readouterr())
