"""How the command line prints: tables for people, JSON for programs.

Owns the pinned shapes of JSON; reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from qdeck.admin import QueueRow, ScheduleRow, WorkerRow
from qdeck.job import Job

__all__ = ["ago", "job_object", "print_json", "print_line", "print_table", "queue_object"]
__all__ += ["number", "schedule_object", "seconds", "worker_object"]


def print_json(value: Any) -> None:
    """Print a value as indented JSON; times as RFC 3339."""
    raw = msgspec.json.encode(value, enc_hook=str)
    click.echo(msgspec.json.format(raw, indent=2).decode())


def print_line(value: Any) -> None:
    """Print a value as JSON on one line."""
    click.echo(msgspec.json.encode(value, enc_hook=str).decode())


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()
) -> None:
    """Print rows under a head, columns aligned; those of `right` to the right."""
    lines = [tuple(head), *(tuple(" ".join(cell.split()) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    to_right = set(right)
    for line in lines:
        cells = [
            cell.rjust(width) if column in to_right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def number(value: int | None) -> str:
    """Return a count; `?` when it is not known."""
    return "?" if value is None else str(value)


def seconds(value: float | None) -> str:
    """Return a length of time in its largest unit; `-` when there is none."""
    if value is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value * 1000:.0f} ms" if 0 < value < 0.1 else f"{value:.1f} s"


def ago(at: datetime | None) -> str:
    """Return how long ago (or in how long) a time is; `-` for none."""
    if at is None:
        return "-"
    passed = (datetime.now(UTC) - at).total_seconds()
    return f"in {seconds(-passed)}" if passed < 0 else f"{seconds(passed)} ago"


def job_object(job: Job[Any]) -> dict[str, Any]:
    """Return the fields of a job."""
    fields: dict[str, Any] = msgspec.to_builtins(job, builtin_types=(datetime,), enc_hook=str)
    return fields


def queue_object(row: QueueRow) -> dict[str, Any]:
    """Return a queue as other programs read it."""
    return {
        "queue": row.name,
        "pending": row.pending,
        "running": row.running,
        "scheduled": row.scheduled,
        "retrying": row.retrying,
        "completed": row.completed,
        "dead": row.dead,
        "cancelled": row.cancelled,
        "paused": row.paused is not None,
        "oldest_pending_s": row.oldest_pending_s,
    }


def worker_object(row: WorkerRow) -> dict[str, Any]:
    """Return a worker as other programs read it."""
    return {
        "id": row.id,
        "host": row.host,
        "pid": row.pid,
        "state": row.state,
        "queues": list(row.queues),
        "concurrency": row.concurrency,
        "running": row.running,
        "started_at": row.started_at,
        "beat_age_s": row.beat_age_s,
        "cpu_share": row.cpu_share,
        "local": row.local,
    }


def schedule_object(row: ScheduleRow) -> dict[str, Any]:
    """Return a schedule as other programs read it."""
    return {
        "name": row.name,
        "expression": row.expression,
        "zone": row.zone,
        "task": row.task,
        "queue": row.queue,
        "payload": dict(row.payload),
        "options": dict(row.options),
        "misfire": row.misfire,
        "overlap": row.overlap,
        "jitter": row.jitter,
        "catch_up": row.catch_up,
        "enabled": row.enabled,
        "disabled_until": row.disabled_until,
        "revision": row.revision,
        "next_slot": row.next_slot,
        "last_slot": row.last_slot,
        "last_job": row.last_job.id if row.last_job else None,
        "last_outcome": row.last_outcome,
        "late_s": row.late_s,
        "declared": row.declared,
        "drifted": row.drifted,
        "edited_by": row.edited_by,
        "edited_at": row.edited_at,
        "fault": row.fault,
        "history": [
            {
                "slot": past.slot,
                "job": past.job.id if past.job else None,
                "outcome": past.outcome,
                "late_s": past.late_s,
                "count": past.count,
            }
            for past in row.history
        ],
    }


def totals_object(counts: Mapping[str, int], row: QueueRow) -> dict[str, int]:
    """Return the totals of a queue, given its lifetime counts and its row."""
    return {
        "total_enqueued": counts.get("enqueued", 0),
        "total_processed": counts.get("completed", 0) + counts.get("dead", 0),
        "total_failed": counts.get("failed", 0),
        "total_retried": counts.get("retried", 0),
        "pending": row.pending or 0,
        "running": row.running or 0,
        "scheduled": row.scheduled or 0,
        "retrying": row.retrying or 0,
        "dead_letter": row.dead or 0,
    }
