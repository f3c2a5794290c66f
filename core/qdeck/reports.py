"""What runs report, on its way to the server: progress and log lines, a few times a second.

Owns what waits to be stored. A report that cannot be stored is lost, and costs no job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from qdeck import queue as verbs
from qdeck.errors import QdeckError
from qdeck.execute import Run
from qdeck.logs import LogBuffer

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["Reports"]

_log = logging.getLogger("qdeck.worker")
#: Seconds between two sends of progress and log lines.
EVERY: Final = 0.2
#: The same while a run says so many lines in between: they soon push each other out.
BUSY: Final = 0.05
MANY: Final = 200
#: Parts of a log that are stored at a time: more than a buffer can hold.
PARTS: Final = 5

LogOrRun = LogBuffer | Run


class Reports:
    """The reports of one worker's runs; `note` may be called from any thread."""

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._dirty: set[LogOrRun] = set()
        self._reporting = False
        self._busy = False
        self.note = self._dirty.add

    @property
    def waiting(self) -> bool:
        """Whether anything is to be stored, or is on its way."""
        return bool(self._dirty) or self._reporting

    async def often(self) -> None:
        """Store what waits, again and again, until cancelled."""
        while True:
            await asyncio.sleep(BUSY if self._busy else EVERY)
            self._busy = False
            if self._dirty:
                self._reporting = True
                await self._store_safely(self._take_dirty())
                self._reporting = False

    def _take_dirty(self) -> set[LogOrRun]:
        # One by one: threads add to this very set meanwhile.
        taken = set()
        while self._dirty:
            taken.add(self._dirty.pop())
        return taken

    async def store_last_words(self, runs: Sequence[Run]) -> None:
        """Store what ending runs have said: a finished job's log is whole."""
        last: set[LogOrRun] = set()
        for run in runs:
            last.update(item for item in (run, run.log) if item in self._dirty)
            # A report that is under way may have left it and wait for an answer now.
            if run.log:
                last.add(run.log)
        if last:
            self._dirty -= last
            await self._store_safely(last)

    async def flush(self) -> None:
        """Store all that waits."""
        await self._store_safely(self._take_dirty())

    async def _store_safely(self, dirty: set[LogOrRun]) -> None:
        """Store reports; what cannot be stored is lost, and costs no job."""
        try:
            await self._store(dirty)
        except Exception as error:
            surprise = not isinstance(error, QdeckError)
            _log.warning("reports were lost: %s", error, exc_info=surprise)

    async def _store(self, dirty: set[LogOrRun]) -> None:
        reports: dict[str, list[tuple[str, int, float | None, str | None]]] = {}
        for item in dirty:
            if isinstance(item, Run):
                percent, message = item.percent, item.message
                report = (item.id, item.fence, percent, message)
                reports.setdefault(item.queue, []).append(report)
        for queue, found in reports.items():
            await self._deck.execute(verbs.progress(self._deck.keys(queue), found), patience=2.0)
        await self._store_logs([item for item in dirty if isinstance(item, LogBuffer)])

    async def _store_logs(self, buffers: Sequence[LogBuffer]) -> None:
        by_queue: dict[str, list[LogBuffer]] = {}
        for buffer in buffers:
            if buffer and isinstance(buffer.owner, Run):
                by_queue.setdefault(buffer.owner.queue, []).append(buffer)
        for queue, found in by_queue.items():
            for buffer in found:
                self._busy = self._busy or buffer.waiting >= MANY
                # Bounded, since who speaks may speak faster than lines are stored.
                for _ in range(PARTS):
                    part = buffer.take()
                    if part is None:
                        break
                    command = verbs.append_logs(self._deck.keys(queue), [part])
                    await self._deck.execute(command, patience=2.0)
                else:
                    self.note(buffer)
