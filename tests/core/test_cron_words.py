"""Plain words and cron expressions, the findings about a schedule, and the preview of both."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeck.cron import Cron
from qdeck.cronlint import lint
from qdeck.cronpreview import preview
from qdeck.cronwords import describe, describe_field, parse_words
from qdeck.errors import InvalidCron

NOW = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)

# fmt: off
WORDS = [
    "every", "daily", "mon,fri", "last", "first", "1st", "15m", "30", "s", "9:00", "25:00", "day",
    "month", "weekdays", "at", "of", "second", "minute", "hour", "and", ",", "-", "*", "@", "noon",
    "9am", "99th", "hourly", "weekly",
]
# fmt: on


@pytest.mark.parametrize(
    ("words", "expression"),
    [
        ("every 15m", "*/15 * * * *"),
        ("every 15 minutes", "*/15 * * * *"),
        ("every 30s", "*/30 * * * * *"),
        ("every 60s", "* * * * *"),
        ("every 120s", "*/2 * * * *"),
        ("every 2h", "0 */2 * * *"),
        ("every 1d", "0 0 * * *"),
        ("every 24h", "0 0 * * *"),
        ("every 3 days", "0 0 */3 * *"),
        ("every second", "* * * * * *"),
        ("every minute", "* * * * *"),
        ("every hour", "0 * * * *"),
        ("every day at 3:15", "15 3 * * *"),
        ("every monday 9:00", "0 9 * * mon"),
        ("every weekday 9:00", "0 9 * * 1-5"),
        ("every month", "0 0 1 * *"),
        ("hourly", "0 * * * *"),
        ("daily", "0 0 * * *"),
        ("daily 03:00", "0 3 * * *"),
        ("daily at 9am", "0 9 * * *"),
        ("daily 12am", "0 0 * * *"),
        ("daily 9:00,17:00", "0 9,17 * * *"),
        ("daily 03:00:30", "30 0 3 * * *"),
        ("Weekly", "0 0 * * 0"),
        ("weekly 6:30", "30 6 * * 0"),
        ("monthly 4:00", "0 4 1 * *"),
        ("yearly", "0 0 1 1 *"),
        ("weekdays 09:00", "0 9 * * 1-5"),
        ("weekends 10:00", "0 10 * * 0,6"),
        ("mon 9:00", "0 9 * * mon"),
        ("mon 9", "0 9 * * mon"),
        ("mon,wed 9:00", "0 9 * * mon,wed"),
        ("Mon and Wed at 9pm", "0 21 * * mon,wed"),
        ("mon - fri 9:00", None),
        ("mon-fri 17:30", "30 17 * * mon-fri"),
        ("tuesdays 8:00", "0 8 * * tue"),
        ("1st of month", "0 0 1 * *"),
        ("on the 15th of the month at 6:00", "0 6 15 * *"),
        ("1st and 15th 6:00", "0 6 1,15 * *"),
        ("first day of the month", "0 0 1 * *"),
        ("last day", "0 0 L * *"),
        ("last day of the month at 18:00", "0 18 L * *"),
        ("first mon 9:00", "0 9 * * 1#1"),
        ("last friday 17:00", "0 17 * * 5L"),
        ("03:00", "0 3 * * *"),
        ("noon", "0 12 * * *"),
        ("midnight", "0 0 * * *"),
        ("", None),
        ("every", None),
        ("every 90m", None),
        ("every 0m", None),
        ("every 45 days", None),
        ("daily 25:00", None),
        ("daily 9:60", None),
        ("daily 13pm", None),
        ("daily 9:00,17:30", None),
        ("hourly 3:00", None),
        ("every minute 9:00", None),
        ("32nd", None),
        ("sixth mon", None),
        ("second", None),
        ("foo", None),
        ("@daily", None),
        ("30 3 * * 1-5", None),
        ("0 0 1 1 1", None),
    ],
)
def test_plain_words_are_an_expression_or_none(words: str, expression: str | None) -> None:
    assert parse_words(words) == expression
    if expression:
        Cron.parse(expression)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(WORDS),
        max_size=5,
    ).map(" ".join)
)
def test_whatever_words_give_is_a_valid_expression(text: str) -> None:
    expression = parse_words(text)
    if expression is not None:
        Cron.parse(expression)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("30 3 * * 1-5", "At 03:30, Monday to Friday"),
        ("0 3 * * *", "At 03:00, every day"),
        ("0 3 * * 0-7", "At 03:00, every day"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("*/90 * * * *", "Every hour"),
        ("* * * * * *", "Every second"),
        ("0 * * * *", "Every hour"),
        ("0 22-4 * * *", "Every hour, between 22:00 and 04:59"),
        ("0 0 L * *", "At 00:00, on the last day of the month"),
        ("0 0 1,L * *", "At 00:00, on day 1 and the last day of the month"),
        ("0 9 1 * mon", "At 09:00, on day 1 of the month, or on Monday"),
        ("0 9 * april monday", "At 09:00, Monday, in April"),
        ("0 0 * * 5#2", "At 00:00, on the second Friday of the month"),
        ("0 0 * * L5", "At 00:00, on the last Friday of the month"),
        ("0 0 * * fril", "At 00:00, on the last Friday of the month"),
        ("0 0 w15 * *", "At 00:00, on the weekday nearest day 15 of the month"),
        ("@weekly", "At 00:00, Sunday"),
        ("15 30 2 * * 7", "At 02:30:15, Sunday"),
    ],
)
def test_an_expression_is_said_in_words(expression: str, words: str) -> None:
    assert describe(Cron.parse(expression)) == words


expressions = st.tuples(
    st.sampled_from(["0", "*", "*/7", "5-10", "1,2,59", "59/15"]),
    st.sampled_from(["0", "*", "*/5", "22-4", "9,17", "7-19/3"]),
    st.sampled_from(["*", "?", "1", "L", "15W", "1,L", "*/2", "10-20"]),
    st.sampled_from(["*", "2", "jan", "nov-feb", "*/3", "january,march"]),
    st.sampled_from(["*", "?", "1-5", "fri-mon", "5#2", "L5", "sunl", "sat,sunday", "0-7"]),
).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(expressions, st.sampled_from(["", "0 ", "*/10 "]))
def test_each_valid_expression_has_words_fields_runs_and_findings(text: str, seconds: str) -> None:
    try:
        cron = Cron.parse(seconds + text)
    except InvalidCron:
        return
    shown = preview(cron.expression, "Europe/Berlin", [("other", cron, "UTC")], NOW)
    assert shown.ok
    assert shown.words
    assert not shown.words.startswith("Cron ")
    assert [name for name, _ in shown.fields] == [field.kind.name for field in cron.fields]
    assert all(meaning for _, meaning in shown.fields)
    assert list(shown.runs) == sorted(set(shown.runs))
    assert shown.lint[0].code in ("frequency", "rare")


@pytest.mark.parametrize(
    ("expression", "meanings"),
    [
        ("30 3 * * 1-5", ["30", "3", "every", "every", "Mon-Fri"]),
        ("*/15 22-4 1,L jan-mar,jul fri-mon", ["every 15", "0-4,22-23"]),
        ("0 0 1,L jan-mar,jul *", ["0", "0", "1,last", "Jan-Mar,Jul", "every"]),
        ("10 0 0 15W * 5#2", ["10", "0", "0", "15W", "every", "5#2"]),
    ],
)
def test_each_field_is_said_in_a_few_characters(expression: str, meanings: list[str]) -> None:
    found = [describe_field(field) for field in Cron.parse(expression).fields]
    assert found[: len(meanings)] == meanings


def findings(expression: str, zone: str = "UTC", others: int = 0) -> dict[str, tuple[str, str]]:
    """Returns level and text of each finding by its code."""
    company = [(f"other-{each}", Cron.parse("30 2 * * *"), "UTC") for each in range(others)]
    found = lint(Cron.parse(expression), zone, company, NOW)
    return {each.code: (each.level, each.text) for each in found}


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("30 3 * * 1-5", "fires 5 times a week"),
        ("0 3 * * *", "fires once a day"),
        ("*/15 * * * *", "fires 4 times an hour"),
        ("* * * * * *", "fires 3,600 times an hour"),
        ("0 * * * *", "fires 24 times a day"),
        ("0 0 1 * *", "fires once a month"),
        ("0 0,12 L * *", "fires 2 times a month"),
        ("0 0 1 */3 *", "fires 4 times a year"),
        ("0 0 25 12 *", "fires once a year"),
    ],
)
def test_how_often_it_fires_is_said_first(expression: str, text: str) -> None:
    first = lint(Cron.parse(expression), "UTC", (), NOW)[0]
    assert (first.level, first.code, first.text) == ("ok", "frequency", text)


def test_a_leap_day_is_rare() -> None:
    assert findings("0 0 29 2 *") == {"rare": ("info", "fires in some years only")}


def test_an_hour_that_does_not_exist_or_comes_twice_is_named_with_its_day() -> None:
    found = findings("30 2 * * *", "Europe/Berlin")
    assert found["dst-gap"] == (
        "warn",
        "02:30 does not exist on 2027-03-28: runs at 03:00 CEST, once",
    )
    assert found["dst-twice"] == (
        "warn",
        "02:30 comes twice on 2027-10-31: runs the first time only",
    )
    assert "dst" not in found


def test_a_time_that_no_change_of_the_clock_touches_is_said_to_be_safe() -> None:
    found = findings("30 3 * * 1-5", "Europe/Berlin")
    assert found["dst"] == (
        "ok",
        "not affected by the clock changes of 2027-03-28 and 2027-10-31",
    )
    assert not {"dst-gap", "dst-twice"} & set(found)
    assert not {"dst", "dst-gap", "dst-twice"} & set(findings("30 2 * * *", "Asia/Kathmandu"))


def test_an_interval_keeps_its_pace_over_a_change_of_the_clock() -> None:
    found = findings("*/15 * * * *", "Europe/Berlin")
    assert found["dst-gap"][0] == "info"
    assert "keeps its pace" in found["dst-gap"][1]
    assert found["dst-twice"] == ("info", "02:00 comes twice on 2027-10-31: fires in both passes")
    assert "as it does anyway" in findings("0 * * * *", "Europe/Berlin")["dst-gap"][1]


def test_a_day_and_a_weekday_together_are_a_trap() -> None:
    level, text = findings("0 9 1 * mon")["day-or-weekday"]
    assert level == "warn"
    assert text == "day 1 OR weekday: fires on day 1 of the month and on every Monday"
    assert "day-or-weekday" not in findings("0 9 1 * ?")
    assert "day-or-weekday" not in findings("0 9 1 * 1#1")


def test_steps_that_do_not_divide_are_uneven() -> None:
    assert findings("*/7 * * * *")["uneven"] == (
        "warn",
        "minute */7 is uneven: after minute 56 the next is 4 minutes later, at each full hour",
    )
    assert findings("0 */5 * * *")["uneven"][1].endswith("4 hours later, at each full day")
    assert findings("*/90 * * * *")["step"][1].startswith("minute */90 fires at minute 0 only")
    assert findings("0 0 */2 * *")["uneven"][0] == "info"
    assert not {"uneven", "step"} & set(findings("*/15 */6 * * *"))


def test_days_that_short_months_lack_are_named() -> None:
    assert findings("0 0 31 * *")["short-month"] == (
        "warn",
        "no run in months without day 31; L is the last day",
    )
    assert "short-month" not in findings("0 0 31 1,3 *")
    assert "short-month" not in findings("0 0 28 * *")


def test_others_at_the_same_instant_are_a_pile_up() -> None:
    assert "pile-up" not in findings("30 2 * * *")
    one = findings("30 3 * * 1-5", "Europe/Berlin", others=1)
    assert one["pile-up"] == ("info", "1 other schedule starts at 02:30 UTC")
    many = findings("30 2 * * *", others=7)
    assert many["pile-up"] == ("warn", "7 other schedules start at 02:30 UTC")
    alone = findings("31 2 * * *", others=7)
    assert "pile-up" not in alone
    assert alone["alone"] == ("ok", "no other schedule starts at 02:31 UTC")
    assert "alone" not in findings("31 2 * * *")


@pytest.mark.parametrize(
    ("expression", "zone", "moved"),
    [
        ("30 3 * * 1-5", "Europe/Berlin", "2027-03-29T01:30:00+00:00"),
        ("30 2 * * *", "Europe/Berlin", "2027-03-28T01:00:00+00:00"),
        ("30 3 * * 1-5", "Asia/Kathmandu", None),
    ],
)
def test_a_preview_names_the_first_run_after_the_clock_is_moved(
    expression: str, zone: str, moved: str | None
) -> None:
    found = preview(expression, zone, (), NOW).moved
    assert (None if found is None else found.isoformat()) == moved


def test_a_preview_shows_the_next_runs_and_the_expression_of_plain_words() -> None:
    shown = preview("mon 9:00", "Europe/Berlin", (), NOW)
    assert (shown.ok, shown.expression, shown.words) == (True, "0 9 * * mon", "At 09:00, Monday")
    assert [each.isoformat() for each in shown.runs[:2]] == [
        "2026-11-23T08:00:00+00:00",
        "2026-11-30T08:00:00+00:00",
    ]
    assert len(shown.runs) == 5
    assert shown.fields[4] == ("weekday", "Mon")


@pytest.mark.parametrize(
    ("text", "zone", "field", "error"),
    [
        ("0 25 * * *", "UTC", "hour", "hour 25"),
        ("0 0 30 2 *", "UTC", "day", "never fires"),
        ("", "UTC", "", "no expression yet"),
        ("every 90m", "UTC", "", "has 2 fields"),
        ("@daily", "Europe/Brlin", "zone", "did you mean Europe/Berlin"),
    ],
)
def test_a_preview_of_what_is_unusable_names_the_field(
    text: str, zone: str, field: str, error: str
) -> None:
    shown = preview(text, zone, (), NOW)
    assert (shown.ok, shown.field) == (False, field)
    assert error in shown.error
    assert (shown.words, shown.runs, shown.lint) == ("", (), ())
