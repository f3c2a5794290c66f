"""Why, what failures share, and whether it drains: the operator's scenarios of understanding."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from tests.tui.night import Night, Operator
from tests.tui.staff import BRISK


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """A shop that nobody has repaired yet."""
    with Night.made(tmp_path_factory.mktemp("shop")) as made:
        yield made


def test_one_key_says_why_the_worst_queue_backs_up(operator: Operator) -> None:
    operator.press("w")
    operator.sees("WHY emails", "VERDICT: DEGRADED since", "of send_invoice in emails fail since")
    operator.sees("all 40 slots of 1 worker that serves emails are busy", "2 with send_welcome")
    operator.within(1)
    operator.press("escape")
    operator.until(lambda: "WHY" not in operator.screen, "the sheet is closed")


def test_a_queue_that_nobody_serves_says_so(night: Night, operator: Operator) -> None:
    operator.press("/")
    operator.type("exp")
    operator.press("enter")
    operator.until(lambda: operator.row("> ").startswith("> exports"), "exports is chosen")
    operator.press("w")
    operator.sees(
        "WHY exports", "3 jobs of exports ran on workers that were lost", "APP -q exports"
    )
    operator.within(3, 3)


def test_what_the_failures_share_names_the_missing_argument(operator: Operator) -> None:
    operator.press("6")
    operator.sees("argument currency is missing in all of 200 looked at", "arrivals 1h")
    operator.within(1)


def test_the_server_is_shown(operator: Operator) -> None:
    operator.press("8")
    operator.sees("SERVER valkey 9.1", "standalone", "noeviction", "nothing is written to disk")
    operator.within(1)


def test_whether_it_drains_is_forecast(night: Night, operator: Operator) -> None:
    night.shop.staff.hire("mails", BRISK)
    try:
        begun = night.shop.count("emails", "ready")
        operator.until(
            lambda: night.shop.count("emails", "ready") < begun - 200, "the backlog shrinks"
        )
        start, before = time.monotonic(), night.shop.count("emails", "ready")
        operator.pause(70)
        now, after = time.monotonic(), night.shop.count("emails", "ready")
        seconds = after * (now - start) / (before - after)
        shown = operator.row("emails  ").split()[-1]
        assert abs(minutes(shown) * 60 - seconds) <= 0.2 * seconds + 60, (shown, seconds)
        operator.within(0)
    finally:
        night.shop.staff.hire("mails")


def minutes(words: str) -> float:
    """Return the minutes of a forecast as it is shown."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", words)
    assert found is not None, words
    return float(found[1]) * {"s": 1 / 60, "m": 1, "h": 60, "d": 1440}[found[2]]
