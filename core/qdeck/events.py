"""What happened, newest first, derived from what is stored anyway: the audit, the workers, the
counters of the minutes, the operations and the schedules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from qdeck.admin import AuditRow, Event, EventKind, Operation, ScheduleRow, WorkerRow
from qdeck.overview import Facts
from qdeck.phrase import jobs, span
from qdeck.stats import NOTHING

__all__ = ["of_acts", "of_dead", "of_operations", "of_schedules", "of_workers"]

#: Dead jobs of one minute from which they are an event, and minutes that are looked at.
_BURST: Final = 3
_MINUTES: Final = 60
#: Seconds from which a slot that was handled late is an event.
_LATE_S: Final = 60.0


def of_workers(workers: Sequence[WorkerRow], now: datetime) -> Iterable[Event]:
    """Yield when workers came, and when they were lost."""
    for worker in workers:
        name = f"{worker.host or '?'}:{worker.pid or worker.id}"
        if worker.started_at is not None:
            served = ", ".join(worker.queues)
            yield Event(worker.started_at, "worker", f"worker {name} came and serves {served}")
        if worker.state == "lost" and worker.beat_age_s is not None:
            at = now - timedelta(seconds=worker.beat_age_s)
            held = f" and held {jobs(len(worker.holds))}" if worker.holds else ""
            yield Event(at, "lost", f"worker {name} was heard for the last time{held}")


def of_dead(facts: Iterable[Facts], now: datetime) -> Iterable[Event]:
    """Yield bursts of dead jobs: minutes in a row in which several died."""
    last = int(now.timestamp() // 60)
    for one in facts:
        begun, total = None, 0
        for minute in range(last - _MINUTES, last + 2):
            died = one.minutes.get(minute, NOTHING).get("dead")
            if died >= _BURST:
                begun, total = begun or minute, total + died
            elif begun is not None:
                length = span((minute - begun) * 60)
                text = f"{jobs(total)} of {one.keys.queue} died within {length}"
                at = datetime.fromtimestamp(begun * 60, UTC)
                yield Event(at, "dead", text, one.keys.queue)
                begun, total = None, 0


def of_operations(operations: Sequence[Operation]) -> Iterable[Event]:
    """Yield what became of bulk operations."""
    for each in operations:
        if each.state == "draft" or each.created_at is None:
            continue
        word = {"running": "runs", "done": "has ended", "aborted": "was aborted"}.get(
            each.state, each.state
        )
        text = f"{each.verb} of {jobs(each.total)} {word}: {each.ok:,} ok, {each.skipped:,} skipped"
        yield Event(each.created_at, "operation", text, each.queue, each.actor)


def of_acts(rows: Sequence[AuditRow]) -> Iterable[Event]:
    """Yield what operators did."""
    for row in rows:
        number = f" ({row.count:,})" if row.count is not None and row.count > 1 else ""
        kind: EventKind = "pause" if row.verb.startswith(("pause", "resume")) else "write"
        text = f"{row.verb} {row.target}{number}".rstrip()
        yield Event(row.at, kind, text, row.queue, row.actor)


def of_schedules(rows: Sequence[ScheduleRow]) -> Iterable[Event]:
    """Yield slots that were missed, or handled late."""
    for row in rows:
        for slot in row.history:
            if slot.outcome == "missed":
                more = f" and {slot.count - 1} before it" if slot.count > 1 else ""
                text = f"schedule {row.name} missed its slot{more}"
            elif slot.late_s is not None and slot.late_s >= _LATE_S:
                text = f"schedule {row.name} fired {span(slot.late_s)} late"
            else:
                continue
            yield Event(slot.slot, "schedule", text, row.queue)
