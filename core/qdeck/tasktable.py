"""The tasks of one queue as rows: counts, failure shares, and times from the hours' histograms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from qdeck.admin import TaskRow
from qdeck.keys import QueueKeys
from qdeck.listing import paused_tasks
from qdeck.overview import Facts, Overview, parse_pause
from qdeck.reader import Reader, items, number, text
from qdeck.stats import NOTHING, Histograms, failure_share, histograms, percentile

__all__ = ["read_tasks"]

_MINUTES: Final = 60
#: Scans of the hash of tasks, each about 2,000 fields.
_SCANS: Final = 10


async def read_tasks(reader: Reader, overview: Overview, keys: QueueKeys) -> tuple[TaskRow, ...]:
    """Return the tasks of a queue, worst first; two round trips for a known queue."""
    facts = overview.facts.get(keys.queue)
    if facts is None:
        await overview.read([])
        facts = overview.facts.get(keys.queue) or Facts(keys)
    hour = int(overview.now_ms() // 3_600_000)
    missing = overview.missing_minutes(facts, _MINUTES)
    scanned, meta, *replies = await reader.read(
        [
            ("HSCAN", keys.tasks, 0, "COUNT", 2000),
            ("HGET", keys.meta, "paused_tasks"),
            ("HGETALL", keys.hour(hour)),
            ("HGETALL", keys.hour(hour - 1)),
            *missing,
        ]
    )
    overview.keep(facts, list(zip(missing, replies[2:], strict=True)))
    counts = await _counts(reader, keys, scanned)
    paused = paused_tasks(meta)
    marks = dict(
        zip(
            paused,
            await reader.read([("HGET", keys.meta, f"paused:{task}") for task in paused]),
            strict=True,
        )
    )
    times = histograms(*replies[:2])
    names = {*counts, *paused} - {"?"}
    rows = [_row(facts, task, overview, counts.get(task, {}), marks, times) for task in names]
    return tuple(sorted(rows, key=_badness))


async def _counts(reader: Reader, keys: QueueKeys, first: Any) -> dict[str, dict[str, int]]:
    """Return the counts by task and state, following the scan that `first` began."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    reply = first
    for _ in range(_SCANS):
        cursor, fields = reply if isinstance(reply, list) and len(reply) == 2 else (b"0", [])
        for name, raw in flat_pairs(fields):
            state, _, task = text(name).partition(":")
            found[task][state] = max(0, int(number(raw) or 0))
        if cursor == b"0":
            break
        reply = await reader.one("HSCAN", keys.tasks, cursor, "COUNT", 2000)
    return found


def flat_pairs(reply: Any) -> list[tuple[Any, Any]]:
    """Return the pairs of a reply that lists names and values in turn."""
    found = items(reply)
    return list(zip(found[::2], found[1::2], strict=False))


def _row(
    facts: Facts,
    task: str,
    overview: Overview,
    counts: Mapping[str, int],
    marks: Mapping[str, Any],
    times: Histograms,
) -> TaskRow:
    last = int(overview.now_ms() // 60000)
    recent = [facts.minutes.get(last - i, NOTHING) for i in range(_MINUTES)]
    pause = parse_pause(marks.get(task))
    return TaskRow(
        facts.keys.queue,
        task,
        counts.get("pending", 0),
        counts.get("running", 0),
        counts.get("scheduled", 0) + counts.get("retrying", 0),
        counts.get("dead", 0),
        failure_share(recent, task),
        percentile(times.get(("wait", task)), 0.5),
        percentile(times.get(("wait", task)), 0.95),
        percentile(times.get(("run", task)), 0.5),
        percentile(times.get(("run", task)), 0.95),
        pause,
    )


def _badness(row: TaskRow) -> tuple[float, int, int, str]:
    share = round(row.failure_share or 0.0, 1)
    return -share, -(row.dead or 0), -(row.pending or 0), row.task
