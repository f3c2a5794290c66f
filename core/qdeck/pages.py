"""Pages of jobs as rows, over one queue or several."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from qdeck.admin import Denied, JobRow, Page, Selection, StateName, Window
from qdeck.errors import InvalidQuery
from qdeck.freezing import Frozen, freeze_hits, freeze_sources
from qdeck.glimpse import Hit, read_rows
from qdeck.keys import queue_keys
from qdeck.listing import Source, order, sources_of, window_of
from qdeck.overview import Overview
from qdeck.query import Query, parse
from qdeck.queue import CHUNK
from qdeck.reader import Reader
from qdeck.scan import Scan
from qdeck.stats import histograms, percentile

__all__ = ["Pages"]

#: Running jobs of one queue that are listed.
_MOST_RUNNING = 1000
#: Seconds that the usual run times of a queue are taken as known.
_KNOWN_S = 10.0
#: Queries whose walks are remembered, seconds until a finished one is walked again, and steps that
#: a call takes which asks for more than was found.
_WALKS = 8
_AGAIN_S = 2.0
_PATIENT = 5
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Walk:
    """A query being answered: the walk that goes on, and the last one that was finished."""

    scan: Scan
    shown: Scan | None = None
    ended: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def best(self) -> Scan:
        """What to show."""
        return self.shown or self.scan


class Pages:
    """Reads windows of jobs; keeps the usual run times of tasks for a few seconds."""

    def __init__(self, reader: Reader, overview: Overview) -> None:
        self._reader = reader
        self._overview = overview
        self._usual: dict[str, tuple[float, dict[tuple[str, str], float]]] = {}
        self._walks: dict[tuple[tuple[str, ...], str, bool], Walk] = {}

    async def jobs(
        self, queues: Sequence[str], state: StateName, window: Window, query: str = ""
    ) -> Page:
        """Return a window of the jobs of one state over these queues."""
        sources = await sources_of(self._reader, queues, state)
        if not query.strip():
            return await self.of(sources, window)
        return await self.matching(sources, window, parsed(query))

    async def of(self, sources: Sequence[Source], window: Window) -> Page:
        """Return a window of the jobs of these sets, in one order."""
        hits, total = await window_of(self._reader, sources, window)
        return Page(await self.rows(hits, sources), window.offset, total)

    async def matching(self, sources: Sequence[Source], window: Window, query: Query) -> Page:
        """Return a window of the matches; each call looks at up to 2,000 records more.

        Once all were looked at, the matches are shown while the next walk begins.
        """
        key = (tuple(source.key for source in sources), query.text, window.reverse)
        walk = self._walks.pop(key, None) or Walk(Scan(sources, query, window.reverse))
        self._walks[key] = walk
        while len(self._walks) > _WALKS:
            self._walks.pop(next(iter(self._walks)))
        async with walk.lock:
            if walk.scan.done and time.monotonic() - walk.ended > _AGAIN_S:
                walk.scan = Scan(sources, query, window.reverse)
            for _ in range(_PATIENT if window.offset else 1):
                if not walk.scan.done:
                    await walk.scan.step(self._reader, self._overview.now_ms())
                if walk.scan.done and walk.shown is not walk.scan:
                    walk.shown, walk.ended = walk.scan, time.monotonic()
                if len(walk.best.found) > window.offset or walk.scan.done:
                    break
        best = walk.best
        matches = sorted(best.found, key=lambda match: order(match.hit), reverse=window.reverse)
        chosen = matches[window.offset : window.offset + window.limit]
        scores = await self._reader.read([("ZSCORE", each.key, each.hit.id) for each in chosen])
        still = [each.hit for each, score in zip(chosen, scores, strict=True) if score is not None]
        return Page(
            await self.rows(still, sources),
            window.offset,
            best.matched,
            best.scanned,
            best.size,
            best.done,
        )

    async def rows(self, hits: Sequence[Hit], sources: Sequence[Source] = ()) -> tuple[JobRow, ...]:
        """Return the rows of jobs; `sources` tell which tasks are paused before all is parked."""
        running = sorted({hit.queue for hit in hits if hit.state == "running"})
        usual = await self._usual_times(running)
        rows = await read_rows(self._reader, hits, usual)
        paused = {(source.queue, source.task) for source in sources if source.held}
        if not paused:
            return rows
        return tuple(replace(r, held=(r.ref.queue, r.task) in paused) for r in rows)

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
        if not what.query.strip():
            await freeze_sources(frozen, sources)
            return
        scan = Scan(sources, parsed(what.query))
        while not scan.done:
            found = await scan.step(self._reader, self._overview.now_ms(), CHUNK)
            await freeze_hits(frozen, [match.hit for match in found])

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


def parsed(query: str) -> Query:
    """Return a query from its text; raises Denied where it does not parse."""
    try:
        return parse(query)
    except InvalidQuery as error:
        raise Denied(str(error)) from error
