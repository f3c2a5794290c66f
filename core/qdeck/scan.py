"""Looking through jobs for those that match a query, in bounded steps.

A scan walks each set by score, so that jobs which leave or enter meanwhile neither hide others nor
show one twice. It reads no more of a job than the query needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from qdeck.glimpse import Hit, error_line, glimpse
from qdeck.keys import queue_keys
from qdeck.listing import Source
from qdeck.query import Candidate, Query
from qdeck.reader import Reader, count, items, text
from qdeck.record import read_claim, read_record

__all__ = ["STEP", "Match", "Scan"]

#: Records that one step looks at, in as few round trips as it can: over a slow line these take the
#: time.
STEP: Final = 2000
#: Of them so many whose long records are held at once.
_CHUNK: Final = 250
#: Bytes of a record that are read first, and of long records in one step.
_HEAD: Final = 4096
_LONG_BYTES: Final = 8 * 1024 * 1024
#: Matches that are remembered; more are only counted.
_KEPT: Final = 50_000
#: Jobs of one score up to which they are told apart by their ids.
_FEW: Final = 500
_RUN: Final = ("run", "message", "task")


@dataclass(frozen=True, slots=True)
class Match:
    """A job that matched, and the set it stood in."""

    hit: Hit
    key: str


#: A job with the first bytes of its record, fields of its run, and the first bytes of its error.
_Start = tuple[Hit, Any, list[Any], Any]


@dataclass
class Scan:
    """One walk over some sets. `found` are the matches, `matched` how many there were."""

    sources: Sequence[Source]
    query: Query
    reverse: bool = False
    found: list[Match] = field(default_factory=list)
    matched: int = 0
    scanned: int = 0
    size: int | None = None
    done: bool = False
    _left: list[Source] = field(default_factory=list)
    _score: str = ""
    _ties: set[bytes] = field(default_factory=set)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    async def step(self, reader: Reader, now_ms: float, most: int = STEP) -> list[Match]:
        """Look at up to `most` more records; return what matched among them."""
        fresh: list[Match] = []
        budget, left = _LONG_BYTES, most
        if self.size is None:
            replies = await reader.read([("ZCARD", source.key) for source in self.sources])
            sizes = [count(reply) for reply in replies]
            self.size = sum(size or 0 for size in sizes)
            # A set that cannot be counted is looked into: why is said there.
            self._left = [s for s, size in zip(self.sources, sizes, strict=True) if size != 0]
            self.done = not self._left
        while left > 0 and budget > 0 and not self.done:
            source = self._left[0]
            hits = await self._next(reader, source, left)
            if len(hits) < left:
                self._score, self._ties = "", set()
                del self._left[0]
                self.done = not self._left
            heads = await self._heads(reader, hits)
            for i in range(0, len(heads), _CHUNK):
                part = heads[i : i + _CHUNK]
                jobs, used = await self._read(reader, part, now_ms)
                budget -= used
                fresh += [
                    Match(hit, source.key)
                    for (hit, *_), job in zip(part, jobs, strict=True)
                    if self.query.matches(job) and self._new(hit)
                ]
            left -= len(hits)
            self.scanned += len(hits)
            if fresh and not self.matched:
                break  # The first that match are shown before others are looked for.
        self.matched += len(fresh)
        self.found += fresh[: _KEPT - len(self.found)]
        self.size = max(self.size, self.scanned)
        return fresh

    def _new(self, hit: Hit) -> bool:
        """Whether a match is seen for the first time; a lease that is renewed moves ahead."""
        before = len(self._seen)
        self._seen.add((hit.queue, hit.id))
        return len(self._seen) > before

    async def _next(self, reader: Reader, source: Source, most: int) -> list[Hit]:
        """Return the next jobs of a set: from the last score on, without those seen at it.

        Many of one score (a bulk operation's) are skipped by their number instead.
        """
        far = "-inf" if self.reverse else "+inf"
        begin = self._score or ("+inf" if self.reverse else "-inf")
        order = ("REV",) if self.reverse else ()
        known = self._ties if len(self._ties) <= _FEW else set()
        skip = len(self._ties) - len(known)
        reply = await reader.one(
            "ZRANGE", source.key, begin, far, "BYSCORE", *order,
            "LIMIT", skip, most + len(known), "WITHSCORES",
        )  # fmt: skip
        flat = items(reply)
        if flat:
            last = text(flat[-1])
            if last != self._score:
                self._ties = set()
            self._ties = self._ties | {
                flat[i] for i in range(0, len(flat), 2) if text(flat[i + 1]) == last
            }
            self._score = last
        return source.hits(
            [
                part
                for i in range(0, len(flat), 2)
                if flat[i] not in known
                for part in flat[i : i + 2]
            ]
        )

    async def _heads(self, reader: Reader, hits: Sequence[Hit]) -> list[_Start]:
        """Return of each job the first bytes of what the query looks at, in one round trip."""
        parts, prefix = self.query.parts, reader.deck.settings.prefix
        commands: list[Sequence[Any]] = []
        for hit in hits:
            keys = queue_keys(prefix, hit.queue)
            if "record" in parts:
                commands.append(("GETRANGE", keys.job(hit.id), 0, _HEAD - 1))
            if "run" in parts:
                commands.append(("HMGET", keys.run(hit.id), *_RUN))
            if "error" in parts:
                commands.append(("GETRANGE", keys.error(hit.id), 0, _HEAD - 1))
        replies = iter(await reader.read(commands))
        return [
            (
                hit,
                next(replies) if "record" in parts else None,
                items(next(replies)) if "run" in parts else [],
                next(replies) if "error" in parts else None,
            )
            for hit in hits
        ]

    async def _read(
        self, reader: Reader, read: Sequence[_Start], now_ms: float
    ) -> tuple[list[Candidate], int]:
        """Return the jobs as the query sees them, and how many bytes of long records it took."""
        prefix = reader.deck.settings.prefix
        long = [
            hit
            for hit, head, *_ in read
            if "payload" in self.query.parts and isinstance(head, bytes) and len(head) == _HEAD
        ]
        wholes = await reader.read(
            [("GET", queue_keys(prefix, hit.queue).job(hit.id)) for hit in long]
        )
        whole = dict(zip((hit.id for hit in long), wholes, strict=True))
        used = sum(len(raw) for raw in wholes if isinstance(raw, bytes))
        return [
            _candidate(hit, whole.get(hit.id, head), run, error, now_ms)
            for hit, head, run, error in read
        ], used


def _candidate(hit: Hit, head: Any, run: Sequence[Any], error: Any, now_ms: float) -> Candidate:
    job = Candidate(hit.id, hit.queue)
    record = read_record(head) if isinstance(head, bytes) else None
    if record is None and (seen := glimpse(head, _HEAD)) is not None:
        record = seen.record
    if record is not None:
        body = record.body
        job.task, job.payload, job.metadata = body.task, body.payload, body.metadata
        job.priority, job.age = body.priority, max(0.0, (now_ms - record.created) / 1000)
    if run:
        claim = read_claim(run[0])
        job.attempt, job.worker = float(claim.attempt), claim.worker
        job.message = text(run[1])
        job.task = job.task or text(run[2]) or claim.task
    if error:
        job.error = error_line(error)
    return job
