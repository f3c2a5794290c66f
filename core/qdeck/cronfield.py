"""One field of a cron expression: its words, its numbers, and what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from qdeck.errors import InvalidCron

__all__ = ["ALIASES", "FIELDS", "Field", "Kind", "read_field"]

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_DAYS = "sunday monday tuesday wednesday thursday friday saturday"
_MONTHS = "january february march april may june july august september october november december"


def _names(text: str, first: int) -> dict[str, int]:
    """Returns the number of each name, whole or by its first three letters."""
    numbers = {}
    for number, name in enumerate(text.split(), first):
        numbers[name] = numbers[name[:3]] = number
    return numbers


class Kind(NamedTuple):
    """What a field may hold: numbers from `low` to `high`, names, and whether a range may go over
    the end (`fri-mon`, `22-4`).
    """

    name: str
    low: int
    high: int
    names: dict[str, int]
    wraps: bool


#: From left to right; five-field expressions leave the first out.
FIELDS = (
    Kind("second", 0, 59, {}, False),
    Kind("minute", 0, 59, {}, False),
    Kind("hour", 0, 23, {}, True),
    Kind("day", 1, 31, {}, False),
    Kind("month", 1, 12, _names(_MONTHS, 1), True),
    Kind("weekday", 0, 7, _names(_DAYS, 0), True),
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field as read. `values` are all numbers it stands for (Sunday is 0), without `L`, `15W`,
    `5#2` and `L5`; `any` means `*` or `?`; `interval` that it is written with `*`, `/` or a range;
    `step` is the largest step it names, `plain` what croniter is given.
    """

    kind: Kind
    text: str
    values: tuple[int, ...]
    any: bool
    last: bool
    interval: bool
    step: int
    plain: str


def read_field(kind: Kind, text: str, expression: str) -> Field:
    """Returns what a field says; raises `InvalidCron` with the field, the value and what is
    allowed.
    """
    word = text.lower()
    if word == "*" or (word == "?" and kind.name in ("day", "weekday")):
        high = 6 if kind.name == "weekday" else kind.high
        return Field(kind, text, tuple(range(kind.low, high + 1)), True, False, True, 1, "*")
    values: set[int] = set()
    special: list[str] = []
    step = 1
    for item in word.split(","):
        odd = _special(kind, item)
        if odd:
            special.append(odd)
            continue
        numbers, each = _Item(kind, item, expression).read()
        values.update(numbers)
        step = max(step, each)
    if values and any(each != "l" for each in special):
        raise _wrong(
            kind, text, expression, "mixes a counted day with plain ones; make two schedules of it"
        )
    plain = ",".join([*map(str, sorted(values)), *special])
    last = "l" in special
    interval = bool(re.search(r"[*/-]", word))
    return Field(kind, text, tuple(sorted(values)), False, last, interval, step, plain)


def _special(kind: Kind, item: str) -> str:
    """Returns croniter's spelling of an item that counts within the month, or ""."""
    if kind.name == "day":
        nearest = re.fullmatch(r"(\d{1,2})w|w(\d{1,2})", item)
        if nearest:
            number = int(nearest[1] or nearest[2])
            return f"{number}w" if 1 <= number <= 31 else ""
        return "l" if item == "l" else ""
    if kind.name != "weekday":
        return ""
    counted = re.fullmatch(r"(\w+)#([1-5])", item)
    final = re.fullmatch(r"l([0-7])|([0-7]|[a-z]{3,})l", item)
    if counted:
        weekday = _day(kind, counted[1])
        return "" if weekday is None else f"{weekday}#{counted[2]}"
    if final:
        weekday = _day(kind, final[1] or final[2])
        return "" if weekday is None else f"l{weekday}"
    return ""


def _day(kind: Kind, word: str) -> int | None:
    """Returns the number of a weekday, 0 to 6; None for anything else."""
    number = kind.names.get(word)
    if number is None and word.isascii() and word.isdigit() and int(word) <= kind.high:
        number = int(word)
    return None if number is None else number % 7


class _Item(NamedTuple):
    """One item of a list: a number, a name, a range, each with or without a step."""

    kind: Kind
    text: str
    expression: str

    def read(self) -> tuple[list[int], int]:
        """Returns its numbers and its step."""
        kind = self.kind
        body, slash, pace = self.text.partition("/")
        step = self._step(pace) if slash else 1
        highest = 6 if kind.name == "weekday" else kind.high
        low_word, dash, high_word = body.partition("-")
        if body == "*":
            low, high = kind.low, highest
        elif dash:
            low, high = self._number(low_word), self._number(high_word)
        else:
            low = self._number(body)
            high = max(low, highest) if slash else low
        if low > high:
            if not kind.wraps:
                raise self._refuse("runs backwards; write the smaller number first")
            high += highest - kind.low + 1
        size = highest - kind.low + 1
        return [(each - kind.low) % size + kind.low for each in range(low, high + 1, step)], step

    def _step(self, word: str) -> int:
        if not re.fullmatch(r"0*[1-9][0-9]{0,5}", word):
            raise self._refuse("has no usable step; write a whole number from 1 behind the /")
        return int(word)

    def _number(self, word: str) -> int:
        kind = self.kind
        named = kind.names.get(word)
        if named is not None:
            return named
        if not (word.isascii() and word.isdigit()):
            names = f", a name ({_short(kind)})" if kind.names else ""
            raise self._refuse(f"is no number from {kind.low} to {kind.high}{names}, * or */n")
        number = int(word[:6])
        if not kind.low <= number <= kind.high:
            raise _wrong(
                kind,
                word,
                self.expression,
                f"is out of range {kind.low}-{kind.high}; {_advice(kind, number)}",
            )
        return number

    def _refuse(self, why: str) -> InvalidCron:
        return _wrong(self.kind, repr(self.text), self.expression, why)


def _short(kind: Kind) -> str:
    names = [name for name in kind.names if len(name) == 3]
    return f"{names[0]}-{names[-1]}"


def _advice(kind: Kind, number: int) -> str:
    if kind.name == "hour" and number == 24:
        return "midnight is hour 0"
    if kind.low == 1 and number == 0:
        return f"the first {kind.name} is 1"
    if kind.name == "minute" and number == 60:
        return "the full hour is minute 0"
    return f"write a {kind.name} in that range"


def _wrong(kind: Kind, value: str, expression: str, why: str) -> InvalidCron:
    return InvalidCron(f"{kind.name} {value} of {expression!r} {why}", field=kind.name)
