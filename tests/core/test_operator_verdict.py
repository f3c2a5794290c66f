"""The verdict: what an operator is told is wrong, in one word and sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qdeck.admin import Failure, JobRef, Pause, QueueRow, ServerInfo, Verdict, WorkerRow
from qdeck.keys import queue_keys
from qdeck.overview import Facts
from qdeck.stats import Tally
from qdeck.verdict import judge

NOW = datetime(2026, 11, 21, 3, 12, 30, tzinfo=UTC)
MINUTE = int(NOW.timestamp() // 60)
WORKER = WorkerRow("w1", "host-a", 7, queues=("emails",), beat_age_s=1.0)


def ask(
    row: QueueRow,
    workers: tuple[WorkerRow, ...] = (WORKER,),
    server: ServerInfo | Failure | None = None,
    **facts: Any,
) -> Verdict:
    known = Facts(queue_keys("p", row.name), **facts)
    return judge([known], [row], workers, server or ServerInfo(), NOW.timestamp() * 1000)


def since(**ago: float) -> float:
    return (NOW - timedelta(**ago)).timestamp() * 1000


def test_nothing_wrong_is_ok() -> None:
    verdict = ask(QueueRow("emails", pending=5, held=0), oldest_ms=since(seconds=4))
    assert verdict == Verdict("OK")


def test_pending_jobs_without_any_worker_are_down() -> None:
    verdict = ask(QueueRow("emails", pending=1204, held=0), ())
    assert verdict.word == "DOWN"
    assert verdict.causes == ("no worker runs; 1,204 jobs pending in emails",)
    quiet = WorkerRow("w1", "host-a", 7, "quiet", ("emails",), beat_age_s=1.0)
    verdict = ask(QueueRow("emails", pending=1, held=0), (quiet,))
    assert verdict.causes == ("all workers are quiet or stopping; 1 job pending in emails",)


def test_a_queue_that_no_worker_serves_is_named() -> None:
    verdict = ask(QueueRow("reports", pending=3, held=0))
    assert verdict == Verdict("DEGRADED", ("no worker serves reports; 3 jobs pending",))


def test_a_late_queue_is_degraded_since_it_is_late() -> None:
    verdict = ask(QueueRow("emails", pending=3, held=0), oldest_ms=since(minutes=41))
    assert verdict.word == "DEGRADED"
    assert verdict.causes == ("emails: oldest pending job waits 41m (limit 5m)",)
    assert verdict.since == NOW - timedelta(minutes=36)


def test_a_paused_queue_with_jobs_is_to_be_watched() -> None:
    pause = Pause("ana@here", NOW - timedelta(hours=2))
    row = QueueRow("emails", pending=10, held=0, paused=pause)
    verdict = ask(row, oldest_ms=since(hours=2))
    assert verdict.word == "WATCH"
    assert verdict.causes == ("emails is paused by ana@here since 01:12 UTC; 10 jobs pending",)
    assert verdict.since == pause.since
    assert ask(QueueRow("emails", pending=0, held=0, paused=pause)).word == "OK"


def test_held_jobs_name_the_paused_task() -> None:
    verdict = ask(QueueRow("emails", pending=2, held=2), paused=("welcome",))
    assert verdict == Verdict("WATCH", ("emails: 2 jobs held, welcome paused",))


def test_a_lost_worker_that_held_jobs_is_named() -> None:
    lost = WorkerRow("w9", "host-c", 4411, "lost", ("emails",), beat_age_s=372.0,
                     holds=(JobRef("1", "emails"), JobRef("2", "emails")))  # fmt: skip
    verdict = ask(QueueRow("emails", pending=0, held=0), (WORKER, lost))
    assert verdict.word == "DEGRADED"
    assert verdict.causes == ("worker host-c:4411 lost 6m ago, held 2 jobs",)
    assert verdict.since == NOW - timedelta(seconds=372)


@pytest.mark.parametrize(("failed", "word"), [(1, "OK"), (3, "WATCH"), (9, "DEGRADED")])
def test_a_task_that_fails_is_named_with_its_share_and_since(failed: int, word: str) -> None:
    minutes = {MINUTE - i: Tally({}, {"send": (10 - failed, failed)}) for i in range(12)}
    minutes[MINUTE - 12] = Tally({}, {"send": (100, 0)})
    verdict = ask(QueueRow("emails", pending=0, held=0), tasks=("send",), minutes=minutes)
    assert verdict.word == word
    if word != "OK":
        assert verdict.causes == (f"emails: {failed}0% of send fail since 03:01 UTC",)


def test_few_runs_say_nothing_about_a_task() -> None:
    minutes = {MINUTE: Tally({}, {"send": (0, 4)})}
    row = QueueRow("emails", pending=0, held=0)
    assert ask(row, tasks=("send",), minutes=minutes).word == "OK"


@pytest.mark.parametrize(("minutes", "word"), [(0.5, "OK"), (2, "WATCH"), (9, "DEGRADED")])
def test_a_schedule_that_nobody_handles_is_late(minutes: float, word: str) -> None:
    row = QueueRow("reports", pending=0, held=0)
    verdict = ask(row, overdue=[("backup_db", since(minutes=minutes))])
    assert verdict.word == word
    if word != "OK":
        said = f"backup_db is {minutes}m late: no worker has handled its slot"
        assert verdict.causes == (said,)
        assert verdict.since == NOW - timedelta(minutes=minutes)


def test_a_schedule_that_was_late_the_last_time_is_named_for_a_day() -> None:
    row, lines = QueueRow("reports", pending=0, held=0), []
    for hours, how, name in ((23.7, "late", "backup_db"), (1, "missed", "a b"), (25, "late", "x")):
        lines.append(f"{since(hours=hours):.0f} 540000 {how} {name}")
    verdict = ask(row, meta={"cron_late": "\n".join(lines).encode()})
    assert verdict.word == "WATCH"
    assert verdict.causes == ("backup_db started 9m late yesterday", "a b missed its slot today")
    for odd in (b"", b"\xff", b"x", b"1 2 3", b"9999999999999999999 1 late x"):
        assert ask(row, meta={"cron_late": odd}) == Verdict("OK")


def test_growing_dead_jobs_are_to_be_watched() -> None:
    minutes = {MINUTE - i: Tally({"dead": 30}, {}) for i in range(0, 20, 2)}
    verdict = ask(QueueRow("emails", pending=0, held=0), minutes=minutes)
    assert verdict.word == "WATCH"
    assert verdict.causes == ("emails: dead +300 in 19m",)
    old = {MINUTE - 20: Tally({"dead": 30}, {})}
    assert ask(QueueRow("emails", pending=0, held=0), minutes=old).word == "OK"


def test_the_worst_cause_comes_first_and_gives_the_word() -> None:
    server = ServerInfo(warnings=("memory is 95% of maxmemory", "the last snapshot to disk failed"))
    verdict = ask(QueueRow("emails", pending=9, held=0), (), server)
    assert verdict.word == "DOWN"
    assert verdict.causes[1:] == ("the last snapshot to disk failed", "memory is 95% of maxmemory")


def test_unknown_numbers_cause_no_alarm() -> None:
    stuck = WorkerRow("w1", "host-a", 7, "stuck", ("emails",))
    verdict = ask(QueueRow("emails"), (stuck,), Failure("no INFO"))
    assert verdict.causes == ("worker host-a:7 is stuck: its event loop is blocked",)
