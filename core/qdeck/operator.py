"""The engine's implementation of `qdeck.admin.Admin`: what the console and the command line look at
and change everything through.

Wires the modules to its right together and enforces read-only; workers never import it. No read
needs `EVAL`, none reads a whole set.
"""

from __future__ import annotations

from collections.abc import Mapping

from qdeck import detail
from qdeck.admin import (
    Action,
    ErrorGroup,
    ErrorGroups,
    Failure,
    JobDetail,
    JobRef,
    LogChunk,
    Page,
    Permission,
    Snapshot,
    StateName,
    Target,
    TaskRow,
    Verdict,
    Window,
    WorkerRow,
)
from qdeck.crew import read_workers
from qdeck.crewdesk import CrewDesk
from qdeck.deck import Deck
from qdeck.groups import read_groups
from qdeck.insightdesk import InsightDesk
from qdeck.jobdesk import JobDesk
from qdeck.listing import Source
from qdeck.rights import permissions
from qdeck.tasktable import read_tasks

__all__ = ["Operator"]


class Operator(InsightDesk, CrewDesk, JobDesk):
    """One operator's door to the server of a deck; for one event loop at a time."""

    def __init__(self, deck: Deck, *, actor: str | None = None, read_only: bool = False) -> None:
        super().__init__(deck, actor=actor, read_only=read_only)
        self._follower = detail.Follower(self.reader)

    # Looking

    async def snapshot(self) -> Snapshot:
        """Return all queues, the server's line and the verdict: two round trips once it is warm."""
        return await self._status.snapshot()

    async def verdict(self) -> Verdict | Failure:
        """Return the state of everything in one word, and why."""
        return (await self.snapshot()).verdict

    async def jobs(
        self,
        queue: str | None = None,
        state: StateName = "pending",
        window: Window | None = None,
        query: str = "",
    ) -> Page:
        """Return a window of the jobs of one state; with a query each call looks at up to 2,000
        more.
        """
        return await self._pages.jobs(await self._names(queue), state, window or Window(), query)

    async def running(self, window: Window | None = None) -> Page:
        """Return running jobs of all queues, the longest running first."""
        return await self._pages.running(await self._names(None), window or Window())

    async def tasks(self, queue: str | None = None) -> tuple[TaskRow, ...]:
        """Return the tasks of one queue, worst first, or of each queue in turn."""
        found: list[TaskRow] = []
        for name in await self._names(queue):
            found += await read_tasks(self.reader, self._overview, self._keys(name))
        return tuple(found)

    async def errors(self, queue: str | None = None) -> ErrorGroups:
        """Return the groups of dead jobs, largest first."""
        return await read_groups(self.reader, await self._names(queue))

    async def group(self, group: ErrorGroup, window: Window) -> Page:
        """Return the dead jobs of one group, newest first."""
        key = self._keys(group.queue).group(group.fingerprint)
        newest = Window(window.offset, window.limit, not window.reverse)
        return await self._pages.of([Source(group.queue, key, "dead")], newest)

    async def job(self, ref: JobRef) -> JobDetail | None:
        """Return one job; None when there is no record of it."""
        self._keys(ref.queue)
        return await detail.read_job(self.reader, ref)

    async def find(self, job_id: str) -> JobRef | None:
        """Return the reference of a job given its id; None when unknown."""
        return await detail.find_job(self.reader, await self._names(None), job_id)

    async def log(
        self, ref: JobRef, after: str = "", follow: bool = False, limit: int = 1000
    ) -> LogChunk:
        """Return up to `limit` lines after a cursor; with `follow` wait up to 1 s for the first."""
        self._keys(ref.queue)
        return await self._follower.read(ref, after, follow, limit)

    async def workers(self) -> tuple[WorkerRow, ...]:
        """Return the workers that are alive or were within the last 24 h, lost ones first."""
        return await read_workers(self.reader)

    def actions(self, target: Target) -> Mapping[Action, Permission]:
        """Return the actions that make sense on a target, each allowed or denied, and why."""
        return permissions(target, self._read_only)

    async def close(self) -> None:
        """Close the connection that follows logs; the deck stays open."""
        await self._follower.close()
