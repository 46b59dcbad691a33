"""When is a loss noticed? Only somebody outside who looks all the time can tell."""

from __future__ import annotations

import threading
import time

from sqlalchemy import select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from jobs.models import Attempt
from tenants.database import transaction
from tests.chaos.journal import Journal, Witness

EVERY_SECONDS = 0.05


class Watcher:
    """Looks every 50 ms whether the attempts that were hit have their rows yet, and writes down when."""

    def __init__(self, journal: Journal, witness: Witness) -> None:
        self._journal = journal
        self._witness = witness
        self._hit: dict[tuple[int, int], tuple[str, float]] = {}
        self._poisoned: set[tuple[int, int]] = set()
        self.poison: set[int] = set()  # tasks that kill their process by themselves
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def watch(self, start: tuple[int, int], kind: str, at: float) -> None:
        """This attempt was hit at that moment."""
        with self._lock:
            self._hit[start] = kind, at

    def _watch(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self._watch_poison()
            for start in self._noticed():
                with self._lock:
                    kind, at = self._hit.pop(start)
                self._journal.write("noticed", start=start, kind=kind, hit_at=at, after=time.monotonic() - at)

    def _watch_poison(self) -> None:
        for line in self._witness.at_work():
            if line.task in self.poison and line.start not in self._poisoned:
                self._poisoned.add(line.start)
                self.watch(line.start, "poison", line.at)

    def _noticed(self) -> list[tuple[int, int]]:
        with self._lock:
            wanted = list(self._hit)
        if not wanted:
            return []
        found = select(Attempt.task_id, Attempt.number).where(tuple_(Attempt.task_id, Attempt.number).in_(wanted))
        try:
            with transaction(read_only=True) as session:
                return [(row.task_id, row.number) for row in session.execute(found)]
        except SQLAlchemyError:  # the database is away: look again
            return []
