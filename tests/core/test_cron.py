"""Cron expressions: what they say, and which are refused with which field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest

from qdeck.cron import Cron
from qdeck.errors import InvalidCron, SettingsError
from qdeck.zone import find_zone, zone_names

#: A Sunday.
NOW = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)


def runs(expression: str, count: int = 3) -> list[str]:
    """Returns the next runs in UTC as `Mon 23 Nov 00:00`."""
    slots = Cron.parse(expression).slots(NOW, NOW + timedelta(days=5000), "UTC", count)
    return [slot.strftime("%a %d %b %H:%M") for slot in slots]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 * * 0", ["Sun 29 Nov 00:00", "Sun 06 Dec 00:00"]),
        ("0 0 * * 7", ["Sun 29 Nov 00:00", "Sun 06 Dec 00:00"]),
        ("0 0 0 * * 0", ["Sun 29 Nov 00:00", "Sun 06 Dec 00:00"]),
        ("0 0 * * sun", ["Sun 29 Nov 00:00", "Sun 06 Dec 00:00"]),
        ("0 0 * * SUNDAY", ["Sun 29 Nov 00:00", "Sun 06 Dec 00:00"]),
        ("0 0 * * 1,7", ["Mon 23 Nov 00:00", "Sun 29 Nov 00:00"]),
        ("0 0 * * 5-7", ["Fri 27 Nov 00:00", "Sat 28 Nov 00:00", "Sun 29 Nov 00:00"]),
        ("0 0 * * 6-1", ["Mon 23 Nov 00:00", "Sat 28 Nov 00:00", "Sun 29 Nov 00:00"]),
        ("0 0 * * 7-2", ["Mon 23 Nov 00:00", "Tue 24 Nov 00:00", "Sun 29 Nov 00:00"]),
        ("0 0 * * fri-mon", ["Mon 23 Nov 00:00", "Fri 27 Nov 00:00", "Sat 28 Nov 00:00"]),
        ("0 0 * * mon-fri/2", ["Mon 23 Nov 00:00", "Wed 25 Nov 00:00", "Fri 27 Nov 00:00"]),
        ("0 0 * * 0-7", ["Mon 23 Nov 00:00", "Tue 24 Nov 00:00", "Wed 25 Nov 00:00"]),
        ("0 0 L * *", ["Mon 30 Nov 00:00", "Thu 31 Dec 00:00", "Sun 31 Jan 00:00"]),
        ("0 0 L 2 *", ["Sun 28 Feb 00:00", "Tue 29 Feb 00:00"]),
        ("0 0 1,L * *", ["Mon 30 Nov 00:00", "Tue 01 Dec 00:00", "Thu 31 Dec 00:00"]),
        ("0 0 15W * *", ["Tue 15 Dec 00:00", "Fri 15 Jan 00:00", "Mon 15 Feb 00:00"]),
        ("0 0 * * 5#2", ["Fri 11 Dec 00:00", "Fri 08 Jan 00:00"]),
        ("0 0 * * L5", ["Fri 27 Nov 00:00", "Fri 25 Dec 00:00"]),
        ("0 0 * * fril", ["Fri 27 Nov 00:00", "Fri 25 Dec 00:00"]),
        ("0 0 ? * mon", ["Mon 23 Nov 00:00", "Mon 30 Nov 00:00"]),
        ("0 9 1 * mon", ["Mon 23 Nov 09:00", "Mon 30 Nov 09:00", "Tue 01 Dec 09:00"]),
        ("0 0 30 2 1", ["Mon 01 Feb 00:00", "Mon 08 Feb 00:00"]),
        ("0 22-4/3 * * *", ["Sun 22 Nov 04:00", "Sun 22 Nov 22:00", "Mon 23 Nov 01:00"]),
        ("5/20 3 * * *", ["Sun 22 Nov 03:25", "Sun 22 Nov 03:45", "Mon 23 Nov 03:05"]),
        ("59/15 3 * * *", ["Sun 22 Nov 03:59", "Mon 23 Nov 03:59"]),
        ("5-5 3 * * *", ["Mon 23 Nov 03:05", "Tue 24 Nov 03:05"]),
        ("0 0 1 nov-feb *", ["Tue 01 Dec 00:00", "Fri 01 Jan 00:00", "Mon 01 Feb 00:00"]),
        ("0 0 29 2 *", ["Tue 29 Feb 00:00", "Sun 29 Feb 00:00"]),
        ("@hourly", ["Sun 22 Nov 04:00", "Sun 22 Nov 05:00"]),
        ("@daily", ["Mon 23 Nov 00:00", "Tue 24 Nov 00:00"]),
        ("@Midnight", ["Mon 23 Nov 00:00", "Tue 24 Nov 00:00"]),
        ("@weekly", ["Sun 29 Nov 00:00", "Sun 06 Dec 00:00"]),
        ("@monthly", ["Tue 01 Dec 00:00", "Fri 01 Jan 00:00"]),
        ("@yearly", ["Fri 01 Jan 00:00", "Sat 01 Jan 00:00"]),
        ("@annually", ["Fri 01 Jan 00:00", "Sat 01 Jan 00:00"]),
        ("0 */15 3 * * *", ["Sun 22 Nov 03:15", "Sun 22 Nov 03:30", "Sun 22 Nov 03:45"]),
    ],
)
def test_an_expression_fires_as_cron_has_it(expression: str, expected: list[str]) -> None:
    assert runs(expression, len(expected)) == expected


def test_monday_to_friday_leaves_the_weekend_out() -> None:
    assert [run[:3] for run in runs("0 0 * * 1-5", 10)] == ["Mon", "Tue", "Wed", "Thu", "Fri"] * 2


def test_seconds_come_first() -> None:
    slots = Cron.parse("10,40 0 * * * *").slots(NOW, NOW + timedelta(hours=1), "UTC")
    assert [slot.strftime("%H:%M:%S") for slot in slots] == ["04:00:10", "04:00:40"]


@pytest.mark.parametrize(
    ("expression", "field", "words"),
    [
        ("0 25 * * *", "hour", "hour 25 of '0 25 * * *' is out of range 0-23"),
        ("0 24 * * *", "hour", "midnight is hour 0"),
        ("60 * * * *", "minute", "minute 60 of '60 * * * *' is out of range 0-59"),
        ("99 * * * *", "minute", "write a minute in that range"),
        ("0 0 32 * *", "day", "day 32 of '0 0 32 * *' is out of range 1-31"),
        ("0 0 0 * *", "day", "the first day is 1"),
        ("0 0 1 13 *", "month", "month 13 of '0 0 1 13 *' is out of range 1-12"),
        ("0 0 1 0 *", "month", "the first month is 1"),
        ("0 0 * * 8", "weekday", "weekday 8 of '0 0 * * 8' is out of range 0-7"),
        ("0 0 * * mo", "weekday", "weekday 'mo' of '0 0 * * mo' is no number from 0 to 7"),
        ("0 0 * foo *", "month", "a name (jan-dec)"),
        ("61 0 0 * * *", "second", "second 61 of '61 0 0 * * *' is out of range 0-59"),
        ("0 0 24 * * *", "hour", "hour 24"),
        ("x * * * *", "minute", "minute 'x' of 'x * * * *' is no number from 0 to 59, * or */n"),
        ("*/0 * * * *", "minute", "'*/0' of '*/0 * * * *' has no usable step"),
        ("*/x * * * *", "minute", "has no usable step"),
        ("*/ * * * *", "minute", "has no usable step"),
        ("30-5 * * * *", "minute", "'30-5' of '30-5 * * * *' runs backwards"),
        ("1, * * * *", "minute", "minute '' of '1, * * * *' is no number"),
        ("-5 * * * *", "minute", "minute '-5'"),
        ("1-2-3 * * * *", "minute", "minute '1-2-3'"),
        ("? * * * *", "minute", "minute '?'"),
        ("H * * * *", "minute", "minute 'h'"),
        ("r * * * *", "minute", "minute 'r'"),
        ("٣ * * * *", "minute", "is no number"),
        ("0 0 40W * *", "day", "day '40w'"),
        ("0 0 1,15W * *", "day", "mixes a counted day with plain ones"),
        ("0 0 * * 5#2,1", "weekday", "mixes a counted day with plain ones"),
        ("0 0 * * 5#6", "weekday", "weekday '5#6'"),
        ("0 0 * * x#1", "weekday", "weekday 'x#1'"),
        ("0 0 30 2 *", "day", "'0 0 30 2 *' never fires: there is no day 30 in February"),
        ("0 0 31 2,4 *", "day", "no day 31 in February and April"),
        ("0 0 31 2,4 ?", "day", "never fires"),
        ("0 0 0 30 2 *", "day", "'0 0 0 30 2 *' never fires"),
        ("* * * *", "", "'* * * *' has 4 fields; write five (minute hour day month weekday)"),
        ("* * * * * * *", "", "has 7 fields"),
        ("", "", "'' has 0 fields"),
        ("@reboot", "", "'@reboot' is no schedule; write one of @hourly, @daily"),
    ],
)
def test_an_unusable_expression_is_refused_with_its_field(
    expression: str, field: str, words: str
) -> None:
    with pytest.raises(InvalidCron) as caught:
        Cron.parse(expression)
    assert caught.value.field == field
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_expression_keeps_its_spelling_but_for_spaces() -> None:
    cron = Cron.parse("  30  3 * *   Mon-Fri ")
    assert cron.expression == "30 3 * * Mon-Fri"
    assert cron.plain == "30 3 * * 1,2,3,4,5"
    assert cron == Cron.parse("30 3 * * Mon-Fri")


def test_threads_do_not_disturb_one_another() -> None:
    cron = Cron.parse("*/7 * * * *")
    expected = list(cron.slots(NOW, NOW + timedelta(days=1), "Europe/Berlin"))
    found: list[list[datetime]] = []

    def look() -> None:
        found.append(list(cron.slots(NOW, NOW + timedelta(days=1), "Europe/Berlin")))

    threads = [Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Europe/Brlin", "did you mean Europe/Berlin"),
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("Berlin", "did you mean Europe/Berlin"),
        ("new york", "America/New_York"),
        ("utc", "UTC"),
        ("Xyzzy", "names look like Europe/Berlin or UTC"),
        ("", "names look like"),
        ("../etc/passwd", "is unknown"),
        ("Europe", "is unknown"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_names(name: str, near: str) -> None:
    with pytest.raises(SettingsError, match="time zone") as caught:
        find_zone(name)
    assert near in str(caught.value)


def test_each_listed_zone_is_found() -> None:
    assert {find_zone(name).key for name in zone_names()[::50]} == set(zone_names()[::50])
