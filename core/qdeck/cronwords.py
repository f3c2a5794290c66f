"""Cron expressions and plain words: what an expression means, and the expression of a few words."""

from __future__ import annotations

import re
from typing import NamedTuple

from cron_descriptor import FormatError, MissingFieldError, Options, get_description

from qdeck.cron import Cron
from qdeck.cronfield import ALIASES, Field

__all__ = ["describe", "describe_field", "parse_words"]

_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

#: What reads better than the library's wording.
_CLEANER = (
    (" through ", " to "),
    ("only on ", ""),
    ("only in ", "in "),
    ("At 0 minutes past the hour", "Every hour"),
    (" and L of the month", " and the last day of the month"),
)


def describe(cron: Cron) -> str:
    """Returns what an expression means in words: `At 03:30, Monday to Friday`."""
    options = Options()
    options.use_24hour_time_format = True
    options.day_of_week_start_index_zero = True
    text = " ".join(map(_spelled, cron.fields))
    try:
        words = str(get_description(text, options))
    except (FormatError, MissingFieldError, ValueError, IndexError):
        return f"Cron {cron.expression}"
    for old, new in _CLEANER:
        words = words.replace(old, new)
    daily = all(_all(cron.field(name)) for name in ("day", "month", "weekday"))
    return f"{words}, every day" if daily and words.startswith("At ") else words


def _all(field: Field) -> bool:
    """Whether a field leaves nothing out, or says nothing."""
    return field.any or (field.kind.name == "weekday" and len(field.values) == 7)


def _spelled(field: Field) -> str:
    """Returns a field as the library spells it."""
    if _all(field):
        return "*"
    if field.step > 1 and len(field.values) == 1:
        return str(field.values[0])
    text = field.text.lower()
    if field.kind.name == "weekday":
        text = re.sub(r"([a-z]{3})[a-z]*l\b", lambda each: f"{_number(each[1])}L", text)
    text = re.sub(r"([a-z]{3})[a-z]+", r"\1", text)
    text = re.sub(r"\bl([0-7])", r"\1L", text)
    return re.sub(r"\bw(\d+)", r"\1W", text).upper()


def describe_field(field: Field) -> str:
    """Returns what one field stands for in a few characters: `Mon-Fri`, `every 15`, `3`."""
    if _all(field):
        return "every"
    stepped = re.fullmatch(r"(?:\*|0)/(\d+)", field.text)
    if stepped:
        return f"every {stepped[1]}"
    if not field.values:
        return field.text.upper()
    names = {"weekday": _WEEKDAYS, "month": _MONTHS}.get(field.kind.name)
    parts = []
    for first, last in _runs(field.values):
        low, high = (names[each - field.kind.low] if names else str(each) for each in (first, last))
        parts.append(low if first == last else f"{low}-{high}")
    if field.last:
        parts.append("last")
    return ",".join(parts)


def _runs(values: tuple[int, ...]) -> list[tuple[int, int]]:
    """Returns sorted numbers as (first, last) of what follows one another."""
    runs: list[tuple[int, int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs


class _Times(NamedTuple):
    """Times of a day as cron fields."""

    second: str
    minute: str
    hour: str

    def with_days(self, days: str) -> str:
        """Returns the expression of these times on days, given as the last three fields."""
        front = f"{self.second} " if self.second != "0" else ""
        return f"{front}{self.minute} {self.hour} {days}"


_NOISE = {"at", "on", "of", "the", "in", "each"}
_DAY_WORD = r"(?:(?:sun|mon|tues|wednes|thurs|fri|satur)days?|sun|mon|tue|wed|thu|fri|sat)"
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
_TIME = re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))?(am|pm)?", re.ASCII)
_PACE = re.compile(r"(\d+)(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)", re.ASCII)
_EVERY_DAY, _MONTHLY = "* * *", "1 * *"


def parse_words(text: str) -> str | None:
    """Returns the expression of plain words; None for what is none (an expression, or unknown).

    `every 15m`, `every 30s`, `every 2h`, `hourly`, `daily 03:00`, `weekdays 09:00`, `mon 9:00`,
    `mon,wed 9:00`, `mon-fri 17:30`, `1st of month`, `15th 6:00`, `last day`, `last fri 17:00`,
    `first mon`, `03:00`.
    """
    lowered = re.sub(r"\s*(?:,|\band\b)\s*", ",", text.strip().lower())
    words = [word for word in lowered.split() if word not in _NOISE]
    if not words or len(words) > 4 or words[0].startswith("@") or "*" in words:
        return None
    every = words[0] == "every"
    if every:
        words = words[1:]
    paced = _pace("".join(words)) if every else None
    if paced:
        return paced
    times = _times(words[-1], bare=len(words) == 2 and not every) if words else None
    head = words[:-1] if times else words
    return _days(head, every, times)


def _pace(text: str) -> str | None:
    """Returns the expression of a number and a unit; None when no even cron says it."""
    found = _PACE.fullmatch(text)
    if not found or int(found[1][:6]) == 0:
        return None
    count, unit = int(found[1][:6]), found[2][0]
    if unit == "s" and count % 60 == 0:
        count, unit = count // 60, "m"
    if unit == "m" and count % 60 == 0:
        count, unit = count // 60, "h"
    if unit == "h" and count % 24 == 0:
        count, unit = count // 24, "d"
    top = {"s": 60, "m": 60, "h": 24, "d": 31}[unit]
    if count >= top:
        return None
    step = "*" if count == 1 else f"*/{count}"
    patterns = {"s": "{} * * * * *", "m": "{} * * * *", "h": "0 {} * * *", "d": "0 0 {} * *"}
    return patterns[unit].format(step)


def _times(word: str, bare: bool) -> _Times | None:
    """Returns the times in a word such as `9:00`, `9am,5pm` or `noon`; with `bare` also `9`."""
    hours, minutes, seconds = [], set(), set()
    for each in word.split(","):
        spelled = {"noon": "12:00", "midnight": "0:00"}.get(each, each)
        found = _TIME.fullmatch(spelled)
        if not found or not (found[2] or found[4] or bare):
            return None
        hour, minute, second = int(found[1]), int(found[2] or 0), int(found[3] or 0)
        if found[4]:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if found[4] == "pm" else 0)
        if hour > 23 or minute > 59 or second > 59:
            return None
        hours.append(hour)
        minutes.add(minute)
        seconds.add(second)
    if len(minutes) > 1 or len(seconds) > 1:
        return None
    return _Times(str(seconds.pop()), str(minutes.pop()), ",".join(map(str, sorted(set(hours)))))


def _days(head: list[str], every: bool, times: _Times | None) -> str | None:
    """Returns the expression of the words before the time."""
    at = times or _Times("0", "0", "0")
    if not head:
        return at.with_days(_EVERY_DAY) if times else None
    first, rest = head[0], [word for word in head[1:] if word != "month"]
    alias = ALIASES.get(f"@{first}")
    if alias and not rest:
        if not times:
            return alias
        return None if first == "hourly" else at.with_days(alias.split(" ", 2)[2])
    fine = {"second": "* * * * * *", "minute": "* * * * *", "hour": "0 * * * *"}
    if every and head[1:] == [] and first in fine:
        return None if times else fine[first]
    named = {
        "day": _EVERY_DAY,
        "days": _EVERY_DAY,
        "weekday": "* * 1-5",
        "weekdays": "* * 1-5",
        "workdays": "* * 1-5",
        "weekend": "* * 0,6",
        "weekends": "* * 0,6",
        "week": "* * 0",
        "month": _MONTHLY,
        "year": "1 1 *",
    }
    if len(head) == 1 and first in named:
        return at.with_days(named[first])
    if first == "last" and rest in (["day"], []) and len(head) > 1:
        return at.with_days("L * *")
    weekday = re.fullmatch(_DAY_WORD, rest[0]) if len(rest) == 1 else None
    if weekday and first == "last":
        return at.with_days(f"* * {_number(rest[0])}L")
    nth = _ORDINALS.get(first) or _ordinal(first)
    if weekday and nth and nth <= 5:
        return at.with_days(f"* * {_number(rest[0])}#{nth}")
    days = [
        _ordinal(each) or (_ORDINALS.get(each) if head[1:] else None) for each in first.split(",")
    ]
    if all(days) and rest in ([], ["day"]):
        return at.with_days(f"{','.join(map(str, days))} * *")
    if len(head) == 1 and re.fullmatch(rf"{_DAY_WORD}(?:[,-]{_DAY_WORD})*", first):
        plain = re.sub(_DAY_WORD, lambda each: each[0][:3], first)
        return at.with_days(f"* * {plain}")
    return None


def _ordinal(word: str) -> int | None:
    found = re.fullmatch(r"(\d{1,2})(?:st|nd|rd|th)", word, re.ASCII)
    return int(found[1]) if found and 1 <= int(found[1]) <= 31 else None


def _number(weekday: str) -> int:
    return [name.lower() for name in _WEEKDAYS].index(weekday[:3])
