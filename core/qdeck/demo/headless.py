"""The demo without a terminal: run a plan to its end with a worker in this process.

Owns the waiting and the verdict; prints nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from qdeck.admin import JobRef
from qdeck.demo.plan import Planned
from qdeck.demo.session import Session
from qdeck.demo.summary import TaskSummary, misfits, summarise
from qdeck.demo.tasks import QUEUES, deck
from qdeck.job import Job

__all__ = ["Report", "run_headless"]

#: Seconds without any job finishing after which the demo gives up.
PATIENCE: Final = 120.0
_PAUSE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Report:
    """How a headless run ended: a line for each task, what went wrong, and the seconds it took."""

    rows: list[TaskSummary]
    misfits: list[str]
    seconds: float


async def run_headless(
    count: int, seed: int = 1, root: Path | None = None, concurrency: int = 10
) -> Report:
    """Run the first `count` jobs of a plan to their end and compare them with it."""
    began = time.monotonic()
    async with Session(seed, root) as session:
        planned = session.plan(count)
        # Reports that wait for their inputs come again and again, and are not to crowd those out.
        shares = [f"{name}:{1 if name == 'reports' else 5}" for name in QUEUES]
        worker = deck.worker(shares, concurrency=concurrency)
        running = asyncio.create_task(worker.run())
        try:
            enqueued = await session.enqueue(planned)
            jobs = await _finished(planned, enqueued, running)
            found = [job for job in jobs.values() if job is not None]
            starts = await _first_starts(found)
        finally:
            await worker.stop()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        return Report(summarise(found, starts), misfits(planned, jobs), time.monotonic() - began)


async def _finished(
    planned: list[Planned], enqueued: dict[int, Job[Any]], running: asyncio.Task[Any]
) -> dict[int, Job[Any] | None]:
    """Return the jobs as they are once all have finished, the worker has ended, or all stand
    still.
    """
    jobs: dict[int, Job[Any] | None] = {one.number: None for one in planned}
    waiting = [one.number for one in planned]
    moved = time.monotonic()
    while waiting and not running.done() and time.monotonic() - moved < PATIENCE:
        await asyncio.sleep(_PAUSE)
        # A part at a time: reading thousands of records at once would slow the worker beside it.
        looked = list(itertools.islice(waiting, max(100, len(waiting) // 10)))
        for number in looked:
            job = enqueued[number]
            jobs[number] = await deck.job(job.id, queue=job.queue)
        done = {number for number in looked if _has_finished(jobs[number])}
        if done:
            moved = time.monotonic()
        rest = [number for number in looked if number not in done]
        waiting = waiting[len(looked) :] + rest
    for number in waiting:
        job = enqueued[number]
        jobs[number] = await deck.job(job.id, queue=job.queue)
    return jobs


async def _first_starts(jobs: list[Job[Any]]) -> dict[str, datetime]:
    """Return when the first run of each job began that needed several; its record tells the last.

    Read when all is over, so that nothing is slowed down by it.
    """
    door = deck.admin(read_only=True)
    starts: dict[str, datetime] = {}
    for job in jobs:
        if job.attempt > 1:
            detail = await door.job(JobRef(job.id, job.queue))
            begun = [run.started_at for run in detail.attempts if run.started_at] if detail else []
            if begun:
                starts[job.id] = min(begun)
    return starts


def _has_finished(job: Job[Any] | None) -> bool:
    return job is not None and job.state.finished
