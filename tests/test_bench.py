"""The benchmark as a guard: a judged run that became slower than it has to be ends with an error."""

from __future__ import annotations

from bench import goals
from bench.goals import Run
from bench.roster import DRAMATIQ, HUEY, SQLITE


def run(rate: float, *, doubts: tuple[str, ...] = ()) -> Run:
    """A round of draining in which huey makes 5,000 and dramatiq 4,000 tasks a second."""
    figures = {SQLITE.name: rate, HUEY.name: 5_000.0, DRAMATIQ.name: 4_000.0}
    one_round = {name: {"rate": figure} for name, figure in figures.items()}
    return {"scenarios": {"drain": [one_round]}, "missing": [], "quick": False, "doubts": list(doubts)}


def test_a_run_that_is_fast_enough_is_above_the_floor() -> None:
    assert goals.below_floor(run(20_000.0)) == []


def test_a_run_that_is_too_slow_says_for_which_goal() -> None:
    assert goals.below_floor(run(15_000.0)) == ["drain/s, SQLite ≥ 4 x dramatiq"]


def test_a_run_on_a_machine_that_did_not_keep_still_is_not_judged() -> None:
    assert goals.below_floor(run(15_000.0, doubts=("the reference loop drifted",))) == []
