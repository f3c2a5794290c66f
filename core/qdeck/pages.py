"""Pages of jobs as rows, over one queue or several."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from qdeck.admin import JobRow, Page, Selection, StateName, Window
from qdeck.bulk import Frozen, freeze_sources
from qdeck.glimpse import Hit, read_rows
from qdeck.keys import queue_keys
from qdeck.listing import Source, sources_of, window_of
from qdeck.overview import Overview
from qdeck.reader import Reader
from qdeck.stats import histograms, percentile

__all__ = ["Pages"]

#: Running jobs of one queue that are listed.
_MOST_RUNNING = 1000
#: Seconds that the usual run times of a queue are taken as known.
_KNOWN_S = 10.0
_NEVER = datetime.max.replace(tzinfo=UTC)


class Pages:
    """Reads windows of jobs; keeps the usual run times of tasks for a few seconds."""

    def __init__(self, reader: Reader, overview: Overview) -> None:
        self._reader = reader
        self._overview = overview
        self._usual: dict[str, tuple[float, dict[tuple[str, str], float]]] = {}

    async def jobs(
        self, queues: Sequence[str], state: StateName, window: Window, query: str = ""
    ) -> Page:
        """Return a window of the jobs of one state over these queues."""
        return await self.of(await sources_of(self._reader, queues, state), window)

    async def of(self, sources: Sequence[Source], window: Window) -> Page:
        """Return a window of the jobs of these sets, in one order."""
        hits, total = await window_of(self._reader, sources, window)
        return Page(await self.rows(hits), window.offset, total)

    async def rows(self, hits: Sequence[Hit]) -> tuple[JobRow, ...]:
        """Return the rows of jobs."""
        running = sorted({hit.queue for hit in hits if hit.state == "running"})
        usual = await self._usual_times(running)
        return await read_rows(self._reader, hits, self._reader.deck.settings.max_retries, usual)

    async def running(self, queues: Sequence[str], window: Window) -> Page:
        """Return the running jobs of these queues, the longest running first.

        Of more than 1,000 in a queue those are left out whose leases were renewed last.
        """
        prefix = self._reader.deck.settings.prefix
        sources = [Source(queue, queue_keys(prefix, queue).lease, "running") for queue in queues]
        replies = await self._reader.read(
            [("ZCARD", source.key) for source in sources]
            + [("ZRANGE", s.key, 0, _MOST_RUNNING - 1, "WITHSCORES") for s in sources]
        )
        total = sum(reply for reply in replies[: len(sources)] if isinstance(reply, int))
        found = [
            hit
            for source, reply in zip(sources, replies[len(sources) :], strict=True)
            for hit in source.hits(reply)
        ]
        rows = sorted(
            await self.rows(found),
            key=lambda row: (row.started_at or _NEVER, row.ref.id),
            reverse=window.reverse,
        )
        return Page(tuple(rows[window.offset : window.offset + window.limit]), window.offset, total)

    async def freeze(self, frozen: Frozen, queues: Sequence[str], what: Selection) -> None:
        """Freeze the jobs that a selection describes."""
        if what.fingerprint is not None:
            prefix = self._reader.deck.settings.prefix
            sources = [
                Source(queue, queue_keys(prefix, queue).group(what.fingerprint), "dead")
                for queue in queues
            ]
        else:
            sources = await sources_of(self._reader, queues, what.state)
        await freeze_sources(frozen, sources)

    async def _usual_times(self, queues: Sequence[str]) -> dict[tuple[str, str], float]:
        """Return the p95 run times (s) by queue and task, over this hour and the one before."""
        now, hour = time.monotonic(), int(self._overview.now_ms() // 3_600_000)
        old = [q for q in queues if q not in self._usual or self._usual[q][0] < now - _KNOWN_S]
        prefix = self._reader.deck.settings.prefix
        replies = await self._reader.read(
            [
                ("HGETALL", queue_keys(prefix, queue).hour(each))
                for queue in old
                for each in (hour, hour - 1)
            ]
        )
        for i, queue in enumerate(old):
            known = histograms(*replies[2 * i : 2 * i + 2])
            times = {
                (queue, task): percentile(buckets, 0.95) or 0.0
                for (kind, task), buckets in known.items()
                if kind == "run"
            }
            self._usual[queue] = now, times
        return {key: s for queue in queues for key, s in self._usual[queue][1].items()}
