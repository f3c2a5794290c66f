"""A cron expression: what it says, and the instants at which it fires in a time zone.

Fields are minute, hour, day, month, weekday, or those six with second in front. Sunday is 0 and 7.
A day and a weekday that are both given mean either of them, as in cron. The arithmetic on wall
clocks is croniter's; the mapping of wall clocks to instants is here:

- A wall time that a change of the clock skips fires at the first instant after the gap, once.
- One that comes twice fires the first time.
- A schedule finer than an hour keeps its pace instead. Written as an interval (`*/15`, `*`,
  `0-30`), or with several times in every hour of the day, it fires in both passes of a repeated
  hour; and over all hours of the day it adds nothing after a gap, its next time being near.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from threading import local
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, CroniterError, croniter

from qdeck.cronfield import ALIASES, FIELDS, Field, read_field
from qdeck.errors import InvalidCron
from qdeck.zone import Timeline, find_zone, timeline

__all__ = ["Cron"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TWO_DAYS = 2 * 86400

#: The days that each month can have.
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTHS = "January February March April May June July August September October November December"


class _Clocks(local):
    """The croniter objects of one thread: they hold a position, so no two threads share one."""

    def __init__(self) -> None:
        self.known: dict[str, croniter] = {}

    def get(self, plain: str) -> croniter:
        """Returns the object of an expression."""
        clock = self.known.get(plain)
        if clock is None:
            if len(self.known) >= 4096:
                self.known.clear()
            clock = croniter(plain, 0.0, second_at_beginning=True)
            self.known[plain] = clock
        return clock


_clocks = _Clocks()


@dataclass(frozen=True, slots=True)
class Cron:
    """A valid expression. `expression` is as given but for spaces and letter case, `fields` what it
    says from left to right, `plain` the same in numbers.

    `an_hour` is how many times it fires in an hour in which it fires. A `steady` one fires several
    times in every hour of a day, and so keeps its pace over any change of the clock; one that
    `repeats` fires in both passes of an hour that the clock goes through twice. `clocks` are all
    its hours, minutes and seconds.
    """

    expression: str
    fields: tuple[Field, ...]
    plain: str
    an_hour: int = field(compare=False, repr=False)
    steady: bool = field(compare=False, repr=False)
    repeats: bool = field(compare=False, repr=False)
    clocks: tuple[frozenset[int], frozenset[int], frozenset[int]] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, expression: str) -> Cron:
        """Returns the meaning of an expression.

        Raises `InvalidCron`, whose `field` is the one at fault ("" for the whole), also when it
        can never fire.
        """
        return _parsed(" ".join(expression.split()))

    @classmethod
    def _read(cls, given: str) -> Cron:
        words = ALIASES.get(given.lower(), given).split()
        if given.startswith("@") and given.lower() not in ALIASES:
            raise InvalidCron(f"{given!r} is no schedule; write one of {', '.join(ALIASES)}")
        if len(words) not in (5, 6):
            raise InvalidCron(
                f"{given!r} has {len(words)} fields; write five (minute hour day month weekday), or"
                " six with the second in front"
            )
        kinds = FIELDS[-len(words) :]
        fields = tuple(
            read_field(kind, word, given) for kind, word in zip(kinds, words, strict=True)
        )
        at = {each.kind.name: each for each in fields}
        second = at.get("second") or read_field(FIELDS[0], "0", given)
        minute, hour = at["minute"], at["hour"]
        an_hour = len(minute.values) * len(second.values)
        steady = an_hour > 1 and len(hour.values) == 24
        fine = [each for each in (second, minute) if len(each.values) > 1]
        repeats = steady or any(each.interval for each in fine)
        clocks = (frozenset(hour.values), frozenset(minute.values), frozenset(second.values))
        plain = " ".join(each.plain for each in fields)
        cron = cls(given, fields, plain, an_hour, steady, repeats, clocks)
        cron._check()
        return cron

    def field(self, name: str) -> Field:
        """Returns one field by its name; without a `second` it is second 0."""
        for each in self.fields:
            if each.kind.name == name:
                return each
        return read_field(FIELDS[0], "0", self.expression)

    def after(self, moment: datetime, zone: str | ZoneInfo) -> datetime | None:
        """Returns the first slot strictly later than an aware moment, in UTC.

        None when none comes within 50 years.
        """
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no time zone; give an aware datetime")
        line = timeline(find_zone(zone) if isinstance(zone, str) else zone)
        seconds = (moment - _EPOCH) // timedelta(seconds=1)
        try:
            found = self._after(seconds, line)
            return None if found is None else _EPOCH + timedelta(seconds=found)
        except (OverflowError, ValueError):
            return None

    def slots(
        self, start: datetime, end: datetime, zone: str | ZoneInfo, limit: int | None = None
    ) -> Iterator[datetime]:
        """Yields the slots from `start` up to but not `end`, oldest first, at most `limit`."""
        slot = self.after(start - timedelta(microseconds=1), zone)
        count = 0
        while slot is not None and slot < end and (limit is None or count < limit):
            yield slot
            count += 1
            slot = self.after(slot, zone)

    def _after(self, moment: int, line: Timeline) -> int | None:
        """Returns the first slot after a moment, in seconds: stretch by stretch of one offset."""
        steady, repeats = self.steady, self.repeats
        stretch = line.stretch(moment)
        while True:
            start, end, offset, before = stretch
            wall = max(moment, start - 1) + offset
            if start > moment and offset > before and not steady:
                skipped = self._wall_after(start + before - 1)
                if skipped is None or skipped < start + offset:
                    return None if skipped is None else start
            if offset < before and not repeats:
                wall = max(wall, start + before - 1)
            found = self._wall_after(wall)
            if found is None:
                return None
            if found - offset < end:
                return found - offset
            # No wall time up to the one found matches, so what lies well before it is passed over.
            moment = max(end - 1, found - offset - _TWO_DAYS)
            stretch = line.stretch(moment + 1)

    def _wall_after(self, wall: int) -> int | None:
        """Returns the first matching wall time strictly after one; None when there is none."""
        clock = _clocks.get(self.plain)
        try:
            return int(clock.get_next(float, start_time=float(wall)))
        except CroniterBadDateError:
            return None

    def _check(self) -> None:
        """Refuses what croniter cannot read and what never fires."""
        day, month = self.field("day"), self.field("month")
        if day.values and not day.last and self.field("weekday").any:
            longest = max(_LENGTHS[number - 1] for number in month.values)
            if min(day.values) > longest:
                names = _MONTHS.split()
                these = " and ".join(names[number - 1] for number in month.values)
                raise InvalidCron(
                    f"{self.expression!r} never fires: there is no day {min(day.values)} in"
                    f" {these}; choose another day or month",
                    field="day",
                )
        try:
            found = self._wall_after(0)
        except CroniterError as error:
            raise InvalidCron(
                f"{self.expression!r} does not parse: {error}; see `qdeck schedule --help`"
            ) from None
        if found is None:
            raise InvalidCron(
                f"{self.expression!r} never fires within 50 years; choose another day or month",
                field="day",
            )


@lru_cache(maxsize=4096)
def _parsed(given: str) -> Cron:
    """Returns the meaning of an expression; thousands are looked at again and again."""
    return Cron._read(given)
