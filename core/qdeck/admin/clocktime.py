"""Moments as an operator writes them: `mon 9:00`, `+2h`, `tomorrow 8:00`, `2026-11-23 09:00`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

__all__ = ["parse_moment"]

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY = re.compile(
    r"(?:next )?(?:(mon|tue|wed|thu|fri|sat|sun)|(mon|tues|wednes|thurs|fri|satur|sun)day)"
)
_PART = r"\d{1,6} ?(?:s|sec|secs|m|min|mins|minutes?|h|hours?|d|days?|w|weeks?)"
_AFTER = re.compile(rf"(?:\+ ?|in )?((?:{_PART} ?)+)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TIME = re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))?(am|pm)?", re.ASCII)


def parse_moment(text: str, now: datetime, zone: tzinfo) -> datetime:
    """Returns the moment that a text names, in UTC; wall clocks are those of `zone`.

    A weekday or a time alone is the next one after `now` (aware). Raises `ValueError` with one line
    for what it does not understand and for a moment that is past.
    """
    words = " ".join(text.lower().replace(",", " ").split())
    relative = _AFTER.fullmatch(words)
    if relative:
        return now.astimezone(UTC) + timedelta(seconds=_span(relative[1]))
    found = _iso(text.strip(), zone) or _worded(words.replace(" at ", " "), now, zone)
    if found is None:
        raise ValueError(
            f"{text.strip()!r} is no time; write mon 9:00, tomorrow 8:00, +2h or 2026-11-23 09:00"
        )
    if found <= now:
        raise ValueError(f"{text.strip()!r} is in the past; write a later time")
    return found


def _span(text: str) -> int:
    """Returns the seconds of `1h 30m`."""
    parts = re.findall(r"(\d+) ?([smhdw])", text)
    return min(sum(int(number) * _UNITS[unit] for number, unit in parts), 10**9)


def _iso(text: str, zone: tzinfo) -> datetime | None:
    if not re.match(r"\d{4}-", text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _instant(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def _instant(moment: datetime) -> datetime | None:
    """Returns an aware moment in UTC; None beyond what can be told."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None


def _worded(words: str, now: datetime, zone: tzinfo) -> datetime | None:
    """Returns the next moment of a day and a time in words, or of a time alone."""
    head, _, last = words.rpartition(" ")
    time = _time(last, bare=bool(head))
    day = words if time is None else head
    hour, minute, second = time or (0, 0, 0)
    here = now.astimezone(zone)
    wall = here.replace(hour=hour, minute=minute, second=second, microsecond=0, fold=0)
    if not words:
        return None
    if not day:
        return _instant(wall if wall > here else wall + timedelta(days=1))
    if day in ("today", "tomorrow"):
        return _instant(wall + timedelta(days=int(day == "tomorrow")))
    named = _WEEKDAY.fullmatch(day)
    if named is None:
        return None
    ahead = (_WEEKDAYS.index((named[1] or named[2])[:3]) - here.weekday()) % 7
    wall += timedelta(days=ahead)
    return _instant(wall if wall > here else wall + timedelta(days=7))


def _time(word: str, bare: bool) -> tuple[int, int, int] | None:
    """Returns hour, minute and second of `9:00`, `9pm`, `noon`; with `bare` also of `9`."""
    found = _TIME.fullmatch({"noon": "12:00", "midnight": "0:00"}.get(word, word))
    if not found or not (found[2] or found[4] or bare):
        return None
    hour, minute, second = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    if found[4]:
        hour = hour % 12 + (12 if found[4] == "pm" else 0) if 1 <= hour <= 12 else 24
    return (hour, minute, second) if hour < 24 and minute < 60 and second < 60 else None
