"""Windows of jobs over one queue or all: which ids stand there, without reading a whole set.

Owns the order over several sets: by score, then queue, then id, so that a window deep within many
queues is found by counting and costs no more than a shallow one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from qdeck.admin import StateName, Window
from qdeck.glimpse import Hit
from qdeck.keys import QueueKeys, queue_keys
from qdeck.reader import Reader, count, items, text

__all__ = ["HOLDING", "SETS", "Source", "order", "paused_tasks", "sources_of", "window_of"]

#: The set of each state.
SETS: Final[dict[StateName, str]] = {
    "pending": "ready",
    "running": "lease",
    "scheduled": "scheduled",
    "retrying": "retrying",
    "completed": "completed",
    "cancelled": "cancelled",
    "dead": "dead",
}
#: Fields of `meta` with the tasks whose jobs may be held: because the task is paused, was so until
#: now, or because jobs of it wait for a key.
HOLDING: Final = ("paused_tasks", "unpark", "keyed")
#: Rows down to which several sets are merged from their beginnings.
_SHALLOW: Final = 500
#: Thresholds tried in one round trip when a deep window is looked for.
_FAN: Final = 15


@dataclass(frozen=True, slots=True)
class Source:
    """One set of jobs of one state in one queue; of one task where a pause parted it."""

    queue: str
    key: str
    state: StateName
    held: bool = False
    task: str = ""

    def hits(self, reply: Any) -> list[Hit]:
        """Return the jobs of a reply with scores."""
        flat = items(reply)
        return [
            Hit(self.queue, text(flat[i]), float(flat[i + 1]), self.state, self.held)
            for i in range(0, len(flat) - 1, 2)
        ]


def paused_tasks(reply: Any) -> tuple[str, ...]:
    """Return the task names of a stored list of them."""
    return tuple(name for name in text(reply).split("\n") if name)


async def sources_of(reader: Reader, queues: Sequence[str], state: StateName) -> list[Source]:
    """Return the sets that hold the jobs of a state; a round trip for pending ones, else none."""
    prefix = reader.deck.settings.prefix
    keys = [queue_keys(prefix, queue) for queue in queues]
    found = [Source(of.queue, getattr(of, SETS[state]), state) for of in keys]
    if state != "pending":
        return found
    replies = await reader.read([("HMGET", of.meta, *HOLDING) for of in keys])
    return found + held_sources(keys, replies)


def held_sources(keys: Sequence[QueueKeys], replies: Sequence[Any]) -> list[Source]:
    """Return the sets of held jobs, given what `HOLDING` names of each queue."""
    found = []
    for of, reply in zip(keys, replies, strict=True):
        lists = [paused_tasks(field) for field in items(reply)] or [()]
        found += [
            Source(of.queue, of.held(name), "pending", name in lists[0], name)
            for name in dict.fromkeys(name for names in lists for name in names)
        ]
    return found


async def window_of(
    reader: Reader, sources: Sequence[Source], window: Window
) -> tuple[list[Hit], int | None]:
    """Return the jobs of a window over all sources in one order, and how many there are in all.

    One round trip down to row 500 and for a single source, else about ten.
    """
    offset, limit = max(0, window.offset), max(0, min(window.limit, 1000))
    if len(sources) != 1 and offset + limit > _SHALLOW:
        return await _deep(reader, sources, offset, limit, window.reverse)
    start, end = (offset, offset + limit - 1) if len(sources) == 1 else (0, offset + limit - 1)
    reverse = ("REV",) if window.reverse else ()
    commands: list[Sequence[Any]] = [("ZCARD", source.key) for source in sources]
    commands += [
        ("ZRANGE", source.key, start, end, *reverse, "WITHSCORES")
        if limit
        else ("ZCARD", source.key)
        for source in sources
    ]
    replies = await reader.read(commands)
    total = _sum(replies[: len(sources)])
    replies = replies[len(sources) :]
    if len(sources) == 1:
        return sources[0].hits(replies[0]), total
    # Of many queues' first rows few are shown: what is sorted is as light as can be.
    entries = [
        (float(flat[i + 1]), source.queue, flat[i], at)
        for at, (source, flat) in enumerate(zip(sources, map(items, replies), strict=True))
        for i in range(0, len(flat) - 1, 2)
    ]
    entries.sort(reverse=window.reverse)
    return [
        Hit(queue, text(raw), score, sources[at].state, sources[at].held)
        for score, queue, raw, at in entries[offset : offset + limit]
    ], total


async def _deep(
    reader: Reader, sources: Sequence[Source], offset: int, limit: int, reverse: bool
) -> tuple[list[Hit], int | None]:
    sources = sorted(sources, key=lambda source: source.queue)
    ends = await reader.read(
        [("ZCARD", source.key) for source in sources]
        + [("ZRANGE", source.key, 0, 0, "WITHSCORES") for source in sources]
        + [("ZRANGE", source.key, -1, -1, "WITHSCORES") for source in sources]
    )
    sizes = [count(reply) or 0 for reply in ends[: len(sources)]]
    total = sum(sizes)
    if reverse:
        offset, limit = max(0, total - offset - limit), min(limit, max(0, total - offset))
    if offset >= total or limit <= 0:
        return [], total
    scores = [
        hit.score
        for i, reply in enumerate(ends[len(sources) :])
        for hit in sources[i % len(sources)].hits(reply)
    ]
    at = await _threshold(reader, sources, offset, int(min(scores)), int(max(scores)) + 1)
    places = await reader.read(
        [("ZCOUNT", source.key, "-inf", f"({at}") for source in sources]
        + [("ZCOUNT", source.key, at, at) for source in sources]
    )
    ranks = [count(reply) or 0 for reply in places[: len(sources)]]
    # What is left to skip stands at one score: there the order is by queue, then id.
    ahead = offset - sum(ranks)
    for i, reply in enumerate(places[len(sources) :]):
        skipped = min(ahead, count(reply) or 0)
        ranks[i], ahead = ranks[i] + skipped, ahead - skipped
    replies = await reader.read(
        [
            ("ZRANGE", source.key, rank, rank + limit - 1, "WITHSCORES")
            for source, rank in zip(sources, ranks, strict=True)
        ]
    )
    found = [
        hit for source, reply in zip(sources, replies, strict=True) for hit in source.hits(reply)
    ]
    found.sort(key=order)
    found = found[:limit]
    return found[::-1] if reverse else found, total


async def _threshold(
    reader: Reader, sources: Sequence[Source], offset: int, low: int, high: int
) -> int:
    """Return a score that at most `offset` jobs stand before and that is as high as that allows."""
    while high - low > 1:
        step = max(1, (high - low) // (_FAN + 1))
        tries = list(range(low + step, high, step))[: _FAN + 1]
        replies = await reader.read(
            [("ZCOUNT", source.key, "-inf", f"({at}") for at in tries for source in sources]
        )
        for i, at in enumerate(tries):
            if (_sum(replies[i * len(sources) : (i + 1) * len(sources)]) or 0) <= offset:
                low = at
            else:
                high = at
                break
    return low


def order(hit: Hit) -> tuple[float, str, str]:
    """Return what jobs of several sets are sorted by."""
    return hit.score, hit.queue, hit.id


def _sum(replies: Sequence[Any]) -> int | None:
    known = [reply for reply in replies if isinstance(reply, int)]
    return sum(known) if known or not replies else None
