"""What the counters of minutes and hours say: rates, percentiles, a forecast.

Pure: takes what was read and the server's time. The scripts that write the counters are `work.lua`,
`tend.lua` and `enqueue.lua`. What cannot be told is None.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "BASE",
    "NOTHING",
    "OF_TASK",
    "Histograms",
    "Tally",
    "failure_share",
    "fields_of",
    "forecast",
    "histograms",
    "percentile",
    "rate",
    "series",
    "tally",
    "tally_whole",
]

#: Counters of a whole queue.
BASE: Final = ("in", "started", "ok", "failed", "retried", "dead", "crashed")
#: Counters of a task that a failure share needs.
OF_TASK: Final = ("ok", "failed", "crashed")
#: Minutes that a rate looks back.
SPAN: Final = 5
_BASE_LOG: Final = math.log(1.25)

Histograms = dict[tuple[str, str], dict[int, int]]


@dataclass(frozen=True, slots=True)
class Tally:
    """The counters of one minute or hour; `tasks` are succeeded and failed runs of each task,
    `finished` the jobs that completed or died.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    finished: int = 0

    def get(self, name: str) -> int:
        """Return a counter of the whole queue."""
        return self.counts.get(name, 0)


NOTHING: Final = Tally()


def fields_of(tasks: Sequence[str]) -> tuple[str, ...]:
    """Return the fields to read of a minute or hour: those of the queue, then of tasks."""
    return (*BASE, *(f"{name}:{task}" for task in tasks for name in OF_TASK))


def tally(tasks: Sequence[str], reply: Any) -> Tally:
    """Return the counters from the reply to a read of `fields_of(tasks)`."""
    if not isinstance(reply, list) or not any(reply):
        return NOTHING
    numbers = [_int(raw) for raw in reply]
    counts = dict(zip(BASE, numbers, strict=False))
    of_tasks = {}
    for i, task in enumerate(tasks):
        ok, failed, crashed = numbers[len(BASE) + 3 * i : len(BASE) + 3 * i + 3]
        if ok or failed or crashed:
            of_tasks[task] = (ok, failed + crashed)
    return Tally(counts, of_tasks, counts["ok"] + counts["dead"])


def tally_whole(flat: Any) -> Tally:
    """Return the counters of a whole hour, field and value in turn; its jobs that came in are
    counted by task only.
    """
    if not isinstance(flat, list):
        return NOTHING
    counts = dict.fromkeys(BASE, 0)
    for name, raw in zip(flat[::2], flat[1::2], strict=False):
        word = "in" if name.startswith(b"in:") else name.decode("utf-8", "replace")
        if word in counts:
            counts[word] += _int(raw)
    return Tally(counts, {}, counts["ok"] + counts["dead"])


def rate(minutes: Mapping[int, Tally], now_ms: float, names: Sequence[str]) -> float:
    """Return how many of these counters there were a minute, over the last 5 minutes."""
    last = int(now_ms // 60000)
    total = sum(minutes.get(last - i, NOTHING).get(name) for i in range(SPAN) for name in names)
    return total / (SPAN - 1 + max(0.02, now_ms % 60000 / 60000))


def series(minutes: Mapping[int, Tally], now_ms: float, length: int) -> tuple[int, ...]:
    """Return the jobs finished in each of the last minutes, the current one last."""
    last = int(now_ms // 60000)
    return tuple(minutes.get(last - i, NOTHING).finished for i in reversed(range(length)))


def failure_share(tallies: Iterable[Tally], task: str, least: int = 1) -> float | None:
    """Return the share of a task's runs that failed, 0 to 1; None below `least` runs."""
    ok = failed = 0
    for each in tallies:
        one = each.tasks.get(task)
        if one:
            ok, failed = ok + one[0], failed + one[1]
    return failed / (ok + failed) if ok + failed >= least else None


def histograms(*replies: Any) -> Histograms:
    """Return the summed histograms of whole hashes, by kind (`wait` or `run`) and task."""
    found: Histograms = defaultdict(lambda: defaultdict(int))
    for reply in replies:
        flat = reply if isinstance(reply, list) else []
        for i in range(0, len(flat) - 1, 2):
            name = flat[i]
            if name.startswith((b"wait:", b"run:")):
                kind, bucket, task = name.decode("utf-8", "replace").split(":", 2)
                if bucket.isdigit():
                    found[kind, task][int(bucket)] += _int(flat[i + 1])
    return {key: dict(buckets) for key, buckets in found.items()}


def percentile(buckets: Mapping[int, int] | None, share: float) -> float | None:
    """Return the time in seconds that this share of a histogram stays below; None without data.

    Exact to an eighth: buckets grow by a quarter.
    """
    total = sum(buckets.values()) if buckets else 0
    if not buckets or total <= 0:
        return None
    left = share * total
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            break
    return (1.25 ** (bucket + 0.5) - 1) / 10_000 if bucket else 0.0


def bucket_of(ms: float) -> int:
    """Return the bucket that the scripts count a time in."""
    return math.floor(math.log(1 + 10 * max(ms, 0)) / _BASE_LOG)


def forecast(samples: Sequence[tuple[float, int]], least_s: float = 10.0) -> float | None:
    """Return seconds until pending is empty, given (seconds, pending) in order of time.

    0 when it is empty, infinite when it does not shrink, None before `least_s` were watched.
    """
    if not samples:
        return None
    end, pending = samples[-1]
    if pending == 0:
        return 0.0
    start, before = samples[0]
    if end - start < least_s:
        return None
    if before <= pending:
        return math.inf
    return pending * (end - start) / (before - pending)


def _int(raw: Any) -> int:
    try:
        return int(raw)
    except (TypeError, ValueError):
        return 0
