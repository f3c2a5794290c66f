"""What a queue has done since its first job: totals, counters of tasks, and times of runs.

The totals are counted as things happen. The counters of tasks and the times are kept by the hour;
upkeep adds hours that are over to those of all time (`life`), and what is read here adds the hours
that are not in there yet, so that no number ever goes back.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from qdeck.crew import server_ms
from qdeck.keys import QueueKeys
from qdeck.reader import Reader, number, text
from qdeck.stats import histograms

__all__ = ["COUNTED", "Lifetime", "read_lifetime"]

#: Hours that are kept until they are added.
_HOURS: Final = 960
#: Counters of a task.
COUNTED: Final = ("in", "started", "ok", "failed", "retried", "dead", "crashed")


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Numbers of one queue. `totals` go by name, `tasks` by task and counter, `errors` by task and
    exception class, `cron` by what became of a slot; `times` by kind (`wait`, `run`) and task, then
    bucket (see `stats`).
    """

    totals: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    errors: Mapping[tuple[str, str], int] = field(default_factory=dict)
    cron: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[tuple[str, str], Mapping[int, int]] = field(default_factory=dict)


async def read_lifetime(reader: Reader, keys: QueueKeys) -> Lifetime:
    """Return the numbers of a queue as of one moment, in two round trips; a third where upkeep is
    far behind.
    """
    clock, folded = await reader.read([("TIME",), ("HGET", keys.life, "folded")])
    this = int((server_ms(clock) or 0) // 3_600_000)
    first = max(int(number(folded) or 0) + 1, this - _HOURS)
    while True:
        hours = [("HGETALL", keys.hour(each)) for each in range(first, this + 1)]
        life, totals, enqueued, *rest = await reader.atomic(
            [
                ("HGETALL", keys.life),
                ("HGETALL", keys.totals),
                ("HGET", keys.meta, "enqueued"),
                *hours,
            ]
        )
        life = _flat(life)
        now_folded = int(_numbers(life).get("folded", 0))
        if now_folded < first:
            return _lifetime(life, totals, int(number(enqueued) or 0), rest)
        # An hour was added meanwhile; it is in `life` now.
        first = now_folded + 1


def _lifetime(life: list[Any], totals: Any, enqueued: int, hours: list[Any]) -> Lifetime:
    whole = [life, *(_flat(reply) for reply in hours)]
    tasks: dict[str, Counter[str]] = defaultdict(Counter)
    for reply in whole:
        for name, value in _numbers(reply).items():
            counter, colon, task = name.partition(":")
            if colon and counter in COUNTED:
                tasks[task][counter] += int(value)
    plain, errors, cron = {"enqueued": enqueued}, {}, {}
    for name, value in _numbers(_flat(totals)).items():
        kind, _, rest = name.partition(":")
        if kind == "error":
            task, _, kind_of = rest.rpartition(" ")
            errors[task, kind_of] = int(value)
        elif kind == "cron":
            cron[rest] = int(value)
        else:
            plain[name] = int(value)
    return Lifetime(plain, tasks, errors, cron, histograms(*whole))


def _flat(reply: Any) -> list[Any]:
    """Return a whole hash as field and value in turn, however the server gave it."""
    if isinstance(reply, dict):
        return [part for pair in reply.items() for part in pair]
    return reply if isinstance(reply, list) else []


def _numbers(flat: list[Any]) -> dict[str, float]:
    pairs = zip(flat[::2], flat[1::2], strict=False)
    return {text(name): value for name, raw in pairs if (value := number(raw)) is not None}
