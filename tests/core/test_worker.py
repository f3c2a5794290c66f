"""Workers that run jobs: kinds of tasks, options, contexts, outcomes, hooks, middleware."""

from __future__ import annotations

import asyncio
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.core.apps import crunch
from tests.core.serving import eventually, finished, log_of, new_deck, serving
from tests.servers import Server

import qdeck
from qdeck import Context, Deck, State


async def test_an_async_task_runs_and_its_result_is_kept(deck: Deck) -> None:
    @deck.task
    async def add(a: int, b: int = 2) -> int:
        return a + b

    async with serving(deck) as worker:
        job = await add.enqueue(1)
        assert await deck.result(job.id, timeout=30) == 3
        done = await finished(deck, job)
    assert done.state is State.COMPLETED
    assert (done.attempt, done.max_attempts, done.payload) == (1, 4, {"a": 1, "b": 2})
    assert done.worker == worker.id
    assert done.created_at is not None
    assert done.started_at is not None
    assert done.finished_at is not None
    assert done.created_at <= done.started_at <= done.finished_at
    assert done.created_at.tzinfo is UTC
    assert done.error is None


async def test_a_plain_function_runs_in_a_thread_and_sees_its_context(deck: Deck) -> None:
    seen: dict[str, Any] = {}

    @deck.task(max_retries=1)
    def look(ctx: Context, word: str) -> str:
        seen.update(
            thread=threading.current_thread().name,
            job=ctx.job_id,
            queue=ctx.queue,
            attempt=ctx.attempt,
            most=ctx.max_attempts,
            metadata=dict(ctx.metadata),
            cancelled=ctx.cancelled,
        )
        ctx.progress(150, "nearly")
        ctx.log.warning("said %s", word)
        sys.stdout.write(f"printed {word}\n")
        return word.upper()

    async with serving(deck):
        job = await look.options(metadata={"by": "me"}, queue="default").enqueue("hi")
        assert await deck.result(job.id, timeout=30) == "HI"
        done = await finished(deck, job)
    assert seen.pop("thread").startswith("qdeck-job")
    assert seen == {
        "job": job.id,
        "queue": "default",
        "attempt": 1,
        "most": 2,
        "metadata": {"by": "me"},
        "cancelled": False,
    }
    assert (done.progress, done.message) == (100, "nearly")
    assert await log_of(deck, job) == [("warning", "said hi"), ("out", "printed hi")]


async def test_a_process_task_runs_in_a_child_with_context_log_and_progress(deck: Deck) -> None:
    deck.registry.add(crunch.deck.registry.get("whoami"))
    async with serving(deck, concurrency=1):
        job = await deck.enqueue("whoami", {"word": "hi"}, metadata={"k": [1]})
        found = await deck.result(job.id, timeout=60)
        done = await finished(deck, job)
    assert found["pid"] != found["parent"]
    assert found["metadata"] == {"k": [1]}
    assert found["attempt"] == 1
    assert found["state"] is None
    assert (done.progress, done.message) == (40.0, "done hi")
    assert ("info", "logged hi") in await log_of(deck, job)
    assert ("out", "printed hi") in await log_of(deck, job)


async def test_a_child_shares_the_memory_server_of_its_worker() -> None:
    async with crunch.deck as deck, serving(deck, concurrency=2):
        job = await crunch.enqueue_more.enqueue(7)
        more = await deck.result(job.id, timeout=60)
        assert await deck.result(more, timeout=60) == 7


async def test_the_largest_payloads_and_results_pass(deck: Deck) -> None:
    @deck.task
    async def echo(blob: str) -> str:
        return blob[: 256 * 1024 - 2]

    blob = "x" * (1024 * 1024 - 11)
    async with serving(deck, concurrency=20):
        jobs = [await echo.enqueue(blob) for _ in range(20)]
        for job in jobs:
            assert len(await deck.result(job.id, timeout=30)) == 256 * 1024 - 2
    with pytest.raises(qdeck.InvalidPayload, match="1048577 bytes"):
        await echo.enqueue(blob + "x")


async def test_concurrent_jobs_do_not_mix_their_logs(deck: Deck) -> None:
    together = asyncio.Barrier(3)

    @deck.task
    async def speak(ctx: Context, who: int) -> None:
        for number in range(3):
            await together.wait()
            sys.stdout.write(f"{who} {number}\n")
            ctx.log.info("log %d %d", who, number)

    async with serving(deck):
        jobs = await deck.enqueue_many(speak.call(who) for who in range(3))
        for who, job in enumerate(jobs):
            await finished(deck, job)
            texts = [text for _, text in await log_of(deck, job)]
            expected = [word for n in range(3) for word in (f"{who} {n}", f"log {who} {n}")]
            assert sorted(texts) == sorted(expected)


async def test_reports_of_a_long_run_arrive_while_it_runs(deck: Deck) -> None:
    steps: asyncio.Queue[int] = asyncio.Queue()

    @deck.task
    async def long(ctx: Context) -> None:
        while (step := await steps.get()) < 100:
            ctx.progress(step, f"step {step}")
            ctx.log.info("line %d", step)

    async with serving(deck):
        job = await long.enqueue()
        for step in (10, 20, 30):
            await steps.put(step)

            async def arrived(step: int = step) -> bool:
                found = await deck.job(job.id)
                assert found is not None
                lines = [text for _, text in await log_of(deck, job)]
                return found.progress == step and f"line {step}" in lines

            await eventually(arrived)
        await steps.put(100)
        await finished(deck, job)


async def test_a_failing_job_is_retried_and_ends_dead_with_its_last_error(deck: Deck) -> None:
    attempts = []

    @deck.task(max_retries=2)
    async def fail(ctx: Context) -> None:
        attempts.append((ctx.attempt, ctx.max_attempts))
        raise ValueError(f"no {ctx.attempt}")

    async with serving(deck):
        job = await fail.enqueue()
        done = await finished(deck, job)
        with pytest.raises(qdeck.JobDead, match="ValueError: no 3"):
            await deck.result(job.id)
    assert attempts == [(1, 3), (2, 3), (3, 3)]
    assert done.state is State.DEAD
    assert done.attempt == 3
    assert done.error is not None
    assert (done.error.type, done.error.message) == ("ValueError", "no 3")
    assert "raise ValueError" in done.error.traceback
    assert len(done.error.fingerprint) == 16


async def test_a_job_with_no_retries_is_dead_after_one_run(deck: Deck) -> None:
    runs = []

    @deck.task
    async def fail() -> None:
        runs.append(1)
        raise RuntimeError

    async with serving(deck):
        done = await finished(deck, await fail.options(max_retries=0).enqueue())
    assert (done.state, len(runs)) == (State.DEAD, 1)


async def test_the_backoff_decides_when_a_job_is_due_again(deck: Deck) -> None:
    @deck.task(backoff=[1000])
    async def fail() -> None:
        raise RuntimeError

    async with serving(deck):
        job = await fail.enqueue()

        async def retrying() -> qdeck.Job[Any] | None:
            found = await deck.job(job.id)
            return found if found and found.state is State.RETRYING else None

        found = await eventually(retrying)
        assert found.available_at is not None
        assert found.started_at is not None
        assert 999 <= (found.available_at - found.started_at).total_seconds() <= 1060
        assert await deck.cancel(job.id) == "cancelled"


async def test_a_delayed_job_and_one_for_a_time_wait_until_they_are_due(deck: Deck) -> None:
    @deck.task
    async def note() -> None: ...

    later = datetime.now(UTC) + timedelta(seconds=1.2)
    one = await note.options(delay=0.8).enqueue()
    two = await note.options(at=later).enqueue()
    assert (one.state, two.state) == (State.SCHEDULED, State.SCHEDULED)
    async with serving(deck):
        done = await finished(deck, one)
        assert done.started_at is not None
        assert done.available_at is not None
        assert done.available_at <= done.started_at
        done = await finished(deck, two)
        assert done.started_at is not None
        assert done.started_at >= later - timedelta(milliseconds=2)


async def test_a_job_that_did_not_start_in_time_is_cancelled_as_expired(deck: Deck) -> None:
    ran = []

    @deck.task
    async def note(word: str) -> None:
        ran.append(word)

    past = datetime.now(UTC) - timedelta(seconds=1)
    late = await note.options(expires=past).enqueue("late")
    early = await note.options(expires=600).enqueue("early")
    async with serving(deck):
        assert (await finished(deck, late)).state is State.CANCELLED
        assert (await finished(deck, early)).state is State.COMPLETED
        with pytest.raises(qdeck.JobCancelled):
            await deck.result(late.id)
    assert ran == ["early"]
    assert await deck.call("HGET", deck.keys("default").run(late.id), "reason") == b"expired"


async def test_the_options_timeout_wins_over_the_tasks_own(deck: Deck) -> None:
    @deck.task(timeout=300, max_retries=0)
    async def hang() -> None:
        await asyncio.Event().wait()

    async with serving(deck):
        done = await finished(deck, await hang.options(timeout=0.2).enqueue())
    assert done.state is State.DEAD
    assert done.error is not None
    assert done.error.type == "TimeoutError"
    assert "0.2 s" in done.error.message


async def test_higher_priorities_run_first_and_equal_ones_in_order(deck: Deck) -> None:
    ran = []

    @deck.task
    async def note(word: str) -> None:
        ran.append(word)

    words = [("a", "low"), ("b", None), ("c", 9), ("d", "critical"), ("e", None), ("f", "high")]
    for word, priority in words:
        await note.options(priority=priority).enqueue(word)
    async with serving(deck, concurrency=1, burst=True):
        await eventually(lambda: len(ran) == 6)
    assert ran == ["c", "d", "f", "b", "e", "a"]


async def test_a_unique_job_is_held_until_it_finishes_and_may_then_come_again(deck: Deck) -> None:
    go = asyncio.Event()

    @deck.task(unique=True)
    async def one(n: int) -> int:
        await go.wait()
        return n

    async with serving(deck):
        first = await one.enqueue(1)
        again, other = await one.enqueue(1), await one.enqueue(2)
        assert (again.id, again.created, other.created) == (first.id, False, True)
        go.set()
        await finished(deck, first)
        third = await one.enqueue(1)
        assert third.created
        await finished(deck, third)
        await finished(deck, other)


async def test_unique_for_holds_the_key_beyond_the_end_of_the_job(deck: Deck) -> None:
    @deck.task
    async def one() -> None: ...

    async with serving(deck):
        first = await one.options(unique="k", unique_for=600).enqueue()
        await finished(deck, first)
        again = await one.options(unique="k").enqueue()
    assert (again.id, again.created, again.state) == (first.id, False, State.COMPLETED)


async def test_a_worker_of_a_lean_producer_job_takes_the_tasks_terms(
    deck: Deck, valkey: Server, prefix: str
) -> None:
    attempts = []

    @deck.task(max_retries=1, queue="mail")
    async def send(to: str) -> None:
        attempts.append(to)
        raise RuntimeError

    async with serving(deck), new_deck(valkey.url, prefix) as producer:
        job = await producer.enqueue("send", {"to": "x"})
        assert job.queue == "mail"
        done = await finished(deck, job)
    assert (done.state, attempts) == (State.DEAD, ["x", "x"])
