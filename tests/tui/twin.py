"""An in-memory stand-in for the operator's door, incomplete on purpose.

It knows no ages of queues and no pauses, finds failure groups only by scanning a part of the dead
jobs on each call, and one of its parts may fail. The console has to live with all of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tests.tui.twin_bulk import TwinBulk
from tests.tui.twin_insight import TwinInsight
from tests.tui.twin_records import TwinRecords
from tests.tui.twin_schedules import TwinSchedules

from qdeck.admin import (
    Action,
    Denied,
    ErrorDetail,
    ErrorGroup,
    ErrorGroups,
    Failure,
    JobDetail,
    JobRef,
    JobRow,
    LogChunk,
    LogLine,
    Outcome,
    Page,
    Permission,
    QueueRow,
    Selection,
    ServerInfo,
    Snapshot,
    StateName,
    Target,
    TaskRow,
    Verdict,
    Window,
    WorkerRow,
)

__all__ = ["START", "Twin"]

SCAN = 1000
START = datetime(2026, 11, 21, 3, 12, tzinfo=UTC)


@dataclass
class Twin(TwinBulk, TwinInsight, TwinRecords, TwinSchedules):
    """Jobs in a dict. `failing` names methods that raise, `pause_s` is how long each call takes."""

    label: str = "twin memory shop"
    actor: str = "ana@here"
    read_only: bool = False
    pause_s: float = 0.0
    failing: set[str] = field(default_factory=set)
    details: dict[str, JobDetail] = field(default_factory=dict)
    logs: dict[str, list[LogLine]] = field(default_factory=dict)
    crew: dict[str, WorkerRow] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    now: datetime = START
    kept_s: float | None = None
    closed: bool = False

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(self.pause_s)
        if name in self.failing:
            raise OSError(f"{name} is broken here")

    def of(self, state: StateName, queue: str | None = None) -> list[JobRow]:
        """Return the jobs of one state in the order they were put in."""
        return [
            job
            for job in self.records.values()
            if job.state == state and (queue is None or job.ref.queue == queue)
        ]

    def add(self, job: JobRow) -> JobRow:
        """Keep a job."""
        self.records[job.ref.id] = job
        return job

    # Reads

    async def snapshot(self) -> Snapshot:
        """Return counts; ages, rates and pauses stay unknown."""
        await self._call("snapshot")
        queues = {}
        for name in sorted({job.ref.queue for job in self.records.values()}):
            counts = {s: len(self.of(s, name)) for s in _COUNTED}
            queues[name] = QueueRow(
                name,
                pending=counts["pending"],
                running=counts["running"],
                scheduled=counts["scheduled"],
                retrying=counts["retrying"],
                completed=counts["completed"],
                dead=counts["dead"],
                cancelled=counts["cancelled"],
            )
        dead = len(self.of("dead"))
        causes = (f"{dead} dead jobs",) if dead else ()
        return Snapshot(
            self.now, 0.0, tuple(queues.values()), ServerInfo("twin", "1"),
            Verdict("WATCH" if dead else "OK", causes),
        )  # fmt: skip

    async def verdict(self) -> Verdict | Failure:
        """Return what the snapshot says."""
        return (await self.snapshot()).verdict

    async def jobs(
        self,
        queue: str | None = None,
        state: StateName = "pending",
        window: Window | None = None,
        query: str = "",
    ) -> Page:
        """Return a window; a query looks for words anywhere."""
        await self._call("jobs")
        window = window or Window()
        found = self.of(state, queue)
        size = len(found)
        for part in query.split():
            word = part.replace("~", ":").rpartition(":")[2].strip('"')
            found = [j for j in found if word in f"{j.ref.id} {j.task} {j.args} {j.error}"]
        if window.reverse:
            found.reverse()
        rows = tuple(found[window.offset : window.offset + window.limit])
        return Page(rows, window.offset, len(found), size if query else None, size)

    async def running(self, window: Window | None = None) -> Page:
        """Return the running jobs."""
        await self._call("running")
        window = window or Window()
        found = self.of("running")
        return Page(tuple(found[window.offset : window.offset + window.limit]), 0, len(found))

    async def tasks(self, queue: str | None = None) -> tuple[TaskRow, ...]:
        """Return counts by task; times stay unknown."""
        await self._call("tasks")
        every = {(j.ref.queue, j.task) for j in self.records.values()}
        return tuple(
            TaskRow(
                home,
                name,
                pending=sum(1 for j in self.of("pending", home) if j.task == name),
                dead=sum(1 for j in self.of("dead", home) if j.task == name),
            )
            for home, name in sorted(every)
            if queue in (None, home)
        )

    async def errors(self, queue: str | None = None) -> ErrorGroups:
        """Return the groups among the dead that were looked at so far; each call looks at more."""
        await self._call("errors")
        dead = self.of("dead", queue)
        self.scanned = min(len(dead), self.scanned + SCAN)
        groups: dict[tuple[str, str], list[JobRow]] = {}
        for job in dead[: self.scanned]:
            groups.setdefault((job.ref.queue, _print_of(job)), []).append(job)
        found = [
            ErrorGroup(
                name, mark, jobs[0].task, *_type_and_message(jobs[0].error), len(jobs),
                first_at=jobs[0].finished_at, last_at=jobs[-1].finished_at, sample=jobs[-1].ref,
            )
            for (name, mark), jobs in groups.items()
        ]  # fmt: skip
        found.sort(key=lambda group: -(group.count or 0))
        return ErrorGroups(tuple(found), len(dead), self.scanned >= len(dead), self.kept_s)

    @property
    def _who(self) -> str:
        return self.actor

    def chosen(self, what: Selection) -> list[JobRow]:
        """Return the jobs that a selection describes."""
        rows = self.of(what.state, what.queue)
        if what.fingerprint is not None:
            rows = self._members(what.queue, what.fingerprint)
        return [job for job in rows if all(word in job.args for word in what.query.split())]

    def _members(self, queue: str | None, mark: str) -> list[JobRow]:
        return [job for job in self.of("dead", queue) if _print_of(job) == mark]

    async def group(self, group: ErrorGroup, window: Window) -> Page:
        """Return the members, the newest first."""
        await self._call("group")
        found = self._members(group.queue, group.fingerprint)[::-1]
        rows = tuple(found[window.offset : window.offset + window.limit])
        return Page(rows, window.offset, len(found))

    async def job(self, ref: JobRef) -> JobDetail | None:
        """Return a job with what was put in for it."""
        await self._call("job")
        row = self.records.get(ref.id)
        if row is None:
            return None
        known = self.details.get(ref.id)
        if known is not None:
            return replace(known, row=row)
        error = None
        if row.error:
            kind, message = _type_and_message(row.error)
            trace = f'Traceback\n  File "billing/mail.py", line 88, in render\n{row.error}'
            error = ErrorDetail(kind, message, trace, _print_of(row))
        return JobDetail(row, payload=row.args, error=error)

    async def find(self, job_id: str) -> JobRef | None:
        """Return the reference of a known id."""
        await self._call("find")
        row = self.records.get(job_id)
        return None if row is None else row.ref

    async def log(
        self, ref: JobRef, after: str = "", follow: bool = False, limit: int = 1000
    ) -> LogChunk:
        """Return lines after a cursor."""
        await self._call("log")
        lines = self.logs.get(ref.id, [])
        start = int(after or 0)
        if follow and start >= len(lines):
            await asyncio.sleep(0.05)
        part = tuple(lines[start : start + limit])
        row = self.records.get(ref.id)
        ended = row is None or row.state in ("completed", "dead", "cancelled")
        return LogChunk(part, str(start + len(part)), ended, len(lines))

    async def workers(self) -> tuple[WorkerRow, ...]:
        """Return the crew."""
        await self._call("workers")
        return tuple(self.crew.values())

    def actions(self, target: Target) -> Mapping[Action, Permission]:
        """Return what may be done: nothing with queues and tasks, since nothing can be paused."""
        yes = Permission(not self.read_only, "the server is read-only" if self.read_only else "")
        if isinstance(target, ErrorGroup):
            return {"retry": yes, "delete": yes}
        if isinstance(target, WorkerRow):
            return {"unquiet" if target.state == "quiet" else "quiet": yes, "stop": yes}
        if isinstance(target, JobRow):
            if target.state in ("dead", "cancelled"):
                return {"retry": yes, "delete": yes}
            if target.state == "running":
                return {"cancel": yes, "delete": Permission(False, "it is running")}
            if target.state in ("scheduled", "retrying"):
                return {"run_now": yes, "cancel": yes, "delete": yes}
            return {"cancel": yes, "delete": yes} if target.state == "pending" else {"delete": yes}
        return {}

    # Writes

    async def _write(self, name: str) -> None:
        await self._call(name)
        if self.read_only:
            raise Denied(f"{name}: the server is read-only")

    async def pause(self, queue: str, task: str | None = None, *, dry_run: bool = False) -> Outcome:
        """Refuse."""
        raise Denied("pause is unknown here")

    async def resume(
        self, queue: str, task: str | None = None, *, dry_run: bool = False
    ) -> Outcome:
        """Refuse."""
        raise Denied("resume is unknown here")

    async def quiet(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Mark a worker quiet."""
        await self._write("quiet")
        if dry_run:
            return Outcome(f"would quiet {worker}")
        self.crew[worker] = replace(self.crew[worker], state="quiet")
        return Outcome(f"{worker} is quiet", 1)

    async def unquiet(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Mark a worker running."""
        await self._write("unquiet")
        if dry_run:
            return Outcome(f"would unquiet {worker}")
        self.crew[worker] = replace(self.crew[worker], state="running")
        return Outcome(f"{worker} claims again", 1)

    async def stop(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Mark a worker stopping."""
        await self._write("stop")
        if dry_run:
            return Outcome(f"would stop {worker}")
        self.crew[worker] = replace(self.crew[worker], state="stopping")
        return Outcome(f"{worker} was asked to stop", 1)

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


_COUNTED: tuple[StateName, ...] = (
    "pending", "running", "scheduled", "retrying", "completed", "dead", "cancelled",
)  # fmt: skip


def _type_and_message(error: str) -> tuple[str, str]:
    kind, _, message = error.partition(": ")
    return kind, message


def _print_of(job: JobRow) -> str:
    return f"{job.task}|{_type_and_message(job.error)[0]}"
