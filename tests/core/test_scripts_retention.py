"""How long finished jobs and logs are kept, on a real server under a clock that the test sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.core.onejob import end, enqueue, field, work
from tests.core.yard import FINE, Yard
from tests.servers import Server, settings_for

from qdeck import queue as verbs
from qdeck.record import Settle


@pytest.fixture
def yard(unix_valkey: Server, prefix: str) -> Iterator[Yard]:
    """An empty queue that knows one id."""
    client = unix_valkey.client()
    yield Yard(client, prefix, [FINE])
    client.close()


def finish(yard: Yard, count: int) -> None:
    """Complete so many jobs."""
    ids = [f"done-{number:03d}" for number in range(count)]
    for job_id in ids:
        enqueue(yard, job_id)
    work(yard, count)
    work(yard, 0, [Settle(job_id, 1, "c", "mail", 1.0, "3") for job_id in ids])


def trim(yard: Yard, **terms: Any) -> list[int]:
    """Trim by these terms; return how many jobs and logs went."""
    settings = settings_for("redis://127.0.0.1", **terms)
    return list(yard.run(verbs.trim(yard.keys, settings)))


def test_finished_jobs_stay_for_30_s_whatever_their_number_or_age(yard: Yard) -> None:
    finish(yard, 10)
    terms = {"keep_completed": 0, "keep_completed_max": 0}
    yard.bench.advance(30_000 - 1)
    assert trim(yard, **terms) == [0, 0]
    assert enqueue(yard, "done-003") == b"="
    yard.bench.advance(2)
    assert trim(yard, **terms) == [10, 0]
    assert enqueue(yard, "done-003") == b"p"


def test_the_oldest_finished_jobs_beyond_the_number_kept_go_first(yard: Yard) -> None:
    finish(yard, 10)
    yard.bench.advance(31_000)
    assert trim(yard, keep_completed_max=7) == [3, 0]
    left = yard.client.zrange(yard.keys.completed, 0, -1)
    assert left == [f"done-{number:03d}".encode() for number in range(3, 10)]
    assert not yard.client.keys(yard.keys.job("done-002").replace("{", "[{]"))


def test_trimming_takes_at_most_200_jobs_a_call(yard: Yard) -> None:
    finish(yard, 450)
    yard.bench.advance(86_400_001)
    assert [trim(yard)[0] for _ in range(4)] == [200, 200, 50, 0]
    assert yard.client.hget(yard.keys.tasks, "completed:mail") == b"0"


def test_a_trimmed_job_leaves_nothing_behind(yard: Yard) -> None:
    enqueue(yard, max_retries=0, unique="one")
    work(yard, 1)
    yard.log()
    end(yard, 1)
    yard.bench.advance(31_000)
    assert trim(yard, keep_dead=0) == [1, 0]
    names = [key.decode() for key in yard.client.keys(yard.keys.tag.replace("{", "[{]") + "*")]
    assert not [name for name in names if FINE in name or "unique" in name or "errors" in name]


def log(yard: Yard, job_id: str, lines: int, size: int) -> None:
    """Write lines to a log."""
    part = [job_id, 1, [20, 0, "x" * size] * lines]
    yard.run(verbs.append_logs(yard.keys, [msgspec.msgpack.encode(part)]))


def test_logs_beyond_the_budget_go_oldest_finished_first(yard: Yard) -> None:
    finish(yard, 4)
    for number in (2, 0, 1):
        yard.bench.advance(1)
        log(yard, f"done-{number:03d}", 1, 960)
    assert yard.client.hget(yard.keys.meta, "log_bytes") == b"3000"
    assert trim(yard, log_budget=2000) == [0, 1]
    assert not yard.client.exists(yard.keys.log("done-002"))
    assert yard.client.hget(yard.keys.meta, "log_bytes") == b"2000"


def test_a_log_is_capped_in_lines_and_bytes_and_keeps_the_newest(yard: Yard) -> None:
    enqueue(yard)
    work(yard, 1)
    for _ in range(5):
        log(yard, FINE, 500, 1)
    assert yard.client.xlen(yard.keys.log(FINE)) == 2000
    for _ in range(4):
        log(yard, FINE, 100, 8000)
    size = int(field(yard, "logb") or 0)
    assert 1_000_000 < size <= 1_048_576
    assert yard.client.hget(yard.keys.meta, "log_bytes") == str(size).encode()
    end(yard, 1, "c", "3")
    assert yard.client.xlen(yard.keys.log(FINE)) <= 200
