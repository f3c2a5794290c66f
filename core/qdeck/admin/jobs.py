"""The values of the operator's door that concern jobs: rows, pages, details, logs and errors."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from qdeck.admin.frozen import dataclass

__all__ = [
    "FINISHED",
    "LATER",
    "STATES",
    "Attempt",
    "ErrorDetail",
    "ErrorGroup",
    "ErrorGroups",
    "JobDetail",
    "JobRef",
    "JobRow",
    "LogChunk",
    "LogLine",
    "LogTrail",
    "Page",
    "Skipped",
    "StateName",
    "Window",
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


@dataclass(frozen=True, slots=True)
class JobRef:
    """One job, as a token to hand back; shown by the last 8 characters of `id`."""

    id: str
    queue: str


@dataclass(frozen=True, slots=True)
class Window:
    """A slice of a list: `limit` rows from `offset`, in the list's own order or reversed."""

    offset: int = 0
    limit: int = 100
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job in a list. Times are aware UTC; `args` is the payload as JSON text, cut to 200
    characters for display.

    `held` is true for a pending job whose task is paused. `progress` is 0 to 100. `usual_p95_s` is
    the task's usual run time, for running jobs.
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
    stored; `was` is the payload before its last edit, None where nobody edited it;
    `lease_ends_at` is for a running job.
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
    was: str | None = None
    edited_by: str = ""
    edited_at: datetime | None = None
    lease_ends_at: datetime | None = None


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
    `total` is stored, `trimmed` came before that and had to give way, None where nobody counts it.
    """

    lines: tuple[LogLine, ...]
    cursor: str
    ended: bool = False
    total: int | None = None
    trimmed: int | None = None


class LogTrail:
    """How far one log has been read from its oldest line on, to know what was trimmed unread."""

    def __init__(self) -> None:
        self._read = 0

    def missed(self, chunk: LogChunk) -> int:
        """Take in the next chunk; return how many lines before it were trimmed unread."""
        if not chunk.lines:
            return 0
        gone = 0
        if chunk.trimmed is not None:
            if chunk.trimmed + (chunk.total or 0) < self._read:
                # The log was deleted and began again.
                self._read = 0
            gone = max(0, chunk.trimmed - self._read)
        self._read += gone + len(chunk.lines)
        return gone


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
    being found. Dead jobs are kept for `kept_s` seconds.
    """

    groups: tuple[ErrorGroup, ...]
    total_dead: int | None = None
    complete: bool = True
    kept_s: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A job that a verb left alone, and why."""

    ref: JobRef
    reason: str
