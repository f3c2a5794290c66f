"""The sync connection: jobs run where they are dispatched, and nothing is stored."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

import qdeck
from qdeck import Context, Deck, State
from qdeck.inline import NoSink


@pytest.fixture
def deck() -> Deck:
    return Deck("sync://")


async def test_a_dispatch_runs_the_handler_and_returns_the_finished_job(deck: Deck) -> None:
    seen: dict[str, Any] = {}

    @deck.task(max_retries=2, queue="mail")
    async def add(ctx: Context, a: int, b: int) -> int:
        seen.update(attempt=ctx.attempt, most=ctx.max_attempts, queue=ctx.queue, job=ctx.job_id)
        seen.update(metadata=ctx.metadata, thread=threading.current_thread())
        ctx.progress(50, "half")
        ctx.progress(None, "more")
        assert not ctx.cancelled
        return a + b

    job = await add.options(metadata={"k": 1}).enqueue(1, 2)
    assert (job.state, job.result, job.attempt) == (State.COMPLETED, 3, 1)
    assert (job.progress, job.message) == (50, "more")
    assert job.started_at is not None
    assert job.finished_at is not None
    assert seen.pop("thread") is not threading.current_thread()
    assert seen == {
        "attempt": 1, "most": 3, "queue": "mail", "job": job.id, "metadata": {"k": 1},
    }  # fmt: skip
    assert await deck.job(job.id) == job
    assert await deck.result(job.id) == 3
    assert await deck.cancel(job.id) == "finished"


def test_it_works_without_a_loop(deck: Deck) -> None:
    @deck.task
    async def add(a: int, b: int) -> int:
        return a + b

    @deck.task
    def shout(word: str) -> str:
        return word.upper()

    assert add.enqueue_sync(1, 2).result == 3
    assert shout.enqueue_sync("a").result == "A"
    assert [job.result for job in deck.enqueue_many_sync([add.call(1, 1), add.call(2, 2)])] == [
        2,
        4,
    ]
    job = deck.enqueue_sync("shout", {"word": "b"})
    assert deck.result_sync(job.id) == "B"
    assert deck.job_sync(job.id) == job
    assert deck.cancel_sync(job.id) == "finished"
    with pytest.raises(qdeck.JobNotFound):
        deck.cancel_sync("0" * 26)
    assert deck.job_sync("0" * 26) is None


async def test_it_works_inside_a_running_loop_too(deck: Deck) -> None:
    @deck.task
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    assert add.enqueue_sync(1, 2).result == 3
    jobs = await asyncio.gather(*(add.enqueue(n, n) for n in range(5)))
    assert [job.result for job in jobs] == [0, 2, 4, 6, 8]
    many = await deck.enqueue_many(add.call(n, 1) for n in range(3))
    assert [job.result for job in many] == [1, 2, 3]


async def test_what_a_handler_raises_reaches_who_dispatched_it_and_nothing_is_retried(
    deck: Deck,
) -> None:
    runs, failures = [], []

    @deck.task(max_retries=5)
    async def fail() -> None:
        runs.append(1)
        raise KeyError("x")

    @deck.register
    class Pay(qdeck.Task):
        order: int

        def handle(self, ctx: Context) -> None:
            raise ValueError(self.order)

        def failed(self, error: Exception) -> None:
            failures.append(str(error))

    with pytest.raises(KeyError):
        await fail.enqueue()
    with pytest.raises(KeyError):
        fail.enqueue_sync()
    assert len(runs) == 2
    with pytest.raises(ValueError, match="3"):
        await Pay(order=3).dispatch()
    with pytest.raises(ValueError, match="4"):
        Pay(order=4).dispatch_sync()
    assert failures == ["3", "4"]


async def test_delay_and_queue_are_ignored_with_a_warning(
    deck: Deck, caplog: pytest.LogCaptureFixture
) -> None:
    @deck.task
    async def note(ctx: Context) -> str:
        return ctx.queue

    job = await note.options(delay=600, queue="other").enqueue()
    assert job.state is State.COMPLETED
    assert "delay and queue are ignored" in caplog.text
    caplog.clear()
    await note.enqueue()
    assert caplog.text == ""


async def test_wrong_arguments_and_unknown_tasks_are_refused(deck: Deck) -> None:
    @deck.task
    async def note(n: int) -> None: ...

    with pytest.raises(qdeck.InvalidPayload):
        await note.enqueue("x")  # type: ignore[arg-type]
    with pytest.raises(qdeck.UnknownTask):
        await deck.enqueue("nobody", {})
    with pytest.raises(qdeck.UnknownTask):
        deck.enqueue_sync("nobody")


async def test_middleware_and_lifespan_surround_each_run() -> None:
    calls: list[Any] = []

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        calls.append("open")
        yield "pool"
        calls.append("closed")

    async def wrap(ctx: Context, call_next: Any) -> Any:
        calls.append(ctx.state)
        return await call_next()

    deck = Deck("sync://", lifespan=lifespan, middleware=[wrap])

    @deck.task
    def note(ctx: Context) -> None:
        calls.append("run")

    await note.enqueue()
    assert calls == ["open", "pool", "run", "closed"]


async def test_a_worker_and_a_server_are_refused_with_the_reason(deck: Deck) -> None:
    with pytest.raises(qdeck.SettingsError, match="sync connection"):
        deck.worker()
    with pytest.raises(qdeck.SettingsError):
        await deck.queues()
    async with deck:
        await deck.close()
    deck.close_sync()


def test_progress_without_a_worker_is_kept_beside_the_run() -> None:
    sink = NoSink()
    sink.progress(10, None)
    sink.progress(None, "x")
    assert sink.last == (10, "x")
    assert sink.cancelled is False
