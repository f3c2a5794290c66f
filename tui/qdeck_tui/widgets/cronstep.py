"""Steps the number under the cursor of a cron expression, round and round within its field."""

from __future__ import annotations

import re

__all__ = ["PRESETS", "legend", "step_number"]

#: What Ctrl+T puts in, one after the other.
PRESETS = ("every 15m", "hourly", "daily 03:00", "weekdays 09:00", "1st of month", "last day")

#: Lowest and highest number of a field, from the right; the seventh from the right is none.
_BOUNDS = ((0, 6), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59))
_NUMBER = re.compile(r"\d+")

#: Fields that are called otherwise than in an expression.
NAMES = {"weekday": "day of week"}


def step_number(text: str, at: int, by: int) -> tuple[str, int]:
    """Return the text with the number at or before the cursor changed by a step, and the cursor.

    In plain words a time such as `9:00` steps within the clock.
    """
    numbers = [found for found in _NUMBER.finditer(text) if found.start() <= at]
    if not numbers:
        numbers = list(_NUMBER.finditer(text))[:1]
    if not numbers:
        return text, at
    found = numbers[-1]
    low, high = _bounds(text, found)
    value = (int(found[0][:6]) - low + by) % (high - low + 1) + low
    digits = f"{value:0{len(found[0])}d}" if found[0].startswith("0") and len(found[0]) > 1 else ""
    new = digits or str(value)
    end = found.start() + len(new)
    return text[: found.start()] + new + text[found.end() :], max(found.start(), min(at, end))


def _bounds(text: str, found: re.Match[str]) -> tuple[int, int]:
    words = text.split()
    if text[found.start() - 1 : found.start()] == ":":
        return 0, 59
    if text[found.end() : found.end() + 1] == ":":
        return 0, 23
    if len(words) in (5, 6) and not any(":" in word for word in words):
        place = len(text[: found.end()].split())
        low, high = _BOUNDS[len(words) - place]
        step = text[found.start() - 1 : found.start()] == "/"
        return (1, max(1, high)) if step else (low, high)
    return 1, 99


def legend(text: str, fields: tuple[tuple[str, str], ...]) -> list[str]:
    """Return a line under an expression for each field, from right to left, with what it means;
    none where the text is no expression of so many fields.
    """
    starts = [found.start() for found in re.finditer(r"\S+", text)]
    if len(starts) != len(fields):
        return []
    lines = []
    for place in range(len(fields) - 1, -1, -1):
        name, meaning = fields[place]
        bars = [" "] * starts[place]
        for start in starts[:place]:
            bars[start] = "|"
        dashes = "-" * (starts[-1] - starts[place] + 2)
        lines.append(f"{''.join(bars)}+{dashes} {NAMES.get(name, name):<12} {meaning}")
    return lines
