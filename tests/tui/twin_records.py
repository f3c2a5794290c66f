"""The part of the in-memory stand-in that keeps record, incomplete on purpose: it knows limits, new
jobs and payloads, remembers what was done, takes back only limits and clears, and moves no job to
another queue.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from qdeck.admin import (
    AuditRow,
    Cleared,
    Denied,
    JobDetail,
    JobRef,
    JobRow,
    JobWishes,
    Outcome,
    StateName,
    Window,
    WorkerRow,
)

__all__ = ["TwinRecords"]

Limits = tuple[int | None, float | None]


@dataclass(kw_only=True)
class TwinRecords:
    """Mixed into the stand-in; `acts` is the record, oldest first."""

    acts: list[AuditRow] = field(default_factory=list)
    copies: dict[str, tuple[Cleared, list[JobRow]]] = field(default_factory=dict)
    limits: dict[str, Limits] = field(default_factory=dict)
    stacks: dict[str, str] = field(default_factory=dict)
    _before: dict[str, tuple[str, Limits]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    actor: str
    now: datetime
    records: dict[str, JobRow]
    details: dict[str, JobDetail]
    crew: dict[str, WorkerRow]

    async def _call(self, name: str) -> None:
        raise NotImplementedError

    async def _write(self, name: str) -> None:
        raise NotImplementedError

    def of(self, state: StateName, queue: str | None = None) -> list[JobRow]:
        """Return the jobs of one state in the order they were put in."""
        raise NotImplementedError

    def note(self, verb: str, target: str, count: int, *, undo: bool = False, of: str = "") -> str:
        """Keep an act on record and return its id."""
        until = self.now + timedelta(hours=24) if undo else None
        row = AuditRow(
            f"act{next(self._numbers)}", self.now, self.actor, verb, target, count, "done",
            undo_until=until, of=of,
        )  # fmt: skip
        self.acts.append(row)
        return row.id

    async def audit(
        self, window: Window | None = None, queue: str | None = None
    ) -> tuple[AuditRow, ...]:
        """Return the acts, newest first."""
        await self._call("audit")
        window = window or Window()
        undone = {row.of: row.actor for row in self.acts if row.of}
        rows = [replace(row, undone_by=undone.get(row.id, "")) for row in reversed(self.acts)]
        return tuple(rows[window.offset : window.offset + window.limit])

    async def last_undoable(self, actor: str | None = None) -> AuditRow | None:
        """Return the newest act that can be taken back."""
        wanted = actor or self.actor
        rows = await self.audit(Window(0, 1000))
        return next((r for r in rows if r.undoable and not r.of and r.actor == wanted), None)

    async def undo(
        self, entry: str = "", *, others: bool = False, dry_run: bool = False
    ) -> Outcome:
        """Take back a clear or a limit."""
        await self._write("undo")
        last = None if entry else await self.last_undoable()
        entry = last.id if last is not None else entry
        rows = {row.id: row for row in await self.audit(Window(0, 1000))}
        row = rows.get(entry)
        if row is None or not row.undoable:
            raise Denied(f"{entry} cannot be taken back")
        if row.actor != self.actor and not others:
            raise Denied(f"it was done by {row.actor}")
        if dry_run:
            return Outcome(f"would undo {row.verb}", row.count or 0)
        if entry in self.copies:
            return await self._restore(entry, entry)
        queue, limits = self._before[entry]
        self.limits[queue] = limits
        made = self.note("limits", f"queue {queue}", 1, of=entry)
        return Outcome("limits as before", 1, entry=made)

    async def clear(
        self, queue: str, state: StateName = "pending", *, dry_run: bool = False
    ) -> Outcome:
        """Take the jobs out and keep them."""
        await self._write("clear")
        rows = self.of(state, queue)
        if dry_run:
            return Outcome(f"would clear {len(rows)}", len(rows))
        for row in rows:
            del self.records[row.ref.id]
        made = self.note("clear", f"queue {queue}", len(rows), undo=True)
        until = self.now + timedelta(hours=24)
        copy = Cleared(made, queue, state, len(rows), self.now, until, self.actor)
        self.copies[made] = (copy, rows)
        return Outcome(f"cleared {len(rows)} {state} jobs of {queue}", len(rows), entry=made)

    async def cleared(self, queue: str | None = None) -> tuple[Cleared, ...]:
        """Return the copies, newest first."""
        await self._call("cleared")
        found = [copy for copy, _ in self.copies.values() if queue in (None, copy.queue)]
        return tuple(reversed(found))

    async def restore(self, copy: str, *, dry_run: bool = False) -> Outcome:
        """Put the jobs back before the others."""
        await self._write("restore")
        if copy not in self.copies:
            raise Denied(f"there is no copy {copy!r}")
        if dry_run:
            return Outcome("would restore", self.copies[copy][0].count)
        return await self._restore(copy, copy)

    async def _restore(self, copy: str, of: str) -> Outcome:
        kept, rows = self.copies.pop(copy)
        others = dict(self.records)
        self.records.clear()
        self.records.update({row.ref.id: row for row in rows} | others)
        made = self.note("restore", f"queue {kept.queue}", kept.count, of=of)
        return Outcome(f"restored {kept.count} jobs", kept.count, entry=made)

    async def edit_payload(self, ref: JobRef, payload: str, *, dry_run: bool = False) -> Outcome:
        """Replace the payload; refuse what is no object."""
        await self._write("edit_payload")
        if not payload.lstrip().startswith("{"):
            raise Denied("a payload is a JSON object")
        if not dry_run:
            self.records[ref.id] = replace(self.records[ref.id], args=payload[:200])
            if ref.id in self.details:
                self.details[ref.id] = replace(self.details[ref.id], payload=payload)
            self.note("edit", f"job {ref.id}", 1)
        return Outcome(f"edited {ref.id}", 1)

    async def enqueue_new(
        self, task: str, payload: str, wishes: JobWishes | None = None, *, dry_run: bool = False
    ) -> Outcome:
        """Add a pending job."""
        await self._write("enqueue_new")
        ref = JobRef(f"NEW{next(self._numbers):023d}", (wishes and wishes.queue) or "default")
        if not dry_run:
            self.records[ref.id] = JobRow(ref, task, "pending", args=payload[:200])
            self.note("enqueue", f"job {ref.id}", 1)
        return Outcome(f"enqueued {task}", 1, refs=(ref,))

    async def enqueue_again(self, ref: JobRef, *, dry_run: bool = False) -> Outcome:
        """Add a pending job like another."""
        row = self.records[ref.id]
        wishes = JobWishes(queue=ref.queue)
        return await self.enqueue_new(row.task, row.args, wishes, dry_run=dry_run)

    async def set_limits(
        self, queue: str, limit: int | None, rate: float | None, *, dry_run: bool = False
    ) -> Outcome:
        """Keep the limits; nothing obeys them."""
        await self._write("set_limits")
        if dry_run:
            return Outcome("would set limits", 1)
        made = self.note("limits", f"queue {queue}", 1, undo=True)
        self._before[made] = (queue, self.limits.get(queue, (None, None)))
        self.limits[queue] = (limit, rate)
        return Outcome(f"limits of {queue} set", 1, entry=made)

    async def recover(self, what: str | Sequence[JobRef], *, dry_run: bool = False) -> Outcome:
        """Make what a lost worker held pending."""
        await self._write("recover")
        if not isinstance(what, str):
            raise Denied("recovering jobs by name is unknown here")
        row = self.crew[what]
        if row.state != "lost":
            raise Denied(f"{what} is {row.state}; only the jobs of a lost worker are recovered")
        if not dry_run:
            for ref in row.holds:
                self.records[ref.id] = replace(self.records[ref.id], state="pending")
            self.note("recover", f"worker {what}", len(row.holds))
        return Outcome(f"recovered {len(row.holds)} jobs", len(row.holds))

    async def slots(self, worker: str, count: int, *, dry_run: bool = False) -> Outcome:
        """Change the slots at once."""
        await self._write("slots")
        if not dry_run:
            self.crew[worker] = replace(self.crew[worker], concurrency=count)
            self.note("slots", f"worker {worker}", 1)
        return Outcome(f"{worker} has {count} slots", 1)

    async def stack(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Answer with one line."""
        await self._write("stack")
        if not dry_run:
            self.stacks[worker] = "(in memory)"
            self.note("stack", f"worker {worker}", 1)
        return Outcome(f"asked {worker} where it stands", 1)

    async def stack_of(self, worker: str) -> tuple[datetime | None, str]:
        """Return what `stack` kept."""
        await self._call("stack_of")
        found = self.stacks.get(worker, "")
        return (datetime.now(UTC) if found else None), found
