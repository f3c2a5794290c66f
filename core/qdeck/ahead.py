"""What all schedules will start in the coming hours, so that pile-ups are seen before they come.

Pure but for giving way to others: expressions, zones and times are given. A thousand schedules cost
some milliseconds: an expression is asked once for a day, and its times of a day are counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from qdeck.admin.cronview import Ahead, AheadHour
from qdeck.cron import Cron
from qdeck.zone import find_zone, timeline

__all__ = ["MOST", "Coming", "look_ahead"]

#: Schedules that are looked at, and those of the fullest minute that are named.
MOST: Final = 1000
_NAMED: Final = 8
#: Up to so many runs an hour, a day with a change of the clock is counted run by run.
_FINE: Final = 12
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400


class Coming(NamedTuple):
    """A schedule that will fire, from `start` on where it is off until then."""

    name: str
    cron: Cron
    zone: str
    start: datetime | None = None


async def look_ahead(
    schedules: Sequence[Coming], start: datetime, now: datetime, hours: int
) -> Ahead:
    """Return what starts from `now` on, counted by the hours after `start` (both aware)."""
    first, least = _seconds(start), _seconds(now)
    last = first + hours * 3600
    runs = [0] * hours
    busy = [0] * hours
    minutes: Counter[int] = Counter()
    for at, each in enumerate(schedules[:MOST]):
        if at % 50 == 49:
            await asyncio.sleep(0)
        begin = max(first, least, _seconds(each.start) if each.start else 0)
        own: Counter[int] = Counter()
        for minute, count in _starts(each, begin, last):
            own[max(0, minute - first) // 3600] += count
            minutes[minute] += 1
        for hour, count in own.items():
            runs[hour] += count
            busy[hour] += 1
    peak, together = 0, 0
    for minute in sorted(minutes):
        if minutes[minute] > together:
            peak, together = minute, minutes[minute]
    names = [
        each.name
        for each in schedules[:MOST]
        if together > 1 and any(_starts(each, max(peak, least), peak + 60))
    ]
    return Ahead(
        tuple(
            AheadHour(start + timedelta(hours=hour), busy[hour], runs[hour])
            for hour in range(hours)
        ),
        _EPOCH + timedelta(seconds=peak) if together else None,
        together,
        tuple(names[:_NAMED]),
        max(0, len(schedules) - MOST),
    )


def _starts(each: Coming, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the minutes of [first, last) in which a schedule fires, and how often; in seconds."""
    cron, line = each.cron, timeline(find_zone(each.zone))
    stretch = line.stretch(first)
    pieces = [(first, min(last, stretch.end), stretch.offset)]
    while stretch.end < last:
        stretch = line.stretch(stretch.end)
        pieces.append((stretch.start, min(last, stretch.end), stretch.offset))
    if len({offset for *_, offset in pieces}) > 1 and cron.an_hour <= _FINE:
        slots = cron.slots(_at(first), _at(last), each.zone)
        yield from Counter(_seconds(slot) // 60 * 60 for slot in slots).items()
        return
    for begin, end, offset in pieces:
        yield from _by_the_clock(cron, begin, end, offset)


def _by_the_clock(cron: Cron, first: int, last: int, offset: int) -> Iterator[tuple[int, int]]:
    """Yield what a time of one offset holds: on the days that fit, all times of a day."""
    hours, minutes, seconds = cron.clocks
    for day in range((first + offset) // _DAY, (last - 1 + offset) // _DAY + 1):
        if not _fires(cron.expression, day):
            continue
        midnight = day * _DAY - offset
        for hour in hours:
            for each in minutes:
                minute = midnight + hour * 3600 + each * 60
                if minute >= first and minute + 60 <= last:
                    yield minute, len(seconds)
                elif first - 60 < minute < last:
                    count = sum(1 for second in seconds if first <= minute + second < last)
                    if count:
                        yield minute, count


@lru_cache(maxsize=16_384)
def _fires(expression: str, day: int) -> bool:
    """Whether an expression fires on a day, counted since 1970."""
    begin = _EPOCH + timedelta(days=day)
    return any(Cron.parse(expression).slots(begin, begin + timedelta(days=1), "UTC", 1))


def _seconds(moment: datetime) -> int:
    """Return whole seconds since 1970, rounded up: what fired within this second is past."""
    return -((_EPOCH - moment) // timedelta(seconds=1))


def _at(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)
