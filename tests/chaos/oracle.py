"""The oracle: reads witness, journal and rows, and answers every breach of an invariant with its evidence.

The invariants are those of the reliability page; a check names the numbers that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import calls, firing, rows, starts, times
from tests.chaos.evidence import Evidence
from tests.chaos.figures import Figures, figures

Check = Callable[[Evidence], Iterator[dict[str, Any]]]

CHECKS: dict[str, tuple[str, Check]] = {
    "lost": ("1", calls.lost),
    "doubled": ("1", calls.doubled),
    "unfinished": ("2", rows.unfinished),
    "token without lease": ("3", rows.token_without_lease),
    "attempts do not add up": ("4, 12", rows.attempts_do_not_add_up),
    "finished twice": ("5, 6", rows.finished_twice),
    "finish that nobody saw": ("5, 6", rows.finish_nobody_saw),
    "wrong end": ("2, 16", rows.wrong_end),
    "counted otherwise": ("17", rows.counted_otherwise),
    "another business": ("13, 20", rows.another_business),
    "process of two businesses": ("20", starts.process_of_two_businesses),
    "attempt begun twice": ("4, 7", starts.attempt_begun_twice),
    "begun twice without lost attempt": ("7", starts.begun_without_lost_attempt),
    "two live runs": ("7", starts.two_live_runs),
    "begun after its end": ("6", starts.begun_after_end),
    "begin without a row": ("12", starts.begin_without_row),
    "retry too early": ("10", starts.retry_too_early),
    "begun under a pause": ("8", calls.begun_under_pause),
    "interrupted and yet": ("11", calls.interrupted_and_yet),
    "a dead horse cost more than its task": ("16", starts.dead_horse_cost_more),
    "poison not at its limit": ("16", starts.poison_not_at_limit),
    "horse outlived its parent": ("7", times.horse_outlived_parent),
    "not fired once": ("1, 19", firing.not_fired_once),
    "exited by itself": ("14, 18", times.exited_by_itself),
    "noticed late": ("L", times.noticed_late),
    "begun again late": ("L", times.begun_again_late),
    "no turn after a flush": ("21", times.no_turn_after_flush),
}


@dataclass(frozen=True)
class Violation:
    """A breach: which rule, which invariants, and what shows it."""

    rule: str
    invariants: str
    evidence: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.rule} (invariant {self.invariants}): {self.evidence}"


@dataclass(frozen=True)
class Report:
    """The judgement of a run."""

    figures: Figures
    violations: list[Violation] = field(default_factory=list)

    def count(self, rule: str) -> int:
        """How often a rule was broken."""
        return sum(one.rule == rule for one in self.violations)


def judge(evidence: Evidence) -> Report:
    """Check everything."""
    found = [
        Violation(rule, invariants, shown) for rule, (invariants, check) in CHECKS.items() for shown in check(evidence)
    ]
    return Report(figures(evidence), found)
