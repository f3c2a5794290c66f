"""What became of the demo's jobs: a line for each task, from the records read back.

Owns the counting and the percentiles; reads and prints nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from qdeck.demo.plan import Planned
from qdeck.job import Job, State

__all__ = ["TaskSummary", "misfits", "summarise", "table"]

_HEAD = ("task", "enqueued", "completed", "retried", "dead", "wait p50", "p95", "run p50", "p95")


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """One task; times in seconds, None when no job tells. `retried` are runs after the first.

    Waits are those for the first run, from due to started.
    """

    task: str
    enqueued: int
    completed: int
    retried: int
    dead: int
    wait_p50: float | None
    wait_p95: float | None
    run_p50: float | None
    run_p95: float | None


def summarise(
    jobs: Iterable[Job[Any]], first_starts: Mapping[str, datetime] = MappingProxyType({})
) -> list[TaskSummary]:
    """Return a line for each task, by name.

    `first_starts` has, by id, when the first run began of jobs that needed several.
    """
    by_task: dict[str, list[Job[Any]]] = {}
    for job in jobs:
        by_task.setdefault(job.task, []).append(job)
    return [_summary(task, by_task[task], first_starts) for task in sorted(by_task)]


def misfits(planned: Sequence[Planned], jobs: Mapping[int, Job[Any] | None]) -> list[str]:
    """Return a sentence for each job that did not reach the state it had to."""
    sentences = []
    for one in planned:
        job = jobs.get(one.number)
        if job is None:
            sentences.append(f"job {one.number} ({one.task}) has no record")
        elif job.state is not one.expected:
            error = f": {job.error.type}: {job.error.message}" if job.error else ""
            sentences.append(f"job {job.id} ({one.task}) is {job.state}, not {one.expected}{error}")
        elif job.attempt <= one.failures and one.expected is State.COMPLETED:
            sentences.append(
                f"job {job.id} ({one.task}) completed on run {job.attempt}, not after "
                f"{one.failures} failures"
            )
    return sentences


def table(rows: Sequence[TaskSummary]) -> str:
    """Return the lines as text, columns aligned."""
    cells: list[tuple[str, ...]] = [_HEAD]
    for row in rows:
        times = (row.wait_p50, row.wait_p95, row.run_p50, row.run_p95)
        counts = (row.enqueued, row.completed, row.retried, row.dead)
        cells.append((row.task, *map(str, counts), *map(_shown, times)))
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )


def _summary(
    task: str, jobs: Sequence[Job[Any]], first_starts: Mapping[str, datetime]
) -> TaskSummary:
    waits, runs = [], []
    for job in jobs:
        if job.started_at is None:
            continue
        first = job.started_at if job.attempt == 1 else first_starts.get(job.id)
        if first is not None and job.created_at is not None:
            due = max(job.created_at, job.available_at or job.created_at)
            waits.append(max((first - due).total_seconds(), 0.0))
        if job.finished_at is not None:
            runs.append((job.finished_at - job.started_at).total_seconds())
    return TaskSummary(
        task,
        enqueued=len(jobs),
        completed=sum(job.state is State.COMPLETED for job in jobs),
        retried=sum(max(job.attempt - 1, 0) for job in jobs),
        dead=sum(job.state is State.DEAD for job in jobs),
        wait_p50=_percentile(waits, 0.5),
        wait_p95=_percentile(waits, 0.95),
        run_p50=_percentile(runs, 0.5),
        run_p95=_percentile(runs, 0.95),
    )


def _percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least that share of the values does not exceed."""
    if not values:
        return None
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 10 else f"{value:.1f} s"
