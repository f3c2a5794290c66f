"""Metrics in Prometheus' text, as `qdeck metrics` prints them.

Counters are of all time and never go back. Times come from histograms whose buckets grow by a
quarter; sums are told from the middles of the buckets, so they are right to about a tenth. What
tasks beyond the 40th of a queue did stands under the task `other`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

from qdeck.admin import QueueRow, ScheduleRow, WorkerRow
from qdeck.history import bound_s
from qdeck.keys import queue_keys
from qdeck.lifetime import Lifetime, read_lifetime
from qdeck.reader import Reader

__all__ = ["exposition", "read_lifetimes"]

#: Buckets whose upper bounds are shown: from 0.3 ms to 4 h, each about three times the last.
_SHOWN: Final = range(5, 86, 5)
_QUEUE: Final = ("queue",)
_TASK: Final = ("queue", "task")


async def read_lifetimes(reader: Reader, queues: Iterable[str]) -> dict[str, Lifetime]:
    """Return the numbers of all time of each queue."""
    names, prefix = list(queues), reader.deck.settings.prefix
    found = await asyncio.gather(*(read_lifetime(reader, queue_keys(prefix, q)) for q in names))
    return dict(zip(names, found, strict=True))


def exposition(
    rows: Iterable[QueueRow],
    lifetimes: Mapping[str, Lifetime],
    workers: Iterable[WorkerRow],
    schedules: Iterable[ScheduleRow],
) -> str:
    """Return the metrics as text."""
    registry = CollectorRegistry(auto_describe=False)
    families = [
        *_gauges(list(rows), list(workers)),
        *_counters(lifetimes),
        *_times(lifetimes),
        *_cron(lifetimes, list(schedules)),
    ]
    registry.register(_Families(families))
    return generate_latest(registry).decode()


class _Families:
    """Hands ready families to a registry."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield from self._families


def _gauges(rows: list[QueueRow], workers: list[WorkerRow]) -> Iterator[Metric]:
    for name, text, field in (
        ("queue_jobs_pending", "Jobs that wait for a worker, held ones included.", "pending"),
        ("queue_jobs_processing", "Jobs that run.", "running"),
        ("queue_jobs_scheduled", "Jobs that are due later and never ran.", "scheduled"),
        ("queue_jobs_retrying", "Jobs that are due later after a failed run.", "retrying"),
        ("queue_jobs_dead_letter", "Dead jobs that are kept.", "dead"),
        ("queue_oldest_pending_seconds", "How long the oldest job waits.", "oldest_pending_s"),
    ):
        family = GaugeMetricFamily(name, text, labels=_QUEUE)
        for row in rows:
            value = getattr(row, field)
            if value is not None or field == "oldest_pending_s":
                family.add_metric([row.name], float(value or 0))
        yield family
    paused = GaugeMetricFamily("queue_paused", "1 where a queue is paused.", labels=_QUEUE)
    for row in rows:
        paused.add_metric([row.name], float(row.paused is not None))
    yield paused
    alive = sum(worker.state != "lost" for worker in workers)
    yield GaugeMetricFamily("queue_workers_active", "Workers that are alive.", value=alive)
    lost = len(workers) - alive
    yield GaugeMetricFamily("queue_workers_lost", "Workers lost within a day.", value=lost)


def _counters(lifetimes: Mapping[str, Lifetime]) -> Iterator[Metric]:
    for name, text, total, counter in (
        ("queue_jobs_enqueued", "Jobs that were enqueued.", "enqueued", "in"),
        ("queue_jobs_completed", "Jobs that completed.", "completed", "ok"),
        ("queue_job_retries", "Runs after which a job was to run again.", "retried", "retried"),
        ("queue_jobs_died", "Jobs that became dead.", "dead", "dead"),
    ):
        family = CounterMetricFamily(name, text, labels=_TASK)
        for queue, life in lifetimes.items():
            known = {
                task: counts[counter] for task, counts in life.tasks.items() if counts[counter]
            }
            for task, value in _with_rest(known, life.totals.get(total, 0)):
                family.add_metric([queue, task], value)
        yield family
    failed = CounterMetricFamily(
        "queue_jobs_failed", "Failed runs, by exception class.", labels=(*_TASK, "error")
    )
    for queue, life in lifetimes.items():
        for (task, error), value in life.errors.items():
            failed.add_metric([queue, task, error], value)
        rest = life.totals.get("failed", 0) + life.totals.get("crashed", 0)
        rest -= sum(life.errors.values())
        if rest > 0 or not life.errors:
            failed.add_metric([queue, "", ""], max(rest, 0))
    yield failed
    crashed = CounterMetricFamily("queue_jobs_crashed", "Runs lost with a worker.", labels=_QUEUE)
    for queue, life in lifetimes.items():
        crashed.add_metric([queue], life.totals.get("crashed", 0))
    yield crashed


def _with_rest(known: Mapping[str, int], total: int) -> Iterator[tuple[str, int]]:
    """Yield the counts by task, and under no task what the total has besides."""
    yield from sorted(known.items())
    rest = total - sum(known.values())
    if rest > 0 or not known:
        yield "", max(rest, 0)


def _times(lifetimes: Mapping[str, Lifetime]) -> Iterator[Metric]:
    for name, text, kind in (
        ("queue_job_duration_seconds", "How long runs took.", "run"),
        ("queue_job_wait_seconds", "How long jobs waited from being due to their start.", "wait"),
    ):
        family = HistogramMetricFamily(name, text, labels=_TASK)
        for queue, life in lifetimes.items():
            for (of, task), buckets in sorted(life.times.items()):
                if of == kind:
                    _add(family, [queue, task], buckets)
        yield family


def _add(family: HistogramMetricFamily, labels: list[str], buckets: Mapping[int, int]) -> None:
    shown = [
        (f"{bound_s(top):.4g}", float(sum(many for b, many in buckets.items() if b <= top)))
        for top in _SHOWN
    ]
    middle = {b: (1.25 ** (b + 0.5) - 1) / 10_000 for b in buckets}
    family.add_metric(
        labels,
        [*shown, ("+Inf", float(sum(buckets.values())))],
        sum(middle[b] * many for b, many in buckets.items()),
    )


def _cron(lifetimes: Mapping[str, Lifetime], schedules: list[ScheduleRow]) -> Iterator[Metric]:
    executions = CounterMetricFamily(
        "cron_executions", "Slots of schedules, by what became of them.", labels=("queue", "status")
    )
    for queue, life in lifetimes.items():
        for status, value in sorted(life.cron.items()):
            executions.add_metric([queue, status], value)
    yield executions
    family = HistogramMetricFamily(
        "cron_task_duration_seconds", "How long runs of scheduled tasks took.", labels=_TASK
    )
    for queue, task in sorted({(each.queue, each.task) for each in schedules}):
        buckets = lifetimes.get(queue, Lifetime()).times.get(("run", task), Counter())
        if buckets:
            _add(family, [queue, task], buckets)
    yield family
