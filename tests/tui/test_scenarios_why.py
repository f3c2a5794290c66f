"""Why, what failures share, and whether it drains: the operator's scenarios of understanding."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def limited(night: Night) -> Iterator[None]:
    """Limit the mails to as many as run."""
    night.shop.operate(lambda admin: admin.set_limits("emails", 40, None))
    try:
        yield
    finally:
        night.shop.operate(lambda admin: admin.set_limits("emails", None, None))


@contextmanager
def full(night: Night) -> Iterator[None]:
    """Leave the server hardly any memory."""
    used = int(night.server.info()["used_memory"])
    night.server.ask("CONFIG", "SET", "maxmemory", str(round(used / 0.985)))
    try:
        yield
    finally:
        night.server.ask("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def as_it_is(night: Night) -> Iterator[None]:
    """Leave everything as it is."""
    yield


#: A queue, what is done to it, what the sheet says first, and what it advises.
CAUSES = {
    "paused": (
        "thumbnails", as_it_is,
        r"thumbnails is paused by ana@ops-1 since \d\d:\d\d UTC", "qdeck resume thumbnails",
    ),
    "no worker": (
        "exports", as_it_is,
        "3 jobs of exports ran on workers that were lost, and no worker serves exports to run them "
        "again", "start one: qdeck worker APP -q exports",
    ),
    "slow task": (
        "reports", as_it_is,
        r"build_report is slow: it has been running for \S+ \(its usual p95 is \d+ms\) and takes "
        "1 of 4 slots", "look at its log",
    ),
    "failing task": (
        "emails", as_it_is,
        r"\d\d% of send_invoice in emails fail since \d\d:\d\d UTC",
        "qdeck pause emails --task send_invoice",
    ),
    "limit": (
        "emails", limited,
        r"emails runs 40 of at most 40 at once \(its limit\)", "raise the limit of emails",
    ),
    "server trouble": (
        "emails", full,
        r"the server's memory is full \(\d\d% of maxmemory\): new jobs are refused",
        "raise maxmemory",
    ),
}  # fmt: skip


def test_the_sentence_is_right_for_each_of_six_causes(night: Night, operator: Operator) -> None:
    night.shop.overdue_job()
    for cause, (queue, done, sentence, advice) in CAUSES.items():
        with done(night):
            operator.press("/")
            operator.type(queue[:4])
            operator.press("enter")
            operator.until(lambda queue=queue: operator.row(f"> {queue}"), f"{queue} is chosen")  # type: ignore[misc]
            operator.keys = operator.typed = 0
            operator.press("w")
            said = re.compile(f"^{sentence}.*{advice}")
            operator.until(lambda said=said: said.search(causes(operator)), cause)  # type: ignore[misc]
            operator.within(1)
        operator.press("escape")
        operator.until(lambda: "WHY" not in operator.screen, "the sheet is closed")
        operator.press("escape")
        operator.until(lambda: "filter:" not in operator.screen, "all queues are listed")


def causes(operator: Operator) -> str:
    """Return what the sheet on the screen says of its queue, in one line."""
    rows = operator.screen.split("\n")
    first = next((at for at, row in enumerate(rows) if "─ WHY" in row), len(rows))
    last = next((at for at, row in enumerate(rows) if row.lstrip().startswith("└")), len(rows))
    inside = [row.partition("│")[2].rpartition("│")[0].strip() for row in rows[first + 1 : last]]
    # The verdict comes first, and an empty line ends it.
    return " ".join(inside[inside.index("") + 1 :] if "" in inside else inside)


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
        operator.pause(62)
        now, after = time.monotonic(), night.shop.count("emails", "ready")
        needed = after * (now - start) / (before - after)
        shown = operator.row("emails  ").split()[-1]
        assert abs(seconds(shown) - needed) <= 0.2 * needed, (shown, needed)
        operator.within(0)
    finally:
        night.shop.staff.hire("mails")


def seconds(words: str) -> float:
    """Return the seconds of a forecast as it is shown."""
    assert re.fullmatch(r"(\d+[smhd]){1,2}", words) is not None, words
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    return sum(int(n) * units[unit] for n, unit in re.findall(r"(\d+)([smhd])", words))
