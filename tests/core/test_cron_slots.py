"""Slots over changes of the clock, against a definition that walks the seconds of UTC.

The definition looks at nothing but the offset of each instant. An instant's wall clock is UTC plus
that offset. Three rules, by the kind of schedule:

- `steady` (several times in every hour of the day): an instant is a slot if its wall clock matches.
- other intervals (several times an hour, in some hours): likewise, and the first instant after a
  skipped stretch of wall clock is a slot if any skipped wall clock matches.
- all others: an instant is a slot if its wall clock matches and no earlier instant showed the same
  wall clock; and the first instant after a skipped stretch is one if any skipped wall clock
  matches.

Whether a wall clock matches is decided here field by field from sets that the tests write down next
to the expression, so that neither the parser nor croniter takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeck.cron import Cron
from qdeck.zone import find_zone, timeline

Kind = Literal["steady", "interval", "fixed"]

#: Zones whose changes of the clock differ in size, hour, direction or number.
ZONES = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "America/Asuncion",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/London",
    "Europe/Volgograd",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "UTC",
]


@dataclass(frozen=True)
class Form:
    """An expression, its kind, and whether a wall clock matches it."""

    expression: str
    kind: Kind
    matches: Callable[[datetime], bool]


def form(expression: str, kind: Kind, matches: Callable[[datetime], bool]) -> Form:
    """Returns a form; a function makes lambdas of loops hold their own numbers."""
    return Form(expression, kind, matches)


def every(minutes: int) -> Form:
    """Returns every so many minutes of every hour."""
    return form(f"*/{minutes} * * * *", "steady", lambda wall: wall.minute % minutes == 0)


def offbeat(start: int) -> Form:
    """Returns every 15 minutes, not on the hour."""
    return form(f"{start}/15 * * * *", "steady", lambda wall: wall.minute % 15 == start)


def window(first: int, last: int) -> Form:
    """Returns every 10 minutes of some hours."""
    return form(
        f"*/10 {first}-{last} * * *",
        "interval",
        lambda wall: wall.minute % 10 == 0 and first <= wall.hour <= last,
    )


def daily(hour: int, minute: int) -> Form:
    """Returns once a day."""
    return form(
        f"{minute} {hour} * * *",
        "fixed",
        lambda wall: (wall.hour, wall.minute) == (hour, minute),
    )


def on_weekdays(hour: int, minute: int) -> Form:
    """Returns once a day from Monday to Friday."""
    return form(
        f"{minute} {hour} * * 1-5",
        "fixed",
        lambda wall: (wall.hour, wall.minute) == (hour, minute) and wall.weekday() < 5,
    )


def either(day: int, hour: int) -> Form:
    """Returns on a day of the month and on each Sunday."""
    return form(
        f"0 {hour} {day} * 0",
        "fixed",
        lambda wall: (
            (wall.hour, wall.minute) == (hour, 0) and (wall.day == day or wall.weekday() == 6)
        ),
    )


def hours(step: int) -> Form:
    """Returns every so many hours, one of them too: an hour is not finer than an hour."""
    written = "*" if step == 1 else f"*/{step}"
    return form(
        f"0 {written} * * *", "fixed", lambda wall: wall.minute == 0 and wall.hour % step == 0
    )


minutes_of_an_hour = st.integers(0, 59)
hours_of_a_day = st.integers(0, 23)
forms = st.one_of(
    st.sampled_from([1, 2, 5, 7, 15, 20, 30]).map(every),
    st.integers(0, 14).map(offbeat),
    st.tuples(hours_of_a_day, hours_of_a_day).map(lambda pair: window(min(pair), max(pair))),
    st.builds(daily, st.sampled_from([0, 1, 2, 3, 23]), minutes_of_an_hour),
    st.builds(daily, hours_of_a_day, minutes_of_an_hour),
    st.builds(on_weekdays, st.sampled_from([0, 1, 2, 3, 23]), minutes_of_an_hour),
    st.builds(either, st.integers(1, 31), st.integers(0, 4)),
    st.sampled_from([1, 2, 3, 4]).map(hours),
)


def walk(
    form: Form, zone: ZoneInfo, start: datetime, end: datetime, step: timedelta
) -> Iterator[datetime]:
    """Yields the slots in [start, end) by the definition, looking at each instant from a day
    before.
    """
    seen_to = None
    last = None
    moment = start - timedelta(days=1)
    while moment < end:
        wall = moment.astimezone(zone).replace(tzinfo=None, fold=0)
        fires = form.matches(wall)
        if form.kind == "fixed" and seen_to is not None and wall <= seen_to:
            fires = False
        if form.kind != "steady" and last is not None and wall - last > step:
            skipped = last + step
            while skipped < wall:
                fires = fires or form.matches(skipped)
                skipped += step
        if fires and moment >= start:
            yield moment
        last = wall
        seen_to = wall if seen_to is None else max(wall, seen_to)
        moment += step


def around_changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """Returns midnights (UTC) a day before each change of the clock in a year."""
    line = timeline(zone)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    moment = int((datetime(year, 1, 1, tzinfo=UTC) - epoch).total_seconds())
    end = int((datetime(year + 1, 1, 1, tzinfo=UTC) - epoch).total_seconds())
    found = []
    while moment < end:
        stretch = line.stretch(moment)
        if stretch.offset != stretch.before:
            at = epoch + timedelta(seconds=stretch.start, days=-1)
            found.append(at.replace(hour=0, minute=0, second=0))
        moment = stretch.end
    return found


@settings(max_examples=60, deadline=None)
@given(form=forms, zone=st.sampled_from(ZONES), year=st.integers(2005, 2035), data=st.data())
def test_slots_around_a_change_of_the_clock_are_those_of_the_definition(
    form: Form, zone: str, year: int, data: st.DataObject
) -> None:
    place = find_zone(zone)
    starts = around_changes(place, year) or [datetime(year, 2, 27, tzinfo=UTC)]
    start = data.draw(st.sampled_from(starts))
    end = start + timedelta(days=3)
    expected = list(walk(form, place, start, end, timedelta(minutes=1)))
    cron = Cron.parse(form.expression)
    assert list(cron.slots(start, end, zone)) == expected


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Africa/Casablanca", "Antarctica/Troll"])
@pytest.mark.parametrize(
    "form", [every(15), daily(2, 15), hours(1)], ids=lambda form: form.expression
)
def test_slots_of_a_whole_year_are_those_of_the_definition(zone: str, form: Form) -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    expected = list(walk(form, find_zone(zone), start, end, timedelta(minutes=15)))
    assert list(Cron.parse(form.expression).slots(start, end, zone)) == expected


SECONDS = [
    form("* * * * * *", "steady", lambda wall: True),
    form("*/7 * * * * *", "steady", lambda wall: wall.second % 7 == 0),
    form("30 * * * * *", "steady", lambda wall: wall.second == 30),
    form(
        "*/20 59 1 * * *",
        "interval",
        lambda wall: (wall.hour, wall.minute) == (1, 59) and wall.second % 20 == 0,
    ),
    form(
        "15 30 2 * * *",
        "fixed",
        lambda wall: (wall.hour, wall.minute, wall.second) == (2, 30, 15),
    ),
]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/New_York"])
@pytest.mark.parametrize("form", SECONDS, ids=lambda form: form.expression)
def test_slots_in_seconds_are_those_of_the_definition(zone: str, form: Form) -> None:
    place = find_zone(zone)
    for midnight in around_changes(place, 2026):
        change = timeline(place).stretch(int(midnight.timestamp()) + 2 * 86400).start
        middle = datetime.fromtimestamp(change, UTC)
        start, end = middle - timedelta(minutes=75), middle + timedelta(minutes=75)
        expected = list(walk(form, place, start, end, timedelta(seconds=1)))
        assert list(Cron.parse(form.expression).slots(start, end, zone)) == expected


def test_every_slot_is_the_one_after_the_slot_before() -> None:
    start, end = datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC)
    cron = Cron.parse("*/15 * * * *")
    slots = list(cron.slots(start, end, "Europe/Berlin"))
    assert [cron.after(slot, "Europe/Berlin") for slot in slots[:-1]] == slots[1:]
    assert {later - sooner for sooner, later in pairwise(slots)} == {timedelta(minutes=15)}


def test_the_day_that_apia_skipped_runs_on_the_first_instant_after_it() -> None:
    cron = Cron.parse("0 9 30 12 *")
    slot = cron.after(datetime(2011, 6, 1, tzinfo=UTC), "Pacific/Apia")
    assert slot == datetime(2011, 12, 30, 10, tzinfo=UTC)
    assert slot.astimezone(find_zone("Pacific/Apia")).isoformat() == "2011-12-31T00:00:00+14:00"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", "2026-03-29T03:00:00+02:00"),
        ("0 2 * * *", "2026-03-29T03:00:00+02:00"),
        ("0 3 * * *", "2026-03-29T03:00:00+02:00"),
        ("*/20 2 * * *", "2026-03-29T03:00:00+02:00"),
        ("30 3 * * *", "2026-03-29T03:30:00+02:00"),
    ],
)
def test_a_time_that_does_not_exist_runs_right_after_the_gap(
    expression: str, expected: str
) -> None:
    berlin = find_zone("Europe/Berlin")
    cron = Cron.parse(expression)
    slot = cron.after(datetime(2026, 3, 28, 12, tzinfo=UTC), berlin)
    assert slot is not None
    assert slot.astimezone(berlin).isoformat() == expected


def test_a_time_that_comes_twice_runs_the_first_time() -> None:
    cron = Cron.parse("30 2 * * *")
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)
    slots = list(cron.slots(start, start + timedelta(days=1), "Europe/Berlin"))
    assert slots == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]


def test_a_slot_of_the_repeated_hour_is_not_found_again_from_within_it() -> None:
    cron = Cron.parse("30 2 * * *")
    inside = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert cron.after(inside, "Europe/Berlin") == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_a_moment_between_two_seconds_is_followed_by_the_next_slot() -> None:
    cron = Cron.parse("* * * * * *")
    moment = datetime(2026, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)
    assert cron.after(moment, "UTC") == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert list(cron.slots(moment, moment + timedelta(seconds=2), "UTC")) == [
        datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC),
    ]


def test_slots_begin_with_the_start_and_leave_the_end_out() -> None:
    cron = Cron.parse("0 * * * *")
    start, end = datetime(2026, 1, 1, 3, tzinfo=UTC), datetime(2026, 1, 1, 5, tzinfo=UTC)
    assert list(cron.slots(start, end, "UTC")) == [start, start + timedelta(hours=1)]
    assert list(cron.slots(start, end, "UTC", 1)) == [start]
    assert list(cron.slots(start, end, "UTC", 0)) == []


def test_a_leap_day_is_found_years_ahead_and_a_moment_in_another_zone_is_the_same() -> None:
    cron = Cron.parse("0 0 29 2 *")
    moment = datetime(2097, 1, 1, tzinfo=find_zone("Asia/Tokyo"))
    assert cron.after(moment, "UTC") == datetime(2104, 2, 29, tzinfo=UTC)


def test_a_naive_moment_is_refused_and_the_end_of_time_has_no_slot() -> None:
    cron = Cron.parse("@daily")
    with pytest.raises(ValueError, match="no time zone"):
        cron.after(datetime(2026, 1, 1), "UTC")
    assert cron.after(datetime.max.replace(tzinfo=UTC), "UTC") is None


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from(sorted(available_timezones())),
    year=st.integers(1990, 2037),
    day=st.integers(0, 364),
)
def test_the_stretches_of_a_zone_say_the_offset_of_each_instant(
    zone: str, year: int, day: int
) -> None:
    place = find_zone(zone)
    line = timeline(place)
    moment = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day)
    for minutes in range(0, 24 * 60, 10):
        at = moment + timedelta(minutes=minutes)
        stretch = line.stretch(int(at.timestamp()))
        assert stretch.start <= at.timestamp() < stretch.end
        assert at.astimezone(place).utcoffset() == timedelta(seconds=stretch.offset)
