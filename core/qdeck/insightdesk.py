"""The part of the operator's door that explains; `Operator` inherits it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import cached_property

from qdeck.admin import (
    Denied,
    ErrorGroup,
    Event,
    Explanation,
    History,
    JobRef,
    ServerFacts,
    Shared,
    Window,
)
from qdeck.bulkdesk import BulkDesk
from qdeck.crew import read_workers
from qdeck.events import of_acts, of_dead, of_operations, of_schedules, of_workers
from qdeck.explain import Explainer
from qdeck.history import read_history
from qdeck.likeness import read_shared
from qdeck.recorddesk import RecordDesk
from qdeck.scheduledesk import ScheduleDesk
from qdeck.serverlook import read_server

__all__ = ["InsightDesk"]


class InsightDesk(BulkDesk, RecordDesk, ScheduleDesk):
    """What explains, from what the other parts read; changes nothing."""

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.reader, self._overview, self._status, self._pages)

    async def explain(self, target: str | JobRef) -> Explanation:
        """Return why a job, or the next job of a queue (given by name), is not running."""
        if isinstance(target, JobRef):
            self._keys(target.queue)
            return await self._explainer.job(target)
        return await self._explainer.queue(self._keys(target).queue)

    async def shared(self, group: ErrorGroup) -> Shared:
        """Return what the dead jobs of a group have in common, from the newest 200."""
        self._keys(group.queue)
        return await read_shared(self.reader, group)

    async def history(self, queue: str | None = None, minutes: int = 60) -> History:
        """Return the counters and times of a queue, or of all, over at most 48 h."""
        return await read_history(self.reader, await self._names(queue), minutes, queue)

    async def events(self, limit: int = 100) -> tuple[Event, ...]:
        """Return what happened, newest first."""
        await self._status.snapshot()
        if self._overview.failure is not None:
            raise Denied(f"what happened cannot be told: {self._overview.failure}")
        workers, operations, acts, schedules = await asyncio.gather(
            read_workers(self.reader),
            self.operations(),
            self.audit(Window(0, limit)),
            self.schedules(),
        )
        now = datetime.fromtimestamp(self._overview.now_ms() / 1000, UTC)
        found = [
            *of_workers(workers, now),
            *of_dead(self._overview.facts.values(), now),
            *of_operations(operations),
            *of_acts(acts),
            *of_schedules(schedules),
        ]
        found.sort(key=lambda event: event.at, reverse=True)
        return tuple(found[: max(0, limit)])

    async def server(self) -> ServerFacts:
        """Return all that is known of the server."""
        return await read_server(self.reader)
