"""How long lists of tasks take among a million: every view, sort and filter, at both ends and some pages in."""

from __future__ import annotations

from bench.arena import Arena
from bench.roster import SLUICE

CONTENDERS = SLUICE
MAX_ROUNDS = 1


def measure(arena: Arena) -> dict[str, float]:
    """Milliseconds of server time a page, and the seconds that filling the database took."""
    rows = arena.settings.rows
    filled = arena.ask("sow", rows, module="sluice_pages")
    return {"rows": rows, "fill_seconds": filled, **arena.ask("look", module="sluice_pages")}
