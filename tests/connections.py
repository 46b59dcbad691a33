"""A process that loads this module notes each connection that it makes to the database, as task types note tasks."""

from __future__ import annotations

import os

from sqlalchemy import event
from sqlalchemy.pool import Pool

from tests.task_types import witness

event.listen(Pool, "connect", lambda *_: witness(f"connected {os.getpid()}"))
