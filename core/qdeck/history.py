"""The counters of the past, step by step, and the times of runs and waits over them.

Minutes are kept for 3 h and hours for 48 h (see `keys`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

from qdeck.admin import History, Minute, Times
from qdeck.crew import server_ms
from qdeck.keys import queue_keys
from qdeck.reader import Reader
from qdeck.stats import BASE, Histograms, histograms, percentile, tally, tally_whole

__all__ = ["bound_s", "read_history"]

#: Steps that are kept, and minutes up to which times are read by the minute.
_MINUTES: Final = 180
_HOURS: Final = 48
_FINE: Final = 15


def bound_s(bucket: int) -> float:
    """Return the seconds that the times of a bucket stay below."""
    return (1.25 ** (bucket + 1) - 1) / 10_000


async def read_history(
    reader: Reader, queues: Sequence[str], minutes: int, queue: str | None
) -> History:
    """Return the counters of queues summed, in two round trips.

    Times cover the whole hours that the span touches, where that is longer than 15 minutes.
    """
    span = max(1, min(minutes, _HOURS * 60))
    step = 60 if span <= _MINUTES else 3600
    now_ms = server_ms(await reader.one("TIME")) or 0.0
    last = int(now_ms // (step * 1000))
    size = span if step == 60 else -(-span // 60)
    numbers = list(range(last - size + 1, last + 1))
    keys = [queue_keys(reader.deck.settings.prefix, name) for name in queues]
    minute, first = int(now_ms // 60_000), int((now_ms / 1000 - (span - 1) * 60) // 3600)
    fine = range(minute - span + 1, minute + 1)
    hours = range(first, int(now_ms // 3_600_000) + 1)
    if span <= _FINE:
        whole = [of.minute(each) for of in keys for each in fine]
    else:
        whole = [of.hour(each) for of in keys for each in hours]
    counters = [("HMGET", of.minute(each), *BASE) for of in keys for each in numbers]
    if step == 3600:
        counters = []
    replies = await reader.read([*counters, *(("HGETALL", name) for name in whole)])
    hashes = [_flat(reply) for reply in replies[len(counters) :]]
    found = [tally((), reply) for reply in replies[: len(counters)]]
    if step == 3600:
        counted = [place for place in range(len(whole)) if hours[place % len(hours)] >= numbers[0]]
        found = [tally_whole(hashes[place]) for place in counted]
    sums = [dict.fromkeys(BASE, 0) for _ in numbers]
    for i, one in enumerate(found):
        for name in BASE:
            sums[i % len(numbers)][name] += one.get(name)
    times = histograms(*hashes)
    return History(
        queue,
        step,
        tuple(
            Minute(
                datetime.fromtimestamp(number * step, UTC),
                each["in"],
                each["started"],
                each["ok"],
                each["failed"],
                each["retried"],
                each["dead"],
                each["crashed"],
            )
            for number, each in zip(numbers, sums, strict=True)
        ),
        tuple(_times(times)),
    )


def _flat(reply: Any) -> Any:
    """Return a whole hash as field and value in turn, however the server gave it."""
    return [part for pair in reply.items() for part in pair] if isinstance(reply, dict) else reply


def _times(found: Histograms) -> list[Times]:
    made = []
    for (kind, task), buckets in sorted(found.items()):
        order = sorted(buckets)
        made.append(
            Times(
                cast(Literal["wait", "run"], kind),
                task,
                tuple(bound_s(bucket) for bucket in order),
                tuple(buckets[bucket] for bucket in order),
                percentile(buckets, 0.5),
                percentile(buckets, 0.95),
            )
        )
    return made
