"""Any text becomes harmless cells, and values become the few words that fit a column."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from qdeck_tui import format as words

NOW = datetime(2026, 11, 21, 3, 12, tzinfo=UTC)


@given(st.text())
def test_safe_text_holds_nothing_that_commands_a_terminal(text: str) -> None:
    safe = words.safe(text)
    assert all(c.isprintable() for c in safe)
    assert not any(c in safe for c in "\x1b\x9b\u202e\u2066\u200d\ufe0f\u0301")


@given(st.text(), st.integers(0, 60))
def test_a_fitted_text_takes_exactly_its_cells(text: str, cells: int) -> None:
    fitted = words.fit(text, cells)
    assert words.width(fitted) == cells
    assert words.width(words.to_ascii(fitted)) == cells


@given(st.text(), st.integers(2, 40))
def test_wrapped_lines_hold_all_of_the_text(text: str, cells: int) -> None:
    lines = words.wrap(text, cells)
    assert all(words.width(line) <= cells for line in lines)
    assert "".join(lines) == words.safe(text.replace("\t", "    "))


@given(st.text(alphabet="abcæøя漢字가 あ"))
def test_letters_take_the_cells_that_textual_counts(text: str) -> None:
    safe = words.safe(text)
    assert words.width(safe) == cell_len(safe)


@given(st.text())
def test_ascii_is_ascii(text: str) -> None:
    assert words.to_ascii(words.safe(text)).isascii()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0s"), (1020, "17m"), (86_399, "23h"), (86_400, "1d"), (162_000, "1d 21h"),
     (864_000 - 1, "9d 23h"), (864_000, "10d")],
)  # fmt: skip
def test_a_time_ahead_is_told_by_days_and_hours(seconds: float, shown: str) -> None:
    assert words.apart(seconds) == shown


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (timedelta(minutes=41), "02:31"),
        (timedelta(days=19), "Nov 02"),
        (timedelta(days=800), "2024"),
    ],
)
def test_a_day_or_a_time_of_today_takes_six_cells_at_most(ago: timedelta, shown: str) -> None:
    assert words.day_or_clock(NOW - ago, NOW) == shown
    assert words.day_or_clock(None, NOW) == "?"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(2_592_000, "30 d"), (43_200, "12 h"), (900, "15 min"), (90, "90 s"), (0, "0 s")],
)
def test_a_term_is_told_in_the_largest_unit_that_fits(seconds: float, shown: str) -> None:
    assert words.term(seconds) == shown


def test_a_long_text_is_cut_without_being_read_to_its_end() -> None:
    assert words.cut("x" * 10_000_000, 5) == "xxxx…"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "?"), (0, "0s"), (4.9, "4s"), (29, "20s"), (61, "1m"), (3599, "59m"), (7200, "2h"),
     (200_000, "2d"), (-3, "0s")],
)  # fmt: skip
def test_ages_are_coarse_and_unknown_ones_are_a_question_mark(
    seconds: float | None, shown: str
) -> None:
    assert words.age(seconds) == shown


def test_a_queue_that_does_not_shrink_drains_never() -> None:
    assert words.drain(math.inf) == "never"
    assert words.drain(None) == "?"
    assert words.drain(420) == "7m"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (29.4, "29s"), (58, "1m"), (61, "1m"), (441, "7m20s"), (2470, "41m"),
     (3590, "1h"), (4700, "1h20m"), (35_900, "10h"), (190_000, "2d6h"), (900_000, "10d")],
)  # fmt: skip
def test_a_forecast_is_as_short_as_it_may_be(seconds: float, shown: str) -> None:
    assert words.drain(seconds) == shown


def test_a_forecast_is_rounded_by_less_than_a_tenth() -> None:
    factor = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    for seconds in (5 * 1.003**step for step in range(4000)):
        shown = words.drain(seconds)
        said = sum(int(n) * factor[unit] for n, unit in re.findall(r"(\d+)([smhd])", shown))
        assert abs(said - seconds) <= seconds / 10, (seconds, shown)
        assert len(shown) <= 6


def test_a_rate_is_told_in_two_digits() -> None:
    rates = (None, 0.0, 0.25, 9.96, 10.0, 48.4, 104.0, 1747.0, 99_600.0)
    shown = ("?", "0", "0.2", "10.0", "10", "48", "100", "1,700", "100,000")
    assert tuple(map(words.rate, rates)) == shown
    assert {words.rate(1747.0 - second * 2.9) for second in range(10)} == {"1,700"}


def test_times_are_relative_and_absolute() -> None:
    assert words.moment(NOW + timedelta(minutes=3), NOW) == "in 3m 03:15"
    assert words.moment(NOW - timedelta(days=3), NOW) == "3d ago 18 Nov 03:12"


def test_a_flat_line_is_drawn_flat_and_a_peak_to_the_top() -> None:
    assert set(words.spark([0] * 30, 10)) == {"▁"}
    assert words.spark([0, 0, 9], 3) == "▁▁█"
    assert words.spark([], 10) == ""


def test_a_sentence_breaks_between_words() -> None:
    assert words.prose("one two three", 7) == ["one two", "three"]
    assert words.prose("onetwothree", 4) == ["onet", "woth", "ree"]
