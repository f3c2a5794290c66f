"""How long a failed job waits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import qdeck
from qdeck.backoff import DEFAULT_BACKOFF, LONGEST_DELAY, as_backoff
from qdeck.errors import SettingsError

ATTEMPTS = st.integers(min_value=1, max_value=10**9)


def test_the_default_doubles_from_one_second_up_to_an_hour() -> None:
    assert [DEFAULT_BACKOFF(n) for n in range(1, 6)] == [1, 2, 4, 8, 16]
    assert DEFAULT_BACKOFF(12) == 2048
    assert DEFAULT_BACKOFF(13) == 3600


def test_fixed_waits_the_same_each_time() -> None:
    assert {qdeck.fixed(2.5)(n) for n in (1, 7, 10**6)} == {2.5}


def test_the_last_of_a_list_repeats() -> None:
    backoff = as_backoff([1, 5, 30])
    assert [backoff(n) for n in range(1, 6)] == [1, 5, 30, 30, 30]


def test_a_number_and_a_function_are_backoffs() -> None:
    assert as_backoff(4)(9) == 4
    assert as_backoff(lambda attempt: attempt * 3)(2) == 6


@given(
    st.floats(min_value=0, max_value=1e9),
    st.floats(min_value=1, max_value=1e9),
    st.floats(min_value=0, max_value=1e9),
    st.floats(min_value=0, max_value=1),
    ATTEMPTS,
)
def test_an_exponential_saturates_and_never_overflows(
    base: float, factor: float, cap: float, jitter: float, attempt: int
) -> None:
    delay = qdeck.exponential(base, factor, cap, jitter)(attempt)
    assert 0 <= delay <= cap
    assert math.isfinite(delay)


def test_jitter_stays_within_its_share() -> None:
    backoff = qdeck.exponential(base=100, cap=3600, jitter=0.2)
    delays = [backoff(1) for _ in range(200)]
    assert all(80 <= delay <= 120 for delay in delays)
    assert len(set(delays)) > 1


def test_a_delay_beyond_ten_years_is_cut() -> None:
    assert as_backoff(math.inf)(1) == LONGEST_DELAY
    assert as_backoff(lambda attempt: 1e300)(1) == LONGEST_DELAY


@pytest.mark.parametrize(
    "make",
    [
        lambda: qdeck.fixed(-1),
        lambda: qdeck.fixed(math.nan),
        lambda: qdeck.exponential(base=-1),
        lambda: qdeck.exponential(base=math.nan),
        lambda: qdeck.exponential(factor=0.5),
        lambda: qdeck.exponential(factor=math.inf),
        lambda: qdeck.exponential(cap=math.nan),
        lambda: qdeck.exponential(jitter=1.5),
        lambda: as_backoff([]),
        lambda: as_backoff([1, -2]),
        lambda: as_backoff([1, math.nan]),
        lambda: as_backoff(True),
    ],
)
def test_what_is_no_time_is_refused_where_it_is_said(make: Callable[[], Any]) -> None:
    with pytest.raises(SettingsError):
        make()


def test_a_text_is_no_backoff() -> None:
    text: Any = "soon"
    with pytest.raises(SettingsError, match="'soon'"):
        as_backoff(text)


@pytest.mark.parametrize("answer", [-1.0, math.nan, None, "1"])
def test_a_function_that_answers_no_time_is_refused_when_it_answers(answer: Any) -> None:
    backoff = as_backoff(lambda attempt: answer)
    with pytest.raises(SettingsError, match="backoff function"):
        backoff(1)
