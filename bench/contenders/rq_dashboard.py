"""rq-dashboard: Flask's own server, one process with threads. It reads what RQ keeps in Redis."""

from __future__ import annotations

from datetime import UTC, datetime

from rq import Queue
from rq.job import JobStatus
from rq.registry import FinishedJobRegistry

from bench.contenders.rq import nothing, queue

_CHUNK = 1_000


def sow(count: int) -> int:
    """So many jobs that are finished and so many that wait; how many the list of what waits holds."""
    for first in range(0, count, _CHUNK):
        numbers = range(first, min(first + _CHUNK, count))
        _finish(numbers)
        queue.enqueue_many([Queue.prepare_data(nothing, (number,)) for number in numbers])
    return int(queue.count)


def _finish(numbers: range) -> None:
    """Jobs that look as if they had been worked off."""
    registry, now = FinishedJobRegistry(queue=queue), datetime.now(UTC)
    with queue.connection.pipeline() as together:
        for number in numbers:
            job = queue.create_job(nothing, (number,), result_ttl=-1, status=JobStatus.FINISHED)
            job.started_at = job.ended_at = now
            job.save(pipeline=together)
            registry.add(job, ttl=-1, pipeline=together)
        together.execute()
