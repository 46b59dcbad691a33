"""How fast tasks are submitted while nobody works: in bulk, and one by one, each committed and its workers woken."""

from __future__ import annotations

from bench.arena import Arena
from bench.roster import ENGINES, SLUICE
from bench.starts import Void

CONTENDERS = SLUICE + ENGINES
MAX_ROUNDS = None


def measure(arena: Arena) -> dict[str, float]:
    """Tasks a second."""
    single = arena.settings.scaled(4_000, 1_000)
    stored, figures = single, {"single_rate": single / arena.ask("one_by_one", single)}
    if arena.contender.module == "sluice":
        bulk = arena.settings.tasks
        figures["bulk_rate"] = bulk / arena.ask("fill", bulk)
        figures["bare_rate"] = single / arena.ask("bare", single)
        stored += bulk + single + 1
    if arena.contender.database and (waiting := arena.ask("waiting")) != stored:
        raise Void(f"{waiting} tasks wait instead of {stored}")
    return figures
