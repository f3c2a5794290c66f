"""Makes any text safe for a terminal cell, and turns values into the few words that fit in a
column.

Nothing here knows of widgets. Unknown values (None) become `?`, never 0.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

__all__ = [
    "age",
    "apart",
    "clock",
    "count",
    "cut",
    "day_or_clock",
    "drain",
    "duration",
    "fit",
    "memory",
    "moment",
    "percent",
    "plural",
    "prose",
    "rate",
    "safe",
    "short_id",
    "spark",
    "stamp",
    "term",
    "to_ascii",
    "width",
    "wrap",
]

BARS = "▁▂▃▄▅▆▇█"
_OWN_SIGNS = str.maketrans(
    {
        "─": "-", "│": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "●": "*", "○": "o", "…": "~",
        "·": ".", "▁": "_", "▂": "_", "▃": ".", "▄": "-", "▅": "=", "▆": "=", "▇": "#", "█": "#",
        "▒": ".", "→": ">", "↑": "^", "↓": "v", "▸": ">", "✓": "+", "✗": "x", "≥": ">",
        "•": "*",
    }
)  # fmt: skip


#: Seconds below which a forecast is rounded to so many seconds.
_STEPS = ((30, 1), (600, 5), (3600, 60), (36_000, 600), (172_800, 3600), (864_000, 21_600))


def safe(text: str) -> str:
    """Return text in which every character takes up its own cells and commands nothing.

    Control characters, escapes, bidi marks, zero-width and combining marks, emoji, private and
    unassigned characters become `·`; line breaks and tabs become a space. Letters of any script
    stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return _safe(text) if len(text) <= 400 else _translate(text)


@lru_cache(maxsize=4096)
def _safe(text: str) -> str:
    return _translate(text)


def _translate(text: str) -> str:
    return "".join(map(_safe_character, text))


@lru_cache(maxsize=4096)
def _safe_character(character: str) -> str:
    if character in "\n\r\t\v\f\u2028\u2029":
        return " "
    category = unicodedata.category(character)
    if category[0] in "CM":
        return "·"
    if category == "Zs":
        return " "
    if unicodedata.east_asian_width(character) in "WF" and category[0] not in "LP":
        return "·"
    return "·" if 0x115F <= ord(character) <= 0x1160 or character in "\u3164\uffa0" else character


def to_ascii(text: str) -> str:
    """Return text in ASCII: own signs get their stand-ins, anything else becomes `?`, wide
    characters two of them.
    """
    if text.isascii():
        return text
    text = text.translate(_OWN_SIGNS)
    return "".join(c if c.isascii() else "?" * _cells(c) for c in text)


@lru_cache(maxsize=4096)
def _cells(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def width(text: str) -> int:
    """Return the number of cells that safe text takes up."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def cut(text: str, cells: int) -> str:
    """Return safe text of at most `cells` cells, ending in `…` where something was left out."""
    if len(text) > cells * 2 + 8:
        text = text[: cells * 2 + 8]
    text = safe(text)
    if width(text) <= cells:
        return text
    if cells <= 0:
        return ""
    if text.isascii():
        return text[: cells - 1] + "…"
    kept, used = [], 0
    for character in text:
        used += _cells(character)
        if used > cells - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def fit(text: str, cells: int, right: bool = False) -> str:
    """Return safe text of exactly `cells` cells, cut or padded."""
    text = cut(text, cells)
    space = " " * (cells - width(text))
    return space + text if right else text + space


def wrap(text: str, cells: int) -> list[str]:
    """Return one logical line as safe lines of at most `cells` cells, broken anywhere."""
    text = safe(text.replace("\t", "    "))
    if cells < 1 or width(text) <= cells:
        return [text]
    if text.isascii():
        return [text[at : at + cells] for at in range(0, len(text), cells)]
    lines, line, used = [], "", 0
    for character in text:
        size = _cells(character)
        if used + size > cells:
            lines.append(line)
            line, used = "", 0
        line += character
        used += size
    return [*lines, line]


def prose(text: str, cells: int) -> list[str]:
    """Return a sentence as safe lines broken between words, where words are short enough."""
    lines: list[str] = []
    line = ""
    for word in safe(text).split(" "):
        if line and width(line) + 1 + width(word) > cells:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [part for each in [*lines, line] for part in wrap(each, cells)]


def count(number: int | None) -> str:
    """Return a count with separators: `1,204`."""
    return "?" if number is None else f"{number:,}"


def plural(number: int, noun: str) -> str:
    """Return `1 job`, `1,204 jobs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def age(seconds: float | None) -> str:
    """Return an age in one unit, coarse enough not to tick: `4s`, `20s`, `41m`, `2h`, `3d`."""
    if seconds is None:
        return "?"
    whole = max(0, int(seconds))
    if whole < 10:
        return f"{whole}s"
    if whole < 60:
        return f"{whole - whole % 10}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 172_800:
        return f"{whole // 3600}h"
    return f"{whole // 86_400}d"


def apart(seconds: float) -> str:
    """Return how far ahead a time is, from a day on in two units: `17m`, `23h`, `1d 21h`, `12d`."""
    hours = max(0, int(seconds)) // 3600
    if not 24 <= hours < 240:
        return age(seconds)
    return f"{hours // 24}d {hours % 24}h" if hours % 24 else f"{hours // 24}d"


def duration(seconds: float | None) -> str:
    """Return a length of time as measured: `0.2s`, `12ms`, `4m10s`."""
    if seconds is None:
        return "?"
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    if seconds < 3600:
        return f"{seconds // 60:.0f}m{seconds % 60:02.0f}s"
    return f"{seconds // 3600:.0f}h{seconds % 3600 // 60:02.0f}m"


def drain(seconds: float | None) -> str:
    """Return a forecast: `45s`, `7m20s`, `41m`, `1h20m`, `2d6h`; `never` when it does not shrink,
    `?` when unknown.

    From 5 s on it is rounded by less than a tenth, in steps that do not tick.
    """
    if seconds is None:
        return "?"
    if math.isinf(seconds):
        return "never"
    step = next((step for below, step in _STEPS if seconds < below), 86_400)
    whole = max(0, round(seconds / step) * step)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return _pair(whole // 60, "m", whole % 60, "s")
    if whole < 172_800:
        return _pair(whole // 3600, "h", whole % 3600 // 60, "m")
    return _pair(whole // 86_400, "d", whole % 86_400 // 3600, "h")


def _pair(large: int, unit: str, small: int, part: str) -> str:
    return f"{large}{unit}{small}{part}" if small else f"{large}{unit}"


def rate(each_minute: float | None) -> str:
    """Return a rate in two digits, which do not tick while it fades: `0.3`, `48`, `1,700`."""
    if each_minute is None:
        return "?"
    if each_minute < 10:
        return f"{each_minute:.1f}" if each_minute else "0"
    step = 10 ** (len(str(int(each_minute))) - 2)
    return f"{round(each_minute / step) * step:,}"


def percent(share: float | None) -> str:
    """Return a share of 0 to 1 as `98%`."""
    return "?" if share is None else f"{share * 100:.0f}%"


def memory(size: int | None) -> str:
    """Return bytes as `2.1G`, in steps that do not tick."""
    if size is None:
        return "?"
    for unit, factor in (("G", 1 << 30), ("M", 1 << 20)):
        if size >= factor:
            value = size / factor
            return f"{value:.1f}{unit}" if value < 10 and unit == "G" else f"{value:.0f}{unit}"
    return f"{size / 1024:.0f}K"


def spark(values: Sequence[int], cells: int) -> str:
    """Return a sparkline of the last `cells` groups of values; a flat zero is a flat line."""
    if not values or cells < 1:
        return ""
    step = max(1, math.ceil(len(values) / cells))
    start = len(values) % step
    sums = [sum(values[at : at + step]) for at in range(start, len(values), step)]
    top = max(sums)
    if top <= 0:
        return BARS[0] * len(sums)
    return "".join(
        BARS[0 if value <= 0 else max(1, round(value / top * (len(BARS) - 1)))] for value in sums
    )


def short_id(identifier: str) -> str:
    """Return the last 8 characters of an id."""
    return safe(identifier[-8:])


def clock(at: datetime | None, zone: tzinfo = UTC) -> str:
    """Return hours and minutes: `03:12`."""
    return "?" if at is None else at.astimezone(zone).strftime("%H:%M")


def day_or_clock(at: datetime | None, now: datetime, zone: tzinfo = UTC) -> str:
    """Return a time in 6 cells: `02:31` of today, `Nov 02` of the year before now, else `2024`."""
    if at is None:
        return "?"
    here = at.astimezone(zone)
    if here.date() == now.astimezone(zone).date():
        return here.strftime("%H:%M")
    return here.strftime("%b %d" if abs(now - at) < timedelta(days=300) else "%Y")


def term(seconds: float) -> str:
    """Return a length of time that somebody has set: `30 d`, `12 h`, `90 s`."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:,.0f} {unit}"
    return f"{seconds:,.0f} s"


def stamp(at: datetime | None, zone: tzinfo = UTC) -> str:
    """Return a time to the second, with its zone: `2026-11-21 03:12:04 UTC`."""
    return "?" if at is None else at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def moment(at: datetime | None, now: datetime, zone: tzinfo = UTC) -> str:
    """Return a time relative and absolute: `in 2m 03:14`, `41m ago 02:31`, with the day when it is
    another.
    """
    if at is None:
        return "?"
    apart = (at - now).total_seconds()
    here = at.astimezone(zone)
    same_day = abs(at - now) < timedelta(hours=20) and here.date() == now.astimezone(zone).date()
    absolute = here.strftime("%H:%M" if same_day else "%d %b %H:%M")
    return f"in {age(apart)} {absolute}" if apart > 0 else f"{age(-apart)} ago {absolute}"
