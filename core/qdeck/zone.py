"""Time zones by name, and the stretches between two changes of a zone's offset.

It knows nothing of schedules. Times are whole seconds: of UTC since 1970, or of a zone's wall clock
counted the same way (the wall clock read as if it were UTC).
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from qdeck.errors import SettingsError

__all__ = ["Stretch", "Timeline", "find_zone", "timeline", "zone_names"]

#: Between two looks for a change; no zone has changed its offset twice within six hours.
_LOOK = 6 * 3600

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def zone_names() -> tuple[str, ...]:
    """Returns the names of all known zones, sorted."""
    return tuple(sorted(available_timezones()))


@lru_cache(maxsize=1024)
def find_zone(name: str) -> ZoneInfo:
    """Returns the zone of a name such as `Europe/Berlin`.

    Raises `SettingsError` for an unknown one, with the nearest known names.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    folded = {known.lower(): known for known in zone_names()}
    cities = {known.rpartition("/")[2].lower(): known for known in zone_names()}
    wanted = name.strip().lower().replace(" ", "_")
    near = [folded[each] for each in get_close_matches(wanted, folded, n=3, cutoff=0.75)]
    near += [cities[each] for each in get_close_matches(wanted, cities, n=2, cutoff=0.8)]
    if len(wanted) > 2:
        near += [known for folds, known in folded.items() if wanted in folds][:3]
    some = ", ".join(dict.fromkeys(near)) or "names look like Europe/Berlin or UTC"
    hint = f"did you mean {some}?" if near else some
    raise SettingsError(f"time zone {name!r} is unknown; {hint}")


class Stretch(NamedTuple):
    """A time of one offset, in seconds: UTC from `start` up to but not `end`, and the offset
    `before` it.
    """

    start: int
    end: int
    offset: int
    before: int


class Timeline:
    """The stretches of one zone, found year by year as they are asked for and then kept."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._years: dict[int, tuple[list[int], list[Stretch]]] = {}

    def offset(self, moment: int) -> int:
        """Returns the offset from UTC at a moment."""
        local = (_EPOCH + timedelta(seconds=moment)).astimezone(self._zone)
        return round((local.utcoffset() or timedelta()).total_seconds())

    def stretch(self, moment: int) -> Stretch:
        """Returns the stretch that holds a moment; one that goes over a year's end is cut there.

        A cut end is a change of nothing: `before` and `offset` of the next are then equal.
        """
        year = (_EPOCH + timedelta(seconds=moment)).year
        found = self._years.get(year)
        if found is None:
            stretches = self._look(year)
            found = self._years[year] = ([each.start for each in stretches], stretches)
        starts, stretches = found
        return stretches[bisect_right(starts, moment) - 1]

    def _look(self, year: int) -> list[Stretch]:
        first = _seconds(datetime(year, 1, 1, tzinfo=UTC))
        last = _seconds(datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)) + 1
        stretches = []
        start, before = first, self.offset(first - 1)
        offset = self.offset(first)
        for look in range(first + _LOOK, last + 1, _LOOK):
            if self.offset(look - 1) != offset:
                change = self._change(look - _LOOK - 1, look - 1, offset)
                stretches.append(Stretch(start, change, offset, before))
                start, before, offset = change, offset, self.offset(change)
        stretches.append(Stretch(start, last, offset, before))
        return stretches

    def _change(self, low: int, high: int, offset: int) -> int:
        """Returns the first moment of another offset in (low, high]."""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.offset(middle) == offset else (low, middle)
        return high


def _seconds(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds())


@lru_cache(maxsize=1024)
def timeline(zone: ZoneInfo) -> Timeline:
    """Returns the stretches of a zone."""
    return Timeline(zone)
