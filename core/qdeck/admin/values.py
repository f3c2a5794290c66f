"""The values of the operator's door: queues, tasks, workers and operations, frozen and plain."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Literal

from qdeck.admin.frozen import dataclass
from qdeck.admin.jobs import ErrorGroup, JobRef, JobRow, Skipped, StateName

__all__ = [
    "ACTIONS",
    "Action",
    "Denied",
    "Failure",
    "Outcome",
    "Pause",
    "Permission",
    "QueueRow",
    "Selection",
    "ServerInfo",
    "Snapshot",
    "Target",
    "TaskRow",
    "Verdict",
    "VerdictWord",
    "WorkerRow",
    "WorkerState",
]

WorkerState = Literal["running", "quiet", "stopping", "stuck", "lost"]
VerdictWord = Literal["OK", "WATCH", "DEGRADED", "DOWN", "?"]

Action = Literal[
    "pause",
    "resume",
    "pause_task",
    "resume_task",
    "cancel",
    "run_now",
    "retry",
    "delete",
    "discard",
    "move_in_time",
    "move_queue",
    "priority",
    "patch",
    "quiet",
    "unquiet",
    "stop",
    "recover",
]
ACTIONS: tuple[Action, ...] = (
    "pause",
    "resume",
    "pause_task",
    "resume_task",
    "cancel",
    "run_now",
    "retry",
    "delete",
    "discard",
    "move_in_time",
    "move_queue",
    "priority",
    "patch",
    "quiet",
    "unquiet",
    "stop",
    "recover",
)


class Denied(Exception):
    """A verb was refused: the message says which, on what, and why (read-only, unknown here, wrong
    state).
    """


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands in for a part that could not be read; `reason` is one line for the operator."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused something, and since when (aware UTC)."""

    by: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue. Rates are jobs a minute over the last 5 minutes; `finished` holds 30 minutes,
    oldest first.

    `pending` includes what is held back by a paused task (`held`). `drain_s` is the forecast in
    seconds until pending is empty: 0 when it is, infinite when it does not shrink, None when it
    cannot be told yet.
    """

    name: str
    pending: int | None = None
    held: int | None = None
    running: int | None = None
    scheduled: int | None = None
    retrying: int | None = None
    completed: int | None = None
    dead: int | None = None
    cancelled: int | None = None
    oldest_pending_s: float | None = None
    paused: Pause | None = None
    limit: int | None = None
    rate: float | None = None
    in_per_minute: float | None = None
    out_per_minute: float | None = None
    failed_per_minute: float | None = None
    finished: tuple[int, ...] = ()
    drain_s: float | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task within one queue; times in seconds, `failure_share` 0 to 1 over the last hour."""

    queue: str
    task: str
    pending: int | None = None
    running: int | None = None
    later: int | None = None
    dead: int | None = None
    failure_share: float | None = None
    wait_p50: float | None = None
    wait_p95: float | None = None
    run_p50: float | None = None
    run_p95: float | None = None
    paused: Pause | None = None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker process. `holds` are the jobs that it runs, or ran when it was last heard of.

    `local` is true for a worker of this very process or host and user; `beat_age_s` is seconds
    since its last beat; `cpu_share` is what its process and children took over its last beats, 1.0
    for one processor all the time.
    """

    id: str
    host: str = ""
    pid: int | None = None
    state: WorkerState = "running"
    queues: tuple[str, ...] = ()
    concurrency: int | None = None
    running: int | None = None
    started_at: datetime | None = None
    beat_age_s: float | None = None
    memory_bytes: int | None = None
    done: int | None = None
    local: bool = False
    holds: tuple[JobRef, ...] = ()
    cpu_share: float | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """A set of jobs by description: a state, in one queue or all, within an error group or matching
    a query.
    """

    state: StateName
    queue: str | None = None
    fingerprint: str | None = None
    query: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write did: one line for the operator, how many it changed, and what it left alone.

    `entry` is the id of its audit entry, for `undo` until `undo_until` (None: not at all); `refs`
    are the jobs that it made.
    """

    text: str
    changed: int = 0
    skipped: tuple[Skipped, ...] = ()
    entry: str = ""
    refs: tuple[JobRef, ...] = ()
    undo_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether an action may be used on a target now. `reason` says why not, or what to know before
    doing it.
    """

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server, for the header line; `address` is masked, `warnings` are sentences."""

    product: str = ""
    version: str = ""
    address: str = ""
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    eviction: str = ""
    persistence: str = ""
    clients: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of everything in one word, with one sentence a cause, worst first."""

    word: VerdictWord
    causes: tuple[str, ...] = ()
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All queues and the server at one moment of the server's clock; `rtt_s` is what reading it
    took a round trip.
    """

    at: datetime
    rtt_s: float
    queues: tuple[QueueRow, ...] | Failure = ()
    server: ServerInfo | Failure = field(default_factory=ServerInfo)
    verdict: Verdict | Failure = field(default_factory=lambda: Verdict("?"))
    processed_today: int | None = None
    failed_today: int | None = None


Target = QueueRow | TaskRow | JobRow | ErrorGroup | WorkerRow
