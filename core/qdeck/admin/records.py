"""The part of the operator's door that keeps record: the audit, undo, clearing with a copy, and the
edits of single jobs.

An audit entry is one entry of a stream beside the data that was changed, written by the script
that changed it: `actor verb target count outcome`, and where they apply `undo` (how it is taken
back, JSON), `until` (ms) and `of` (the id of the entry that this act took back).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, Protocol

from qdeck.admin.frozen import dataclass
from qdeck.admin.jobs import JobRef, StateName, Window
from qdeck.admin.values import Outcome

__all__ = ["AuditRow", "Cleared", "JobWishes", "RecordsDoor"]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One write on record. `count` is what it changed, `target` says of what, in words.

    `undo_until` is None where it cannot be taken back (any more); `undone_by` names who took it
    back; `of` is the id of the entry that this act took back. `id` is opaque; `queue` is empty for
    what concerns no queue.
    """

    id: str
    at: datetime
    actor: str
    verb: str
    target: str
    count: int | None = None
    outcome: str = ""
    queue: str = ""
    undo_until: datetime | None = None
    undone_by: str = ""
    of: str = ""

    @property
    def undoable(self) -> bool:
        """Whether it may still be taken back, as far as the record tells."""
        return self.undo_until is not None and not self.undone_by


@dataclass(frozen=True, slots=True)
class Cleared:
    """The copy of what a clear took away: `count` jobs that were `state`, kept `until`."""

    id: str
    queue: str
    state: StateName
    count: int
    at: datetime | None
    until: datetime | None
    actor: str = ""


@dataclass(frozen=True, slots=True)
class JobWishes:
    """How a new job is to be enqueued; None says nothing, and the task's own terms hold.

    `delay_s` and `timeout_s` are seconds, `at` is aware, `priority` is 0 to 9.
    """

    queue: str | None = None
    delay_s: float | None = None
    at: datetime | None = None
    priority: int | None = None
    max_retries: int | None = None
    timeout_s: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class RecordsDoor(Protocol):
    """What was done, and the writes that can be taken back. With `dry_run` nothing is written and
    the outcome says what would be.

    An `Outcome.entry` is the id of its audit entry, for `undo`.
    """

    async def audit(
        self, window: Window | None = None, queue: str | None = None
    ) -> tuple[AuditRow, ...]:
        """Return a window of the writes on record, newest first, over all queues and workers."""
        ...

    async def last_undoable(self, actor: str | None = None) -> AuditRow | None:
        """Return the newest write that can be taken back, of one actor (of this door where none is
        named); an undo is not one.
        """
        ...

    async def undo(
        self, entry: str = "", *, others: bool = False, dry_run: bool = False
    ) -> Outcome:
        """Take a write back, the newest own one where none is named.

        Raises Denied once its time is over, once something changed it since, and for the act of
        another actor unless `others` says that this is meant.
        """
        ...

    async def clear(
        self, queue: str, state: StateName = "pending", *, dry_run: bool = False
    ) -> Outcome:
        """Take all jobs of one state out of a queue and keep a copy of them for 24 h; running jobs
        cannot be cleared.
        """
        ...

    async def cleared(self, queue: str | None = None) -> tuple[Cleared, ...]:
        """Return the copies that are kept, newest first."""
        ...

    async def restore(self, copy: str, *, dry_run: bool = False) -> Outcome:
        """Bring back the jobs of a copy in the order they had."""
        ...

    async def edit_payload(self, ref: JobRef, payload: str, *, dry_run: bool = False) -> Outcome:
        """Give a job that is not running another payload (JSON text of an object), checked against
        what its task takes; the old one is kept.
        """
        ...

    async def enqueue_new(
        self, task: str, payload: str, wishes: JobWishes | None = None, *, dry_run: bool = False
    ) -> Outcome:
        """Enqueue a job by the name of its task and a payload (JSON text), checked against what
        the task takes; `Outcome.refs` holds the new job.
        """
        ...

    async def enqueue_again(self, ref: JobRef, *, dry_run: bool = False) -> Outcome:
        """Enqueue a new job with the task, payload and terms of a known one."""
        ...

    async def set_limits(
        self, queue: str, limit: int | None, rate: float | None, *, dry_run: bool = False
    ) -> Outcome:
        """Set how many jobs of a queue run at once and start a second over all workers; None is no
        limit.
        """
        ...

    async def recover(self, what: str | Sequence[JobRef], *, dry_run: bool = False) -> Outcome:
        """Make the jobs of a lost worker (by its id), or named jobs, pending again; one whose lease
        still lives is left alone, with that reason.
        """
        ...

    async def slots(self, worker: str, count: int, *, dry_run: bool = False) -> Outcome:
        """Ask a worker to run up to so many jobs at a time."""
        ...

    async def stack(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a worker where it stands; it writes that to its log and its record."""
        ...

    async def stack_of(self, worker: str) -> tuple[datetime | None, str]:
        """Return when a worker last said where it stood, and what it said (empty: never)."""
        ...
