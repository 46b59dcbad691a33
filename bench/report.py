"""A run as Markdown, ready to paste: `python -m bench.report [FILE]` prints the newest one, or FILE."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.goals import GOALS, Goal, Run, ratios, values, verdict
from bench.settings import RESULTS


def main() -> None:
    """Print a results file."""
    files = [Path(one) for one in sys.argv[1:]] or sorted(RESULTS.glob("*.json"), key=lambda one: one.stat().st_mtime)
    if not files:
        raise SystemExit("there are no results yet: make bench")
    print(markdown(json.loads(files[-1].read_text())))


def markdown(run: Run) -> str:
    """The machine, what to think of the run, the goals, and every figure of every contender."""
    return "\n".join([*_head(run), "", *_goals(run), *_scenarios(run)])


def _head(run: Run) -> Iterator[str]:
    if run["quick"]:
        yield "**QUICK: too short to mean anything. It only shows that the harness works.**\n"
    for doubt in run["doubts"]:
        yield f"**Not judged: {doubt}.**\n"
    yield f"{run['machine']}; drift of the reference loop {run['drift']:.0%}.\n"
    yield (
        f"{run['at']}: {run['workers']} worker processes, {run['tasks']:,} tasks, median (min-max) of the rounds after "
        f"{run['discarded']} discarded, ratios by round. Deviations: {run['deviations'] or 'none'}."
    )
    for name in run["missing"]:
        yield f"\n**{name} is missing** (make bench-peers); it is not beaten."
    for why, where in _voids(run).items():
        yield f"\n**Void, {why}**: {'; '.join(where)}"


def _goals(run: Run) -> Iterator[str]:
    yield "| goal | what | Sluice | peer | ratio | wanted | met |"
    yield "|---|---|---|---|---|---|---|"
    for goal in GOALS:
        if goal.scenario in run["scenarios"]:
            yield _goal(run, goal)


def _goal(run: Run, goal: Goal) -> str:
    theirs = values(run, goal.scenario, goal.peer.name, goal.key) if goal.peer else []
    cells = [
        goal.number,
        goal.what,
        spread(values(run, goal.scenario, goal.ours.name, goal.key)),
        spread(theirs),
        spread(ratios(run, goal), "x"),
        goal.bound,
        verdict(run, goal),
    ]
    return f"| {' | '.join(cells)} |"


def _scenarios(run: Run) -> Iterator[str]:
    for scenario, rounds in run["scenarios"].items():
        names = list(dict.fromkeys(name for one in rounds for name in sorted(one, key=run["order"].index)))
        figures = [one for one_round in rounds for one in one_round.values()]
        keys = list(dict.fromkeys(key for one in figures for key in one if key != "void"))
        yield f"\n### {scenario}, {len(rounds)} rounds\n"
        yield f"| | {' | '.join(keys)} |"
        yield f"|---{'|---' * len(keys)}|"
        for name in names:
            yield f"| {name} | {' | '.join(spread(values(run, scenario, name, key)) for key in keys)} |"


def _voids(run: Run) -> dict[str, list[str]]:
    """What does not count, by the reason."""
    found: dict[str, list[str]] = {}
    for scenario, rounds in run["scenarios"].items():
        for number, one in enumerate(rounds, 1):
            for name, figures in one.items():
                if "void" in figures:
                    found.setdefault(figures["void"].splitlines()[-1], []).append(f"{scenario} {number}, {name}")
    return found


def spread(figures: Sequence[float], unit: str = "") -> str:
    """Median (min-max), with three figures that mean something."""
    if not figures:
        return ""
    middle = f"{_short(statistics.median(figures))}{unit}"
    if len(set(figures)) == 1:
        return middle
    return f"{middle} ({_short(min(figures))}-{_short(max(figures))})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
