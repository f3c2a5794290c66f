"""The columns of every list, and the words that they put in their cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

from qdeck.admin import ErrorGroup, JobRow, QueueRow, TaskRow
from qdeck_tui.desk import Console
from qdeck_tui.format import (
    age,
    count,
    day_or_clock,
    drain,
    duration,
    moment,
    percent,
    rate,
    short_id,
    spark,
)
from qdeck_tui.widgets.table import Cell, Column

__all__ = [
    "group_columns",
    "group_match",
    "job_columns",
    "job_match",
    "overdue",
    "progress_bar",
    "queue_columns",
    "queue_match",
    "queue_worst",
    "seconds_since",
    "task_columns",
]

# Seconds from which a job is said to wait long.
OLD = 300
# Seconds for which a group of failures is called new.
NEW_S = 3600
STATE_STYLES = {"dead": "bad", "retrying": "warn", "cancelled": "warn", "completed": "good"}


def seconds_since(at: datetime | None, now: datetime) -> float | None:
    """Return the seconds from a time to now, None when it is unknown."""
    return None if at is None else max(0.0, (now - at).total_seconds())


def _number(value: float | None) -> float:
    return -1.0 if value is None else value


# Queues


def queue_worst(queue: QueueRow) -> float:
    """Return how badly off a queue is, for the default order: what never drains, what waits long,
    what fails, then how much there is. What waits because somebody paused it is no trouble.
    """
    waiting, oldest = queue.pending or 0, queue.oldest_pending_s or 0.0
    points = min(queue.failed_per_minute or 0.0, 1e4) * 60
    if waiting and queue.paused is None:
        never = queue.drain_s is not None and math.isinf(queue.drain_s)
        points += (
            _two_digits(min(oldest, 1e7))
            + (1e9 if never else 0.0)
            + (1e8 if oldest >= OLD else 0.0)
        )
    return points + min(waiting, 1e6) / 1e3 + min(queue.dead or 0, 1e6) / 1e4


def _two_digits(seconds: float) -> float:
    """Return an age to two digits, so that queues as old as each other keep their places."""
    step = 10.0 ** max(0, len(str(int(seconds))) - 2)
    return seconds // step * step


def queue_match(queue: QueueRow) -> str:
    """Return the text that a filter looks in."""
    return f"{queue.name} {'paused' if queue.paused else ''}"


def _queue_name(queue: QueueRow) -> Cell:
    return (f"{queue.name} PAUSED", "warn") if queue.paused else queue.name


def _pending(queue: QueueRow) -> Cell:
    return (count(queue.pending), "" if queue.pending else "dim")


def _oldest(queue: QueueRow) -> Cell:
    if queue.pending == 0:
        return ("-", "dim")
    old = queue.oldest_pending_s
    return (age(old), "warn" if old is not None and old >= OLD else "")


def _dead(number: int | None) -> Cell:
    return (count(number), "bad" if number else "dim")


def _rate(value: float | None) -> Cell:
    return (rate(value), "dim" if value == 0 else "")


def _drain(queue: QueueRow) -> Cell:
    if queue.pending == 0:
        return ("-", "dim")
    text = drain(queue.drain_s)
    return (text, "bad" if text == "never" else "")


def _later_count(queue: QueueRow) -> int | None:
    if queue.scheduled is None and queue.retrying is None:
        return None
    return (queue.scheduled or 0) + (queue.retrying or 0)


def queue_columns(full: bool) -> list[Column[QueueRow]]:
    """Return the columns of queues; `full` has the rates in and out, and who paused."""
    first: list[Column[QueueRow]] = [
        Column("QUEUE", 14, _queue_name, flex=True, keep=10, sort=lambda q: q.name, falling=False),
        Column("PEND", 8, _pending, True, keep=9, sort=lambda q: _number(q.pending)),
        Column("AGE", 5, _oldest, True, keep=8, sort=lambda q: _number(q.oldest_pending_s)),
        Column("RUN", 5, lambda q: count(q.running), True, keep=7,
               sort=lambda q: _number(q.running)),
        Column("LATER", 6, lambda q: count(_later_count(q)), True, keep=5,
               sort=lambda q: _number(_later_count(q))),
        Column("DEAD", 6, lambda q: _dead(q.dead), True, keep=9, sort=lambda q: _number(q.dead)),
    ]  # fmt: skip
    last: list[Column[QueueRow]] = [
        Column("OUT/M", 6, lambda q: _rate(q.out_per_minute), True, keep=4,
               sort=lambda q: _number(q.out_per_minute)),
        Column("30 MIN", 10, lambda q: spark(q.finished, 10), keep=2, drawn=True),
        Column("DRAIN", 6, _drain, True, keep=6, sort=lambda q: _number(q.drain_s)),
    ]  # fmt: skip
    if full:
        last[0:0] = [
            Column("IN/M", 6, lambda q: _rate(q.in_per_minute), True, keep=3,
                   sort=lambda q: _number(q.in_per_minute)),
        ]  # fmt: skip
        last.append(Column("DONE", 8, lambda q: count(q.completed), True, keep=1,
                           sort=lambda q: _number(q.completed)))  # fmt: skip
    return first + last


# Tasks


def task_columns() -> list[Column[TaskRow]]:
    """Return the columns of the tasks of a queue."""
    return [
        Column("TASK", 14, lambda t: (f"{t.task} PAUSED", "warn") if t.paused else t.task,
               flex=True, keep=10, sort=lambda t: t.task, falling=False),
        Column("PEND", 7, lambda t: count(t.pending), True, keep=9,
               sort=lambda t: _number(t.pending)),
        Column("RUN", 4, lambda t: count(t.running), True, keep=7,
               sort=lambda t: _number(t.running)),
        Column("LATER", 5, lambda t: count(t.later), True, keep=4, sort=lambda t: _number(t.later)),
        Column("DEAD", 6, lambda t: _dead(t.dead), True, keep=6, sort=lambda t: _number(t.dead)),
        Column("FAIL%", 5,
               lambda t: (percent(t.failure_share), "bad" if (t.failure_share or 0) > 0.5 else ""),
               True, keep=8, sort=lambda t: _number(t.failure_share)),
        Column("WAIT50", 6, lambda t: duration(t.wait_p50), True, keep=2,
               sort=lambda t: _number(t.wait_p50)),
        Column("WAIT95", 6, lambda t: duration(t.wait_p95), True, keep=3,
               sort=lambda t: _number(t.wait_p95)),
        Column("RUN50", 6, lambda t: duration(t.run_p50), True, keep=4,
               sort=lambda t: _number(t.run_p50)),
        Column("RUN95", 6, lambda t: duration(t.run_p95), True, keep=5,
               sort=lambda t: _number(t.run_p95)),
    ]  # fmt: skip


# Jobs


def job_match(job: JobRow) -> str:
    """Return the text that a filter looks in."""
    return f"{job.ref.id} {job.task} {job.ref.queue} {job.worker} {job.args} {job.error}"


def _tries(job: JobRow) -> str:
    return f"{'?' if job.attempt is None else job.attempt}/{job.max_attempts or '?'}"


def overdue(job: JobRow, now: datetime) -> float:
    """Return elapsed over the task's usual p95; without one the elapsed seconds in thousands."""
    elapsed = seconds_since(job.started_at, now) or 0.0
    return elapsed / job.usual_p95_s if job.usual_p95_s else min(0.9, elapsed / 1e6)


def _when(job: JobRow) -> datetime | None:
    if job.state in ("scheduled", "retrying"):
        return job.due_at
    if job.state == "running":
        return job.started_at
    return job.created_at if job.state == "pending" else job.finished_at


def progress_bar(progress: float) -> str:
    """Return 0 to 100 in 15 cells: ` 62% ██████▒▒▒▒`."""
    done = max(0.0, min(100.0, progress))
    full = round(done / 10)
    return f"{done:3.0f}% {'█' * full}{'▒' * (10 - full)}"


def _progress(job: JobRow) -> Cell:
    if job.progress is None:
        return job.message
    return f"{progress_bar(job.progress)} {job.message}"


def job_columns(
    console: Callable[[], Console], state: str, *, queue: bool = True
) -> list[Column[JobRow]]:
    """Return the columns of jobs of one state; `queue` names the queue of each."""

    def since(job: JobRow) -> Cell:
        desk, at = console(), _when(job)
        if job.state in ("scheduled", "retrying"):
            late = at is not None and at < desk.now
            return (moment(at, desk.now, desk.zone), "warn" if late else "")
        if job.state == "running":
            elapsed = seconds_since(at, desk.now)
            slow = job.usual_p95_s is not None and (elapsed or 0) > job.usual_p95_s
            return (f"!{age(elapsed)}", "bad") if slow else age(elapsed)
        return age(seconds_since(at, desk.now))

    def task(job: JobRow) -> Cell:
        if job.held:
            return (f"{job.task} HELD", "warn")
        return (f"{job.task} cancelling", "warn") if job.cancel_requested else job.task

    columns: list[Column[JobRow]] = [
        Column("JOB", 8, lambda j: short_id(j.ref.id), keep=10),
        Column("TASK", 14, task, keep=9, flex=True),
    ]
    if queue:
        columns.append(Column("QUEUE", 10, lambda j: j.ref.queue, keep=5))
    if state == "running":
        usual: Callable[[JobRow], Cell] = lambda j: duration(j.usual_p95_s)  # noqa: E731
        columns += [
            Column("FOR", 5, since, True, keep=9,
                   sort=lambda j: seconds_since(j.started_at, datetime.now(UTC)) or 0.0),
            Column("P95", 6, usual, True, keep=6, sort=lambda j: _number(j.usual_p95_s)),
            Column("PROGRESS", 16, _progress, keep=7, flex=True,
                   sort=lambda j: _number(j.progress)),
            Column("TRY", 4, _tries, True, keep=4),
            Column("WORKER", 10, lambda j: j.worker, keep=3),
        ]  # fmt: skip
        return columns
    titles = {"scheduled": "RUNS", "retrying": "RUNS", "pending": "AGE"}
    size = 17 if state in ("scheduled", "retrying") else 5
    columns.append(Column(titles.get(state, "AGO"), size, since, size == 5, keep=8))
    columns.append(Column("TRY", 4, _tries, True, keep=4))
    if state == "pending":
        columns.append(Column("PRI", 3, lambda j: count(j.priority), True, keep=3))
    if state in ("dead", "retrying"):
        columns.append(Column("ERROR", 14, lambda j: (j.error, "bad"), flex=True, keep=7))
    columns.append(Column("ARGS", 12, lambda j: (j.args, "dim"), flex=True, keep=6))
    return columns


# Error groups


def group_match(group: ErrorGroup) -> str:
    """Return the text that a filter looks in."""
    return f"{group.task} {group.queue} {group.type} {group.message}"


def group_columns(
    console: Callable[[], Console], *, queue: bool = True
) -> list[Column[ErrorGroup]]:
    """Return the columns of groups of dead jobs."""

    def last(group: ErrorGroup) -> Cell:
        return age(seconds_since(group.last_at, console().now))

    def since(group: ErrorGroup) -> Cell:
        return (day_or_clock(group.first_at, console().now, console().zone), "dim")

    def fresh(group: ErrorGroup) -> Cell:
        since = seconds_since(group.first_at, console().now)
        is_new = since is not None and since < NEW_S
        text = f"new {count(group.new_per_hour)}" if is_new else count(group.new_per_hour)
        return (text, "bad" if is_new else "warn" if group.new_per_hour else "dim")

    columns: list[Column[ErrorGroup]] = [
        Column("COUNT", 7, lambda g: (count(g.count), "bad"), True, keep=10,
               sort=lambda g: _number(g.count)),
        Column("NEW/H", 10, fresh, True, keep=6, sort=lambda g: _number(g.new_per_hour)),
        Column("TASK", 13, lambda g: g.task, keep=8, sort=lambda g: g.task, falling=False),
        Column("ERROR", 16, lambda g: f"{g.type}: {g.message}" if g.message else g.type,
               flex=True, keep=9, sort=lambda g: g.type, falling=False),
    ]  # fmt: skip
    if queue:
        columns.append(Column("QUEUE", 10, lambda g: g.queue, keep=5, sort=lambda g: g.queue,
                              falling=False))  # fmt: skip
    columns += [
        Column("LAST", 4, last, True, keep=7, sort=lambda g: _instant(g.last_at)),
        Column("SINCE", 6, since, keep=4, sort=lambda g: _instant(g.first_at)),
    ]
    return columns


def _instant(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0
