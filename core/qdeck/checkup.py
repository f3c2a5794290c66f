"""What monitoring is told: findings against thresholds, and one status for all.

Pure: judges what was read. The codes are those of Nagios: 0 ok, 1 warning, 2 critical, 3 unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from qdeck.admin import Failure, QueueRow, ServerInfo, Snapshot, TaskRow, WorkerRow
from qdeck.phrase import jobs, since_when, some, span

__all__ = ["CODES", "DEFAULTS", "Finding", "Late", "Status", "examine", "worst"]

Status = Literal["ok", "warning", "critical", "unknown"]
CODES: Final[Mapping[Status, int]] = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
#: Thresholds where neither flags nor `[check]` say others; None is no threshold.
DEFAULTS: Final[Mapping[str, Any]] = {
    "warn_age": 60.0,
    "age": 300.0,
    "warn_dead": 0,
    "dead": 1000,
    "warn_lost": 0,
    "lost": 0,
    "warn_late": 60.0,
    "late": 300.0,
    "warn_pending": None,
    "pending": None,
    "warn_failing": 0.2,
    "failing": 0.5,
    "paused": "warning",
}
#: Seconds for which a lost worker that held nothing is told.
_RECENT: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `value` as measured, `text` a sentence."""

    status: Status
    check: str
    text: str
    queue: str = ""
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Late:
    """A schedule whose slot has been due for so long."""

    name: str
    seconds: float


def examine(
    snapshot: Snapshot,
    workers: Sequence[WorkerRow],
    tasks: Sequence[TaskRow],
    late: Sequence[Late],
    terms: Mapping[str, Any],
) -> list[Finding]:
    """Return what there is to tell, worst first; `terms` are all of `DEFAULTS`."""
    if isinstance(snapshot.queues, Failure):
        return [Finding("unknown", "queues", snapshot.queues.reason)]
    found = [*_of_server(snapshot.server), *_of_workers(workers, terms)]
    for row in snapshot.queues:
        found += _of_queue(row, workers, terms)
    dead = sum(row.dead or 0 for row in snapshot.queues)
    found += _over("dead", dead, f"{jobs(dead)} dead", terms, exact=True)
    for task in tasks:
        share = task.failure_share
        if share is not None:
            text = f"{share:.0%} of {task.task} in {task.queue} fail"
            found += _over("failing", share, text, terms, task.queue)
    for each in late:
        text = f"schedule {each.name} is {span(each.seconds)} late"
        found += _over("late", each.seconds, text, terms)
    return sorted(found, key=lambda finding: -CODES[finding.status] % 4)


def worst(findings: Iterable[Finding]) -> Status:
    """Return one status for all: critical beats unknown, which beats warning."""
    order: tuple[Status, ...] = ("critical", "unknown", "warning")
    met = {finding.status for finding in findings}
    return next((status for status in order if status in met), "ok")


def _over(
    name: str,
    value: float,
    text: str,
    terms: Mapping[str, Any],
    queue: str = "",
    exact: bool = False,
) -> Iterable[Finding]:
    for status, limit in (("critical", terms[name]), ("warning", terms[f"warn_{name}"])):
        if limit is not None and value > limit:
            told = f"{limit:g}" if exact or name in ("pending", "lost") else _limit(name, limit)
            level: Status = "critical" if status == "critical" else "warning"
            yield Finding(level, name, f"{text} (limit {told})", queue, value)
            return


def _limit(name: str, limit: float) -> str:
    return f"{limit:.0%}" if name == "failing" else span(limit)


def _of_queue(
    row: QueueRow, workers: Sequence[WorkerRow], terms: Mapping[str, Any]
) -> Iterable[Finding]:
    pending, waiting = row.pending or 0, (row.pending or 0) - (row.held or 0)
    yield from _over(
        "pending", pending, f"{jobs(pending)} pending in {row.name}", terms, row.name, True
    )
    if row.paused is not None:
        if terms["paused"] != "ok":
            text = f"{row.name} is paused by {row.paused.by}{since_when(row.paused.since)}"
            yield Finding(terms["paused"], "paused", text, row.name)
        return
    if row.oldest_pending_s is not None:
        text = f"the oldest job of {row.name} waits {span(row.oldest_pending_s)}"
        yield from _over("age", row.oldest_pending_s, text, terms, row.name)
    claiming = any(w.state == "running" and row.name in w.queues for w in workers)
    if waiting > 0 and not claiming:
        text = f"no worker serves {row.name}; {jobs(waiting)} pending"
        yield Finding("critical", "unserved", text, row.name, waiting)


def _of_workers(workers: Sequence[WorkerRow], terms: Mapping[str, Any]) -> Iterable[Finding]:
    lost = [
        worker
        for worker in workers
        if worker.state == "lost" and (worker.holds or (worker.beat_age_s or 0.0) < _RECENT)
    ]
    if lost:
        names = some([f"{worker.host or '?'}:{worker.pid or worker.id}" for worker in lost])
        held = sum(len(worker.holds) for worker in lost)
        said = "1 worker" if len(lost) == 1 else f"{len(lost)} workers"
        text = f"{said} lost ({names}), held {jobs(held)}"
        yield from _over("lost", len(lost), text, terms)
    for worker in workers:
        if worker.state == "stuck":
            name = f"{worker.host or '?'}:{worker.pid or worker.id}"
            yield Finding("warning", "stuck", f"worker {name} is stuck: its event loop is blocked")


def _of_server(server: ServerInfo | Failure) -> Iterable[Finding]:
    if isinstance(server, Failure):
        yield Finding("unknown", "server", server.reason)
        return
    for warning in server.warnings:
        bad = "failed" in warning or "lost" in warning or "deletes" in warning
        yield Finding("critical" if bad else "warning", "server", f"the server: {warning}")
