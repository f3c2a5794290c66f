"""The operator's door as a protocol: what may be asked and done, whoever stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from qdeck.admin.bulk import BulkDoor
from qdeck.admin.insight import InsightDoor
from qdeck.admin.jobs import (
    ErrorGroup,
    ErrorGroups,
    JobDetail,
    JobRef,
    LogChunk,
    Page,
    StateName,
    Window,
)
from qdeck.admin.records import RecordsDoor
from qdeck.admin.schedules import SchedulesDoor
from qdeck.admin.values import (
    Action,
    Failure,
    Outcome,
    Permission,
    Snapshot,
    Target,
    TaskRow,
    Verdict,
    WorkerRow,
)

__all__ = ["Admin"]


class Admin(BulkDoor, RecordsDoor, InsightDoor, SchedulesDoor, Protocol):
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

    async def verdict(self) -> Verdict | Failure:
        """Return the state of everything in one word, and why; what a snapshot says of it."""
        ...

    async def jobs(
        self,
        queue: str | None = None,
        state: StateName = "pending",
        window: Window | None = None,
        query: str = "",
    ) -> Page:
        """Return a window (the first 100 unless given) of the jobs of one state in a queue, or in
        all, in the order that the server keeps (see `Window.reverse`).
        """
        ...

    async def running(self, window: Window | None = None) -> Page:
        """Return running jobs of all queues, the longest running first."""
        ...

    async def tasks(self, queue: str | None = None) -> tuple[TaskRow, ...]:
        """Return the tasks of one queue, worst first, or of each queue in turn."""
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

    def actions(self, target: Target) -> Mapping[Action, Permission]:
        """Return what makes sense to do to a target, each allowed or denied with its reason."""
        ...

    async def pause(self, queue: str, task: str | None = None, *, dry_run: bool = False) -> Outcome:
        """Stop giving out jobs of a queue, or of one task in it; running jobs go on."""
        ...

    async def resume(
        self, queue: str, task: str | None = None, *, dry_run: bool = False
    ) -> Outcome:
        """Take a pause back."""
        ...

    async def quiet(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a worker to claim nothing more."""
        ...

    async def unquiet(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a quiet worker to claim again."""
        ...

    async def stop(self, worker: str, *, dry_run: bool = False) -> Outcome:
        """Ask a worker to finish within its grace and exit."""
        ...

    async def close(self) -> None:
        """Close what this door opened."""
        ...
