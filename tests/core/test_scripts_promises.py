"""Single promises of the scripts, each on a real server under a clock that the test sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.core.onejob import end, enqueue, field, lose, marker, place, tend, work
from tests.core.yard import FINE, LAST, LEASE, Yard
from tests.servers import Server

from qdeck import queue as verbs
from qdeck.errors import QueueFull
from qdeck.record import Body, Settle, encode_body, read_claim


@pytest.fixture
def yard(unix_valkey: Server, prefix: str) -> Iterator[Yard]:
    """An empty queue that knows one id."""
    client = unix_valkey.client()
    yield Yard(client, prefix, [FINE])
    client.close()


def test_a_job_runs_once_more_than_its_retries_whatever_ended_a_run(yard: Yard) -> None:
    enqueue(yard, max_retries=2)
    work(yard, 1)
    assert end(yard, 1) == "retrying"
    tend(yard)
    work(yard, 1)
    assert lose(yard) == [FINE]
    assert [job.attempt for job in work(yard, 1).claimed] == [3]
    assert end(yard, 3) == "dead"
    assert field(yard, "reason") == "no runs left"


def test_a_retried_dead_job_has_all_its_runs_again(yard: Yard) -> None:
    enqueue(yard, max_retries=1)
    for fence in (1, 3):
        work(yard, 1)
        assert end(yard, fence) == "retrying"
        tend(yard)
        assert [job.attempt for job in work(yard, 1).claimed] == [2]
        assert end(yard, fence + 1) == "dead"
        yard.move("retry")
        assert place(yard) == "ready"


def test_the_third_crash_is_poison_though_runs_are_left(yard: Yard) -> None:
    enqueue(yard, max_retries=9)
    for _ in range(3):
        assert len(work(yard, 1).claimed) == 1
        assert lose(yard) == [FINE]
    assert place(yard) == "dead"
    assert (field(yard, "reason") or "").startswith("poison")


def test_a_job_whose_last_run_was_lost_is_dead(yard: Yard) -> None:
    enqueue(yard, max_retries=0)
    work(yard, 1)
    lose(yard)
    assert place(yard) == "dead"


def test_an_unknown_task_is_tried_again_later_and_dead_after_its_grace(yard: Yard) -> None:
    enqueue(yard, max_retries=0)
    waits = []
    for fence in range(1, 9):
        work(yard, 1)
        assert end(yard, fence, "u", 600_000) == "retrying"
        waits.append(yard.client.zscore(yard.keys.retrying, FINE) - yard.bench.now)
        yard.bench.advance(60_000)
        tend(yard)
    assert waits == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    assert read_claim((field(yard, "run") or "").encode()).attempt == 0
    yard.bench.advance(600_000)
    work(yard, 1)
    assert end(yard, 9, "u", 600_000) == "dead"


def test_a_task_that_was_known_in_between_has_its_whole_grace_again(yard: Yard) -> None:
    enqueue(yard, max_retries=5)
    work(yard, 1)
    assert end(yard, 1, "u", 600_000) == "retrying"
    yard.bench.advance(900_000)
    tend(yard)
    work(yard, 1)
    assert end(yard, 2) == "retrying"
    tend(yard)
    work(yard, 1)
    assert end(yard, 3, "u", 600_000) == "retrying"


def test_a_job_that_was_not_started_in_time_is_cancelled_as_expired(yard: Yard) -> None:
    enqueue(yard, expires_in=1000, unique="one")
    yard.bench.advance(1000)
    assert work(yard, 1).claimed == []
    assert (place(yard), field(yard, "reason")) == ("cancelled", "expired")
    assert enqueue(yard, LAST, unique="one") == b"p"


def test_a_job_that_had_started_in_time_does_not_expire(yard: Yard) -> None:
    enqueue(yard, expires_in=1000)
    work(yard, 1)
    assert end(yard, 1, "b") == "pending"
    yard.bench.advance(5000)
    assert len(work(yard, 1).claimed) == 1
    assert end(yard, 2, "s", 1000) == "retrying"
    yard.bench.advance(5000)
    tend(yard)
    assert len(work(yard, 1).claimed) == 1


def test_an_expired_job_that_an_operator_sends_again_is_run(yard: Yard) -> None:
    enqueue(yard, expires_in=1000)
    yard.bench.advance(1000)
    work(yard, 1)
    yard.move("retry")
    assert len(work(yard, 1).claimed) == 1


@pytest.mark.parametrize(("kind", "state"), [("f", "cancelled"), ("c", "completed")])
def test_whoever_settles_first_wins_over_a_cancel(yard: Yard, kind: str, state: str) -> None:
    enqueue(yard, max_retries=5)
    work(yard, 1)
    yard.move("cancel")
    assert yard.run(verbs.beat(yard.keys, LEASE, [(FINE, 1)])) == [b"x"]
    assert end(yard, 1, kind, "3" if kind == "c" else 0) == state


def test_a_lost_run_that_was_asked_to_stop_is_cancelled(yard: Yard) -> None:
    enqueue(yard, max_retries=5)
    work(yard, 1)
    yard.move("cancel")
    lose(yard)
    assert place(yard) == "cancelled"


def test_a_result_with_an_old_fence_is_refused_and_counted(yard: Yard) -> None:
    enqueue(yard, max_retries=5)
    work(yard, 1)
    lose(yard)
    work(yard, 1, worker="bob")
    assert end(yard, 1, "c", "3") == "stale"
    assert yard.client.hget(yard.keys.totals, "stale") == b"1"
    assert place(yard) == "lease"
    assert end(yard, 2, "c", "3") == "completed"


def test_a_repeated_settle_answers_the_same_and_counts_nothing(yard: Yard) -> None:
    enqueue(yard)
    work(yard, 1)
    assert [end(yard, 1, "c", "3") for _ in range(3)] == ["completed"] * 3
    assert yard.client.hget(yard.keys.meta, "enqueued") == b"1"
    assert yard.client.hgetall(yard.keys.totals) == {b"completed": b"1"}


def test_a_repeated_claim_returns_the_same_jobs_for_a_minute(yard: Yard) -> None:
    for job_id in (FINE, LAST):
        enqueue(yard, job_id)
    first = work(yard, 1).claimed
    yard.counter -= 1
    assert work(yard, 1).claimed == first
    assert 0 < yard.client.pttl(yard.keys.last("ann")) <= 60_000


def test_a_claim_that_its_worker_gave_up_takes_nothing_when_it_arrives_late(yard: Yard) -> None:
    for job_id in (FINE, LAST):
        enqueue(yard, job_id)
    yard.counter = 7
    work(yard, 1)
    yard.counter = 3
    assert work(yard, 1).claimed == []


def test_after_an_outage_nothing_is_taken_back_for_a_whole_lease(yard: Yard) -> None:
    enqueue(yard, max_retries=5)
    work(yard, 1)
    yard.bench.advance(600_000)
    assert work(yard, 1, worker="bob").claimed == []
    assert tend(yard) == []
    assert yard.run(verbs.beat(yard.keys, LEASE, [(FINE, 1)])) == [b"1"]
    lost: list[str] = []
    for _ in range(5):
        yard.wait(5)
        lost += tend(yard)
    assert lost == [FINE]


@pytest.mark.parametrize("lease", [0.5, 2.0, 15.0])
def test_one_idle_worker_takes_a_lost_job_back_within_two_leases_and_5_s(
    yard: Yard, lease: float
) -> None:
    enqueue(yard, max_retries=5)
    yard.run(verbs.work(yard.keys, "ann", 1, 1, lease, []))
    began = yard.bench.now
    lost: list[str] = []
    while not lost:
        answer = yard.run(verbs.tend(yard.keys, lease, 1))
        next_s, _, lost = verbs.read_tend(answer)
        yard.bench.advance(int(min(5.0, next_s if next_s is not None else 5.0) * 1000))
        assert yard.bench.now - began <= 2000 * lease + 5000


def test_a_clock_set_back_delays_no_lease_by_more_than_two(yard: Yard) -> None:
    enqueue(yard, max_retries=5)
    work(yard, 1)
    yard.bench.advance(-3_600_000)
    lost: list[str] = []
    for _ in range(8):
        yard.wait(5)
        lost += tend(yard)
    assert lost == [FINE]


def test_a_clock_set_back_does_not_stop_a_rate(yard: Yard) -> None:
    for job_id in (FINE, LAST):
        enqueue(yard, job_id)
    yard.run(verbs.limit(yard.keys, None, 1.0))
    assert len(work(yard, 2).claimed) == 1
    yard.bench.advance(-3_600_000)
    assert work(yard, 2).claimed == []
    yard.bench.advance(1000)
    assert len(work(yard, 2).claimed) == 1


def test_a_rate_lets_so_many_start_a_second_and_saves_up_one_second(yard: Yard) -> None:
    yard.run(verbs.limit(yard.keys, None, 2.0))
    for number in range(20):
        enqueue(yard, f"job-{number}")
    assert len(work(yard, 9).claimed) == 2
    turn = work(yard, 9)
    assert turn.claimed == []
    assert turn.next_s == 0.5
    yard.bench.advance(500)
    assert len(work(yard, 9).claimed) == 1
    yard.bench.advance(60_000)
    assert len(work(yard, 9).claimed) == 2


def test_a_job_that_waits_for_a_token_wakes_somebody_who_then_knows_when(yard: Yard) -> None:
    yard.run(verbs.limit(yard.keys, None, 1.0))
    enqueue(yard)
    work(yard, 1)
    assert marker(yard) is None
    enqueue(yard, LAST)
    assert marker(yard) == 1
    assert work(yard, 1).next_s == 1.0
    assert marker(yard) is None


def test_a_job_due_sooner_wakes_somebody_until_a_worker_looked(yard: Yard) -> None:
    enqueue(yard, delay=60_000)
    assert work(yard, 1).next_s == 60
    enqueue(yard, "sooner", delay=1000)
    enqueue(yard, "later", delay=90_000)
    yard.run(verbs.move(yard.keys, "cancel", "eve", ["later"]))
    assert marker(yard) == 1
    assert work(yard, 0).next_s == 1.0
    assert marker(yard) is None


def test_a_limit_holds_over_workers_and_frees_a_place_with_a_lost_job(yard: Yard) -> None:
    yard.run(verbs.limit(yard.keys, 1, None))
    for job_id in (FINE, LAST):
        enqueue(yard, job_id)
    assert len(work(yard, 5).claimed) == 1
    assert work(yard, 5, worker="bob").claimed == []
    assert marker(yard) is None
    assert lose(yard) == [FINE]
    assert marker(yard) == 0


def test_jobs_of_a_paused_task_do_not_hide_what_stands_behind_them(yard: Yard) -> None:
    for number in range(150):
        enqueue(yard, f"job-{number:03d}")
    other = encode_body(Body("report", "{}"))
    yard.run(verbs.enqueue(yard.keys, 0, [LAST, other]))
    yard.run(verbs.pause(yard.keys, True, "eve", "mail"))
    turn = work(yard, 1)
    assert [job.id for job in turn.claimed] == [LAST]
    assert yard.client.zcard(yard.keys.held("mail")) == 150


def test_a_claim_parks_at_most_200_jobs_and_then_says_again(yard: Yard) -> None:
    for number in range(450):
        enqueue(yard, f"job-{number:03d}")
    yard.run(verbs.pause(yard.keys, True, "eve", "mail"))
    turns = [work(yard, 1) for _ in range(3)]
    assert [turn.again for turn in turns] == [True, True, False]
    assert marker(yard) is None
    yard.run(verbs.pause(yard.keys, False, "eve", "mail"))
    order = []
    for _ in range(5):
        tend(yard)
    while claimed := work(yard, 100).claimed:
        order += [job.id for job in claimed]
    assert order == [f"job-{number:03d}" for number in range(450)]


def test_order_is_priority_then_first_in_also_for_what_was_given_back(yard: Yard) -> None:
    for number, priority in enumerate([4, 9, 4, 0, 9]):
        enqueue(yard, f"job-{number}", priority=priority)
    assert [job.id for job in work(yard, 2).claimed] == ["job-1", "job-4"]
    given = [Settle(f"job-{number}", 1, "b", "mail") for number in (4, 1)]
    turn = work(yard, 5, given)
    assert [job.id for job in turn.claimed] == ["job-1", "job-4", "job-0", "job-2", "job-3"]


def test_a_full_queue_refuses_the_whole_call_and_counts_all_that_is_unfinished(yard: Yard) -> None:
    enqueue(yard)
    work(yard, 1)
    enqueue(yard, "later", delay=1000)
    yard.run(verbs.pause(yard.keys, True, "eve", "mail"))
    enqueue(yard, "held")
    two = [part for name in "ab" for part in (name, encode_body(Body("mail", "{}")))]
    with pytest.raises(QueueFull):
        yard.run(verbs.enqueue(yard.keys, 4, two))
    assert yard.run(verbs.enqueue(yard.keys, 5, two))[1:] == [b"p", b"p"]
    assert enqueue(yard, max_size=1) == b"="


def test_the_same_id_twice_in_one_call_is_one_job(yard: Yard) -> None:
    body = encode_body(Body("mail", "{}"))
    answer = yard.run(verbs.enqueue(yard.keys, 0, [FINE, body, FINE, body]))
    assert answer[1:] == [b"p", b"="]
    assert yard.client.hget(yard.keys.tasks, "pending:mail") == b"1"


def test_a_unique_key_is_held_until_the_end_and_at_least_as_long_as_asked(yard: Yard) -> None:
    enqueue(yard, unique="one", unique_for=60_000)
    assert enqueue(yard, LAST, unique="one") == FINE.encode()
    work(yard, 1)
    end(yard, 1, "c", "3")
    assert enqueue(yard, LAST, unique="one") == FINE.encode()
    yard.bench.advance(60_000)
    assert enqueue(yard, LAST, unique="one") == b"p"


def test_retrying_a_dead_job_takes_its_unique_key_again_or_is_skipped(yard: Yard) -> None:
    enqueue(yard, unique="one", max_retries=0)
    work(yard, 1)
    end(yard, 1)
    enqueue(yard, LAST, unique="one")
    moved = yard.run(verbs.move(yard.keys, "retry", "eve", [FINE]))
    assert verbs.read_moved(moved)[0].outcome == "unique"
    yard.run(verbs.move(yard.keys, "delete", "eve", [LAST]))
    yard.move("retry")
    assert enqueue(yard, "third", unique="one") == FINE.encode()
