"""What the counters of minutes and hours say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeck.stats import (
    BASE,
    NOTHING,
    Tally,
    bucket_of,
    failure_share,
    fields_of,
    forecast,
    histograms,
    percentile,
    rate,
    series,
    tally,
)

NOW = 1_000_000 * 60_000 + 30_000


def test_fields_and_their_replies_stand_in_the_same_order() -> None:
    fields = fields_of(["a", "b:c"])
    stored = {"ok": b"5", "dead": b"1", "failed:a": b"3", "ok:b:c": b"2", "crashed:b:c": b"1"}
    found = tally(["a", "b:c"], [stored.get(name) for name in fields])
    assert found.get("ok") == 5
    assert found.finished == 6
    assert found.tasks == {"a": (0, 3), "b:c": (2, 1)}
    assert tally(["a"], [None] * len(fields_of(["a"]))) is NOTHING
    assert tally(["a"], ValueError("WRONGTYPE")) is NOTHING
    assert tally([], [b"x"] * len(BASE)).get("in") == 0


def test_a_rate_is_a_minute_over_the_last_five() -> None:
    minutes = {1_000_000 - i: Tally({"in": 9}) for i in range(10)}
    assert rate(minutes, NOW, ("in",)) == 45 / 4.5
    assert rate(minutes, NOW, ("in", "ok")) == 45 / 4.5
    assert rate({}, NOW, ("in",)) == 0.0


def test_a_series_ends_with_the_current_minute() -> None:
    minutes = {1_000_000: Tally({}, {}, 1), 999_998: Tally({}, {}, 3)}
    assert series(minutes, NOW, 4) == (0, 3, 0, 1)


def test_a_failure_share_needs_runs() -> None:
    tallies = [Tally({}, {"a": (1, 2)}), Tally({}, {"a": (0, 1)}), NOTHING]
    assert failure_share(tallies, "a") == 0.75
    assert failure_share(tallies, "a", 5) is None
    assert failure_share(tallies, "b") is None


def test_histograms_are_summed_by_kind_and_task() -> None:
    one = [b"run:3:a", b"2", b"wait:0:a:b", b"1", b"ok:a", b"9", b"run:x:a", b"1"]
    two = [b"run:3:a", b"5", b"run:4:a", b"odd"]
    assert histograms(one, two, ValueError("gone")) == {
        ("run", "a"): {3: 7, 4: 0},
        ("wait", "a:b"): {0: 1},
    }


@given(st.floats(0.3, 1e8))
def test_a_percentile_is_exact_to_an_eighth(ms: float) -> None:
    told = percentile({bucket_of(ms): 1}, 0.95)
    assert told is not None
    assert told * 1000 == pytest.approx(ms, rel=0.15, abs=0.05)


def test_percentiles_walk_the_buckets() -> None:
    buckets = {bucket_of(10): 90, bucket_of(1000): 9, bucket_of(60_000): 1}
    p50, p95, p100 = (percentile(buckets, share) for share in (0.5, 0.95, 1.0))
    assert p50 == pytest.approx(0.01, rel=0.13)
    assert p95 == pytest.approx(1.0, rel=0.13)
    assert p100 == pytest.approx(60, rel=0.13)
    assert percentile({}, 0.5) is None
    assert percentile(None, 0.5) is None
    assert percentile({0: 4}, 0.5) == 0.0


@pytest.mark.parametrize(
    ("samples", "seconds"),
    [
        ([], None),
        ([(0.0, 5)], None),
        ([(0.0, 50), (9.0, 10)], None),
        ([(0.0, 50), (10.0, 0)], 0.0),
        ([(0.0, 100), (10.0, 50)], 10.0),
        ([(0.0, 100), (20.0, 50)], 20.0),
        ([(0.0, 50), (20.0, 50)], math.inf),
        ([(0.0, 50), (20.0, 60)], math.inf),
        ([(0.0, 0)], 0.0),
    ],
)
def test_a_forecast_follows_what_was_watched(
    samples: list[tuple[float, int]], seconds: float | None
) -> None:
    assert forecast(samples) == seconds
