"""Bulk operations as an operator sees them: drafts, operations on record, and changes to payloads.

A bulk verb freezes its jobs as a `Draft`; `start` makes an `Operation` of it, which any worker or
console carries on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol, overload

from qdeck.admin.frozen import dataclass
from qdeck.admin.jobs import JobRef, JobRow
from qdeck.admin.values import Action, Denied, Outcome, Selection

__all__ = ["BulkDoor", "CanaryState", "Change", "Diff", "Draft", "Operation", "OperationState"]

OperationState = Literal["draft", "running", "done", "stopped", "aborted", "undoing", "undone"]
#: "" where none was asked for; `waiting` until it has run.
CanaryState = Literal["", "waiting", "ok", "failed"]
What = Sequence[JobRef] | Selection

_LINE = re.compile(r"(?P<path>[^\s=>]+)\s*(?P<sign>=|->)\s*(?P<value>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Change:
    """One change to a payload: `set` a path to `value` (JSON text), `unset` it, or `rename` its
    last part to `value`. A path is names joined by dots, as in the query `args.to.name`; a leading
    `args.` may be left out.
    """

    kind: Literal["set", "unset", "rename"]
    path: str
    value: str = ""

    @classmethod
    def parse(cls, line: str) -> Change:
        """Return a change from a line: `args.x = 1`, `-args.x`, `args.x -> y`.

        A value that is no JSON is taken as text where the change is made. Raises Denied.
        """
        line = line.strip()
        if line.startswith("-") and re.fullmatch(r"-\s*[^\s=>]+", line):
            return cls("unset", line[1:].strip())
        found = _LINE.fullmatch(line)
        if found is None:
            raise Denied(
                f"{line!r} is no change; write args.name = value, -args.name or args.old -> new"
            )
        kind: Literal["set", "rename"] = "set" if found["sign"] == "=" else "rename"
        return cls(kind, found["path"], found["value"].strip())

    @property
    def line(self) -> str:
        """The change as `parse` reads it."""
        if self.kind == "unset":
            return f"-{self.path}"
        return f"{self.path} {'=' if self.kind == 'set' else '->'} {self.value}"


@dataclass(frozen=True, slots=True)
class Diff:
    """What a patch would make of one job's payload, both as JSON text; `problem` says why it is
    refused.
    """

    ref: JobRef
    before: str
    after: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A bulk operation whose ids are frozen on the server and which nothing has started yet.

    A patch counts what it would change, leave as it is, and what its task would refuse (these jobs
    are skipped), with up to 5 samples in `diffs`. `warning` says who runs the same already.
    """

    id: str
    verb: Action
    total: int
    samples: tuple[JobRow, ...] = ()
    expires_at: datetime | None = None
    changed: int | None = None
    unchanged: int | None = None
    invalid: int | None = None
    diffs: tuple[Diff, ...] = ()
    changes: tuple[Change, ...] = ()
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """A bulk operation on record. `done` counts ids handled: `ok` moved, `skipped` had changed
    meanwhile.

    Of the jobs that it made run, `new_failures` failed since, `completed` completed and
    `failed_again` are dead again. `rate` is jobs a second. `reason` says why it stopped, `ended_by`
    who aborted it, `undo_until` until when it can be taken back.
    """

    id: str
    verb: Action
    state: OperationState
    total: int
    done: int
    ok: int
    skipped: int
    actor: str = ""
    queue: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    started_by: str = ""
    ended_by: str = ""
    reason: str = ""
    rate: float | None = None
    stop_after: int | None = None
    new_failures: int | None = None
    completed: int | None = None
    failed_again: int | None = None
    canary: CanaryState = ""
    undo_until: datetime | None = None
    undone: int | None = None
    changes: tuple[Change, ...] = ()


class BulkDoor(Protocol):
    """Bulk operations: drafts of jobs by reference or by description, and what was started."""

    async def operations(self) -> tuple[Operation, ...]:
        """Return the bulk operations on record, newest first."""
        ...

    async def operation(self, operation_id: str) -> Operation:
        """Return one operation as it is now; raises Denied where it is not on record."""
        ...

    async def retry(self, what: What, *, dry_run: bool = False) -> Draft:
        """Freeze dead or cancelled jobs for another round of runs; nothing moves before `start`."""
        ...

    async def delete(self, what: What, *, dry_run: bool = False) -> Draft:
        """Freeze jobs that are not running for deletion with their records."""
        ...

    @overload
    async def cancel(self, what: Selection, *, dry_run: bool = False) -> Draft: ...
    @overload
    async def cancel(self, what: Sequence[JobRef], *, dry_run: bool = False) -> Outcome: ...
    async def cancel(self, what: What, *, dry_run: bool = False) -> Outcome | Draft:
        """Cancel unfinished jobs, where they are named at once; a running one is asked to stop."""
        ...

    @overload
    async def run_now(self, what: Selection, *, dry_run: bool = False) -> Draft: ...
    @overload
    async def run_now(self, what: Sequence[JobRef], *, dry_run: bool = False) -> Outcome: ...
    async def run_now(self, what: What, *, dry_run: bool = False) -> Outcome | Draft:
        """Make scheduled or retrying jobs pending, where they are named at once."""
        ...

    async def discard(self, what: What, *, dry_run: bool = False) -> Draft:
        """Freeze waiting jobs to be dead at once; they can be retried later."""
        ...

    async def move_in_time(
        self,
        what: What,
        *,
        to: datetime | None = None,
        by: timedelta | None = None,
        dry_run: bool = False,
    ) -> Draft:
        """Freeze scheduled or retrying jobs to be due at another time, or so much later."""
        ...

    @overload
    async def move_queue(self, what: Selection, queue: str, *, dry_run: bool = False) -> Draft: ...
    @overload
    async def move_queue(
        self, what: Sequence[JobRef], queue: str, *, dry_run: bool = False
    ) -> Outcome: ...
    async def move_queue(self, what: What, queue: str, *, dry_run: bool = False) -> Outcome | Draft:
        """Move waiting jobs to another queue under the same ids, each exactly once; where they are
        named at once. Attempts begin anew, and earlier runs and logs stay behind; who comes back by
        an undo stands last in its priority.
        """
        ...

    async def priority(self, what: What, priority: int | str, *, dry_run: bool = False) -> Draft:
        """Freeze jobs that have not finished and do not run for another priority."""
        ...

    async def patch(
        self, what: What, changes: Sequence[Change], *, retry: bool = False, dry_run: bool = False
    ) -> Draft:
        """Freeze jobs that are not running for changes to their payloads, checked against what
        their tasks accept; with `retry` dead and cancelled ones run again with it.
        """
        ...

    async def start(
        self,
        draft: Draft,
        *,
        rate: float | None = None,
        stop_after: int | None = None,
        canary: bool = False,
        keep_copy: bool = True,
        resume: bool = False,
        anyway: bool = False,
        dry_run: bool = False,
    ) -> Operation:
        """Start a draft. It is advanced by workers and by `advance`, and outlives whoever started
        it.

        `rate` is jobs a second on the server's clock. With `stop_after` no more than so many jobs
        are unproven at a time, and it stops once so many have failed. `canary` runs one job first,
        past a pause of its task, and goes on only if it completes; `resume` then takes that pause
        back. `keep_copy` keeps for 24 h what `undo_operation` needs. The same over the same jobs
        is refused while it runs, unless `anyway`. With `dry_run` it stays a draft.
        """
        ...

    async def advance(self, operation_id: str, queue: str, *, dry_run: bool = False) -> Operation:
        """Do one bounded step of a started operation and return how far it is; with `dry_run` only
        the latter.
        """
        ...

    async def abort(self, operation_id: str, *, dry_run: bool = False) -> Outcome:
        """End a running operation where it is; what it has moved stays."""
        ...

    async def undo_operation(self, operation_id: str, *, dry_run: bool = False) -> Outcome:
        """Take back what an operation did to jobs that nothing has touched since."""
        ...

    async def forget(self, draft: Draft, *, dry_run: bool = False) -> Outcome:
        """Forget a draft that nothing has started; the count is that of its jobs, which stay."""
        ...
