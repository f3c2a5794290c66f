"""Moments as an operator writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeck.admin import parse_moment

#: A Sunday, 04:12 in Berlin.
NOW = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mon 9:00", "2026-11-23T08:00"),
        ("Mon 09:00", "2026-11-23T08:00"),
        ("monday at 9am", "2026-11-23T08:00"),
        ("next mon 9", "2026-11-23T08:00"),
        ("mon", "2026-11-22T23:00"),
        ("sun 4:30", "2026-11-22T03:30"),
        ("sunday 4:00", "2026-11-29T03:00"),
        ("tue, noon", "2026-11-24T11:00"),
        ("+2h", "2026-11-22T05:12"),
        ("2h", "2026-11-22T05:12"),
        ("in 90 minutes", "2026-11-22T04:42"),
        ("+1d 2h30m", "2026-11-23T05:42"),
        ("1w", "2026-11-29T03:12"),
        ("tomorrow 8:00", "2026-11-23T07:00"),
        ("tomorrow", "2026-11-22T23:00"),
        ("today 18:00", "2026-11-22T17:00"),
        ("18:00", "2026-11-22T17:00"),
        ("4:00", "2026-11-23T03:00"),
        ("5pm", "2026-11-22T16:00"),
        ("midnight", "2026-11-22T23:00"),
        ("2026-11-23", "2026-11-22T23:00"),
        ("2026-11-23 09:00", "2026-11-23T08:00"),
        ("2026-11-23T09:00:00", "2026-11-23T08:00"),
        ("2026-11-23T09:00Z", "2026-11-23T09:00"),
        ("2026-11-23T09:00-05:00", "2026-11-23T14:00"),
    ],
)
def test_a_moment_is_read_in_the_zone_of_the_operator(text: str, expected: str) -> None:
    assert parse_moment(text, NOW, BERLIN) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "foo", "mon 25:00", "mon 9:60", "13pm", "9", "9:00 mon", "2026-13-01", "+2x", "mon tue"],
)
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; write mon 9:00, tomorrow 8:00"):
        parse_moment(text, NOW, BERLIN)


@pytest.mark.parametrize("text", ["2026-11-22 04:00", "2020-01-01", "today 1:00"])
def test_a_moment_that_is_past_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is in the past"):
        parse_moment(text, NOW, BERLIN)


@given(st.text("montueday :0123456789+hap-T", max_size=12))
def test_any_text_is_a_later_moment_or_one_line_of_refusal(text: str) -> None:
    try:
        found, refusal = parse_moment(text, NOW, BERLIN), ""
    except ValueError as error:
        found, refusal = NOW, str(error)
    assert found >= NOW
    assert "\n" not in refusal
