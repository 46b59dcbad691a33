"""What was found a moment ago, and need not be looked for again so soon."""

from __future__ import annotations

import time
from collections.abc import Hashable
from weakref import WeakKeyDictionary

from sqlalchemy import Engine
from sqlalchemy.orm import Session


class Recently:
    """Facts about a database, each true for so many seconds after it was noted in this process."""

    def __init__(self) -> None:
        self._until: WeakKeyDictionary[Engine, dict[Hashable, float]] = WeakKeyDictionary()

    def note(self, session: Session, fact: Hashable, seconds: float) -> None:
        """It holds now, and for so long it is taken for granted."""
        self._until.setdefault(session.connection().engine, {})[fact] = time.monotonic() + seconds

    def holds(self, session: Session, fact: Hashable) -> bool:
        """Whether it was noted, and that is not too long ago."""
        return self._until.get(session.connection().engine, {}).get(fact, 0) > time.monotonic()
