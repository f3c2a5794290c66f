"""The operator's door as a protocol: what a console or a command line may see and do, in plain
frozen values.

It imports neither redis nor the engine, so that other queues can stand behind it. A number, an age
or a time that an implementation cannot know is None and is shown as `?`, never as 0. A part that
failed is a `Failure` in its place. References are opaque: only the implementation that gave one out
can read more from it than its label. What may be done to a target is said by `Admin.actions`, and
checked again where the write happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

__all__ = [
    "ACTIONS",
    "FINISHED",
    "LATER",
    "STATES",
    "Action",
    "Admin",
    "Attempt",
    "Denied",
    "Draft",
    "ErrorDetail",
    "ErrorGroup",
    "ErrorGroups",
    "Failure",
    "JobDetail",
    "JobRef",
    "JobRow",
    "LogChunk",
    "LogLine",
    "Operation",
    "Outcome",
    "Page",
    "Pause",
    "Permission",
    "QueueRow",
    "Selection",
    "ServerInfo",
    "Skipped",
    "Snapshot",
    "StateName",
    "Target",
    "TaskRow",
    "Verdict",
    "VerdictWord",
    "Window",
    "WorkerRow",
    "WorkerState",
]

StateName = Literal["scheduled", "pending", "running", "retrying", "completed", "dead", "cancelled"]
STATES: tuple[StateName, ...] = (
    "pending",
    "running",
    "scheduled",
    "retrying",
    "completed",
    "cancelled",
    "dead",
)
LATER: tuple[StateName, ...] = ("scheduled", "retrying")
FINISHED: tuple[StateName, ...] = ("completed", "cancelled", "dead")

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
    "quiet",
    "unquiet",
    "stop",
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
    "quiet",
    "unquiet",
    "stop",
)


class Denied(Exception):
    """A verb was refused: the message says which, on what, and why (read-only, unknown here, wrong
    state).
    """


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands in the place of a part that could not be read; `reason` is one line for the operator."""

    reason: str


@dataclass(frozen=True, slots=True)
class JobRef:
    """One job, as a token to hand back; shown by the last 8 characters of `id`."""

    id: str
    queue: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused something, and since when (aware UTC)."""

    by: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Window:
    """A slice of a list: `limit` rows from `offset`, in the list's own order or reversed."""

    offset: int = 0
    limit: int = 100
    reverse: bool = False


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
    """One task within one queue; times in seconds, `failure_share` 0 to 1 over the last 60 minutes."""

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
class JobRow:
    """One job in a list. Times are aware UTC; `args` is the payload as JSON text, cut to 200
    characters for display.

    `held` is true for a pending job whose task is paused. `usual_p95_s` is the task's usual run
    time, for running jobs.
    """

    ref: JobRef
    task: str
    state: StateName
    priority: int | None = None
    attempt: int | None = None
    max_attempts: int | None = None
    created_at: datetime | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: float | None = None
    message: str = ""
    worker: str = ""
    args: str = ""
    error: str = ""
    held: bool = False
    cancel_requested: bool = False
    usual_p95_s: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A window of job rows. `total` counts the whole list (with a query: the matches found so far).

    With a query, `scanned` of `size` records were looked at; `complete` is false while more could
    match.
    """

    rows: tuple[JobRow, ...]
    offset: int = 0
    total: int | None = None
    scanned: int | None = None
    size: int | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """The last error of a job."""

    type: str
    message: str
    traceback: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a job; `outcome` is the word the engine settled it with."""

    number: int
    started_at: datetime | None
    ended_at: datetime | None
    worker: str
    outcome: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class JobDetail:
    """Everything about one job. `payload`, `metadata` and `result` are JSON text, byte-exact as
    stored.
    """

    row: JobRow
    payload: str = ""
    metadata: str = ""
    result: str | None = None
    error: ErrorDetail | None = None
    attempts: tuple[Attempt, ...] = ()
    log_lines: int | None = None
    reason: str = ""
    crashes: int | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's log. `cursor` orders lines; `level` is a lower-case logging word, or
    `out` and `err`.
    """

    cursor: str
    at: datetime
    level: str
    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Lines after a cursor. Hand `cursor` back to continue; `ended` says that no more will come;
    `total` is stored.
    """

    lines: tuple[LogLine, ...]
    cursor: str
    ended: bool = False
    total: int | None = None


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Dead jobs of one queue that failed alike. `count` are dead now, `new_per_hour` died in the
    last hour.
    """

    queue: str
    fingerprint: str
    task: str
    type: str
    message: str
    count: int | None
    new_per_hour: int | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None
    sample: JobRef | None = None


@dataclass(frozen=True, slots=True)
class ErrorGroups:
    """Groups, largest first. They may arrive progressively: `complete` is false while more are
    being found.
    """

    groups: tuple[ErrorGroup, ...]
    total_dead: int | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker process. `holds` are the jobs that it runs, or ran when it was last heard of.

    `local` is true for a worker of this very process or host and user; `beat_age_s` is seconds
    since its last beat.
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
class Draft:
    """A bulk operation whose ids are frozen on the server and which nothing has started yet."""

    id: str
    verb: Action
    total: int
    samples: tuple[JobRow, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """A bulk operation on record. `done` counts ids handled: `ok` moved, `skipped` had changed
    meanwhile.
    """

    id: str
    verb: Action
    state: Literal["draft", "running", "done", "aborted"]
    total: int
    done: int
    ok: int
    skipped: int
    actor: str = ""
    queue: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A job that a verb left alone, and why."""

    ref: JobRef
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write did: one line for the operator, how many it changed, and what it left alone."""

    text: str
    changed: int = 0
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether an action may be used on a target now. `reason` says why not, or what to know before
    doing it.
    """

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server, for the header line. `address` has its password masked; `warnings` are sentences."""

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


class Admin(Protocol):
    """What an operator can look at and change. Every method may raise `Denied`, or `OSError` when
    the server is away.
    """

    @property
    def label(self) -> str:
        """The server and prefix in a few characters, without secrets: `valkey 9.1 127.0.0.1:6379/0
        shop`.
        """
        ...

    @property
    def actor(self) -> str:
        """Who acts through this door, as it stands in records: `user@host`, or what was given."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether every write is denied."""
        ...

    async def snapshot(self) -> Snapshot:
        """Return all queues, the server's line and the verdict."""
        ...

    async def jobs(
        self, queue: str | None, state: StateName, window: Window, query: str = ""
    ) -> Page:
        """Return a window of the jobs of one state, in the order that the server keeps (see
        `Window.reverse`).
        """
        ...

    async def running(self, window: Window) -> Page:
        """Return running jobs of all queues, the longest running first."""
        ...

    async def tasks(self, queue: str) -> tuple[TaskRow, ...]:
        """Return the tasks of one queue, worst first."""
        ...

    async def errors(self, queue: str | None = None) -> ErrorGroups:
        """Return the groups of dead jobs, largest first."""
        ...

    async def group(self, group: ErrorGroup, window: Window) -> Page:
        """Return the dead jobs of one group, newest first."""
        ...

    async def job(self, ref: JobRef) -> JobDetail | None:
        """Return one job; None when there is no record of it."""
        ...

    async def find(self, job_id: str) -> JobRef | None:
        """Return the reference of a job given its id, in whatever queue and state it is; None when
        unknown.
        """
        ...

    async def log(
        self, ref: JobRef, after: str = "", follow: bool = False, limit: int = 1000
    ) -> LogChunk:
        """Return up to `limit` lines after a cursor; with `follow` wait up to 1 s for the first
        one.

        An empty cursor starts at the oldest line kept.
        """
        ...

    async def workers(self) -> tuple[WorkerRow, ...]:
        """Return the workers that are alive or were within the last 24 h."""
        ...

    async def operations(self) -> tuple[Operation, ...]:
        """Return the bulk operations on record, newest first."""
        ...

    def actions(self, target: Target) -> Mapping[Action, Permission]:
        """Return the actions that make sense on a target, each allowed or denied with its reason."""
        ...

    async def pause(self, queue: str, task: str | None = None) -> Outcome:
        """Stop giving out jobs of a queue, or of one task in it; running jobs go on."""
        ...

    async def resume(self, queue: str, task: str | None = None) -> Outcome:
        """Take a pause back."""
        ...

    async def cancel(self, refs: Sequence[JobRef]) -> Outcome:
        """Cancel unfinished jobs; a running one is asked to stop."""
        ...

    async def run_now(self, refs: Sequence[JobRef]) -> Outcome:
        """Make scheduled or retrying jobs pending at once."""
        ...

    async def retry(self, what: Sequence[JobRef] | Selection) -> Draft:
        """Freeze dead or cancelled jobs for another round of runs; nothing moves before `start`."""
        ...

    async def delete(self, what: Sequence[JobRef] | Selection) -> Draft:
        """Freeze jobs that are not running for deletion with their records; nothing moves before
        `start`.
        """
        ...

    async def start(self, draft: Draft) -> Operation:
        """Start a draft. It is advanced by workers and by `advance`, and outlives whoever started
        it.
        """
        ...

    async def advance(self, operation_id: str, queue: str) -> Operation:
        """Do one bounded step of a started operation and return how far it is."""
        ...

    async def discard(self, draft: Draft) -> None:
        """Forget a draft that nothing has started."""
        ...

    async def quiet(self, worker: str) -> Outcome:
        """Ask a worker to claim nothing more."""
        ...

    async def unquiet(self, worker: str) -> Outcome:
        """Ask a quiet worker to claim again."""
        ...

    async def stop(self, worker: str) -> Outcome:
        """Ask a worker to finish within its grace and exit."""
        ...

    async def close(self) -> None:
        """Close what this door opened."""
        ...
