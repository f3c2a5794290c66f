"""All queues at one moment: what a snapshot and the table of a queue's tasks are made of.

Keeps what does not change any more (counters of past minutes and hours, names of tasks), so that a
snapshot costs two round trips; one more when a queue or a paused task is new.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from qdeck.admin import Pause, QueueRow
from qdeck.crew import server_ms
from qdeck.glimpse import first_times
from qdeck.keys import QueueKeys, queue_keys
from qdeck.listing import paused_tasks
from qdeck.reader import Reader, at_ms, count, in_words, items, number, text
from qdeck.stats import (
    BASE,
    NOTHING,
    OF_TASK,
    Tally,
    fields_of,
    forecast,
    rate,
    series,
    tally,
)

__all__ = ["Facts", "Overview", "parse_pause"]

_SETS: Final = ("ready", "lease", "scheduled", "retrying", "completed", "dead", "cancelled")
_META: Final = ("paused", "paused_tasks", "held", "limit", "rate", "cron_late")
#: First scores of the ten priorities in `ready`, and its end.
_BANDS: Final = [(9 - priority) * 2**42 for priority in range(9, -1, -1)] + [10 * 2**42]
MINUTES: Final = 30
#: Milliseconds from which a schedule is late, and how many of a queue are named.
LATE_MS: Final = 60_000
_LATEST: Final = 5
#: Tasks that have counters of their own; others are summed as `other`.
_SHOWN: Final = 40
#: Seconds of pending counts that a forecast looks back on.
_WATCHED: Final = 120.0


@dataclass(slots=True)
class Facts:
    """One queue as last read. `tasks` are those with counters; `minutes` and `hours` go by number;
    `oldest_ms` is since when the oldest ready job waits, `held_ms` the oldest held one; `overdue`
    are schedules by name with the time (ms) of a slot that nobody has handled.
    """

    keys: QueueKeys
    tasks: tuple[str, ...] = ()
    known_fields: int | None = None
    paused: tuple[str, ...] = ()
    sizes: dict[str, int | None] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    minutes: dict[int, Tally] = field(default_factory=dict)
    hours: dict[int, Tally] = field(default_factory=dict)
    heads: list[tuple[str, bool]] = field(default_factory=list)
    overdue: list[tuple[str, float]] = field(default_factory=list)
    oldest_ms: float | None = None
    held_ms: float | None = None
    watched: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def pending(self) -> int | None:
        """Return how many jobs are pending, held ones included."""
        ready = self.sizes.get("ready")
        return None if ready is None else ready + self.held

    @property
    def held(self) -> int:
        """Return how many jobs are held because their task is paused."""
        return max(0, int(number(self.meta.get("held")) or 0))

    def fields(self) -> tuple[str, ...]:
        """Return the fields to read of a minute."""
        return fields_of(self.tasks)


class Overview:
    """Reads all queues; one for each operator."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._prefix = reader.deck.settings.prefix
        self._ahead_ms = 0.0
        self._lock = asyncio.Lock()
        self.facts: dict[str, Facts] = {}
        self.failure: str | None = None

    def now_ms(self) -> float:
        """Return the server's clock, as far as it was heard."""
        return time.time() * 1000 + self._ahead_ms

    async def read(self, more: Sequence[Sequence[Any]]) -> list[Any]:
        """Read all queues and return the replies to the other commands given.

        Where the queues cannot be listed, `failure` says why.
        """
        async with self._lock:
            return await self._read(more)

    async def _read(self, more: Sequence[Sequence[Any]]) -> list[Any]:
        known = list(self.facts.values())
        parts = [self._first(facts) for facts in known]
        names, clock, *replies = await self._reader.read(
            [("SMEMBERS", self._reader.deck.shared.queues), ("TIME",), *more, *flat(parts)]
        )
        heard = server_ms(clock)
        self._ahead_ms = 0.0 if heard is None else heard - time.time() * 1000
        others, replies = replies[: len(more)], replies[len(more) :]
        self.failure = None
        if isinstance(names, BaseException):
            self.failure = str(in_words(self._reader.deck, names))
            return others
        stale = self._take_first(known, parts, replies)
        await self._follow(sorted(text(name) for name in names))
        await self._heads(stale)
        return others

    async def _follow(self, names: Sequence[str]) -> None:
        """Forget queues that are gone, and read those that are new."""
        for gone in set(self.facts) - set(names):
            del self.facts[gone]
        fresh = [Facts(queue_keys(self._prefix, name)) for name in names if name not in self.facts]
        if not fresh:
            return
        replies = await self._reader.read([each for facts in fresh for each in _names(facts)])
        for i, facts in enumerate(fresh):
            _take_names(facts, replies[2 * i : 2 * i + 2])
            self.facts[facts.keys.queue] = facts
        parts = [self._first(facts) for facts in fresh]
        self._take_first(fresh, parts, await self._reader.read(flat(parts)))
        self.facts = {name: self.facts[name] for name in names}

    # What is read of one queue

    def _first(self, facts: Facts) -> list[Sequence[Any]]:
        keys, ready = facts.keys, facts.keys.ready
        commands: list[Sequence[Any]] = [("ZCARD", getattr(keys, name)) for name in _SETS]
        commands += (("HMGET", keys.meta, *_META), ("HLEN", keys.tasks))
        commands += [
            ("ZRANGE", ready, low, f"({high}", "BYSCORE", "LIMIT", 0, 1)
            for low, high in pairwise(_BANDS)
        ]
        commands += [("ZRANGE", keys.held(task), 0, 0) for task in facts.paused]
        commands += self.missing_minutes(facts, MINUTES)
        commands += [
            ("HMGET", keys.hour(hour), *BASE) for hour in _missing(facts.hours, *self._today())
        ]
        commands.append(
            ("ZRANGEBYSCORE", keys.cron_due, 1, int(self.now_ms()) - LATE_MS, "WITHSCORES",
             "LIMIT", 0, _LATEST)
        )  # fmt: skip
        return commands

    def _take_first(
        self, known: Sequence[Facts], parts: Sequence[Sequence[Any]], replies: Sequence[Any]
    ) -> list[Facts]:
        """Keep the replies to `_first`; return the queues whose tasks have changed."""
        stale, at = [], 0
        for facts, part in zip(known, parts, strict=True):
            mine = replies[at : at + len(part)]
            at += len(part)
            facts.sizes = {name: count(reply) for name, reply in zip(_SETS, mine, strict=False)}
            meta, length = mine[len(_SETS) : len(_SETS) + 2]
            facts.meta = dict(zip(_META, items(meta), strict=False))
            asked = list(zip(part, mine, strict=True))[len(_SETS) + 2 :]
            facts.heads = [
                (text(found), command[1] != facts.keys.ready)
                for command, reply in asked
                if command[0] == "ZRANGE"
                for found in items(reply)[:1]
            ]
            facts.overdue = [
                (text(found[i]), number(found[i + 1]) or 0.0)
                for found in [items(mine[-1])]
                for i in range(0, len(found), 2)
            ]
            self.keep(facts, [pair for pair in asked if pair[0][0] == "HMGET"])
            facts.paused = paused_tasks(facts.meta.get("paused_tasks"))
            if length != facts.known_fields:
                stale.append(facts)
            if facts.pending is not None:
                _watch(facts, self.now_ms() / 1000, facts.pending)
        return stale

    async def _heads(self, stale: Sequence[Facts]) -> None:
        """Read since when the first jobs of each priority wait, and names of tasks along."""
        asked = [
            (facts, job_id, held) for facts in self.facts.values() for job_id, held in facts.heads
        ]
        commands: list[Sequence[Any]] = []
        for facts, job_id, _ in asked:
            commands.append(("GETRANGE", facts.keys.job(job_id), 0, 23))
            commands.append(("HGET", facts.keys.run(job_id), "since"))
        replies = await self._reader.read([*commands, *(c for f in stale for c in _names(f))])
        for facts in self.facts.values():
            facts.oldest_ms = facts.held_ms = None
        for i, (facts, _, held) in enumerate(asked):
            times, since = first_times(replies[2 * i]), number(replies[2 * i + 1])
            if times is None and since is None:
                continue
            waits = max(times[1] if times else 0.0, since or 0.0)
            if held:
                facts.held_ms = min(waits, facts.held_ms or waits)
            else:
                facts.oldest_ms = min(waits, facts.oldest_ms or waits)
        for i, facts in enumerate(stale):
            at = len(commands) + 2 * i
            _take_names(facts, replies[at : at + 2])

    # Counters

    def missing_minutes(self, facts: Facts, back: int) -> list[Sequence[Any]]:
        """Return the reads of minutes that are not known yet, or still count."""
        last = int(self.now_ms() // 60000)
        names = facts.fields()
        return [
            ("HMGET", facts.keys.minute(minute), *names)
            for minute in _missing(facts.minutes, last - back + 1, last)
        ]

    def keep(self, facts: Facts, pairs: Sequence[tuple[Sequence[Any], Any]]) -> None:
        """Keep the counters of pairs of a read and its reply."""
        for command, reply in pairs:
            kind, _, digits = str(command[1]).removeprefix(facts.keys.tag).partition(":")
            if kind == "m":
                # What was asked for tells: names may have come since.
                tasks = [str(name)[3:] for name in command[2 + len(BASE) :: len(OF_TASK)]]
                facts.minutes[int(digits)] = tally(tasks, reply)
            elif kind == "h":
                facts.hours[int(digits)] = tally((), reply)
        last = int(self.now_ms() // 60000)
        for kept, oldest in ((facts.minutes, last - 70), (facts.hours, last // 60 - 24)):
            for gone in [each for each in kept if each < oldest]:
                del kept[gone]

    def _today(self) -> tuple[int, int]:
        """Return the first and the current hour of the day (UTC), as numbers since the epoch."""
        hour = int(self.now_ms() // 3_600_000)
        return hour - hour % 24, hour

    def today(self, names: Sequence[str]) -> int:
        """Return the sum of counters over all queues since midnight UTC."""
        first, last = self._today()
        return sum(
            facts.hours.get(hour, NOTHING).get(name)
            for facts in self.facts.values()
            for hour in range(first, last + 1)
            for name in names
        )

    # Rows

    def row(self, facts: Facts) -> QueueRow:
        """Return one queue as a row."""
        sizes, meta, minutes, now = facts.sizes, facts.meta, facts.minutes, self.now_ms()
        oldest = min((ms for ms in (facts.oldest_ms, facts.held_ms) if ms), default=None)
        limit = number(meta.get("limit"))
        return QueueRow(
            facts.keys.queue,
            pending=facts.pending,
            held=facts.held if facts.meta else None,
            running=sizes.get("lease"),
            scheduled=sizes.get("scheduled"),
            retrying=sizes.get("retrying"),
            completed=sizes.get("completed"),
            dead=sizes.get("dead"),
            cancelled=sizes.get("cancelled"),
            oldest_pending_s=None if oldest is None else max(0.0, (now - oldest) / 1000),
            paused=parse_pause(meta.get("paused")),
            limit=None if limit is None else int(limit),
            rate=number(meta.get("rate")),
            in_per_minute=rate(minutes, now, ("in",)),
            out_per_minute=rate(minutes, now, ("ok", "dead")),
            failed_per_minute=rate(minutes, now, ("failed", "crashed")),
            finished=series(minutes, now, MINUTES),
            drain_s=forecast(facts.watched),
        )


def parse_pause(raw: Any) -> Pause | None:
    """Return who paused, from the stored `<ms> <actor>`; None where nobody did."""
    if not isinstance(raw, bytes):
        return None
    ms, _, actor = text(raw).partition(" ")
    return Pause(actor or "?", at_ms(ms))


def flat(parts: Iterable[Iterable[Any]]) -> list[Any]:
    """Return the members of all parts in one list."""
    return [each for part in parts for each in part]


def _names(facts: Facts) -> list[Sequence[Any]]:
    keys = facts.keys
    return [("HSCAN", keys.tasks, 0, "COUNT", 2000), ("HMGET", keys.meta, "paused_tasks", "held")]


def _take_names(facts: Facts, replies: Sequence[Any]) -> None:
    scanned, meta = replies
    fields = items(scanned[1])[::2] if isinstance(scanned, list) else []
    names = [
        (int(number(scanned[1][2 * i + 1]) or 0), text(name).partition(":")[2])
        for i, name in enumerate(fields)
        if name.startswith(b"index:")
    ]
    facts.known_fields = len(fields)
    facts.tasks = tuple(name for index, name in sorted(names) if index <= _SHOWN)
    if len(names) > len(facts.tasks):
        facts.tasks += ("other",)
    facts.paused = paused_tasks(items(meta)[0] if items(meta) else None)


def _missing(known: Mapping[int, Tally], first: int, last: int) -> list[int]:
    """Return the numbers not known, and the last two, which may still change."""
    return [each for each in range(first, last + 1) if each >= last - 1 or each not in known]


def _watch(facts: Facts, now: float, pending: int) -> None:
    watched = facts.watched
    watched.append((now, pending))
    while len(watched) > 2 and (now - watched[0][0] > _WATCHED or watched[0][0] > now):
        watched.popleft()
