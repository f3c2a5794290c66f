"""Cancelling jobs in every state and kind, and children that are really gone."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import psutil
import pytest
from tests.core.apps import crunch
from tests.core.serving import eventually, finished, serving, state_of

import qdeck
from qdeck import Context, Deck, State


async def test_a_waiting_job_is_cancelled_at_once_in_each_of_its_states(deck: Deck) -> None:
    @deck.task(backoff=[1000])
    async def fail() -> None:
        raise RuntimeError

    scheduled = await fail.options(delay=1000).enqueue()
    assert await deck.cancel(scheduled.id) == "cancelled"
    pending = await fail.enqueue()
    assert await deck.cancel(pending.id) == "cancelled"
    async with serving(deck):
        retrying = await fail.enqueue()

        async def failed() -> bool:
            return await state_of(deck, retrying) is State.RETRYING

        await eventually(failed)
        assert await deck.cancel(retrying.id) == "cancelled"
        for job in (scheduled, pending, retrying):
            assert await state_of(deck, job) is State.CANCELLED
            assert await deck.cancel(job.id) == "finished"
            with pytest.raises(qdeck.JobCancelled, match="cancelled by the application"):
                await deck.result(job.id)
    with pytest.raises(qdeck.JobNotFound):
        await deck.cancel("0" * 26)


async def test_a_job_that_expired_says_so(deck: Deck) -> None:
    @deck.task
    async def late() -> None: ...

    job = await late.options(expires=0.01).enqueue()
    await asyncio.sleep(0.05)
    async with serving(deck):
        done = await finished(deck, job)
    assert (done.state, done.message, done.attempt) == (State.CANCELLED, "expired", 0)
    with pytest.raises(qdeck.JobCancelled, match="expired"):
        await deck.result(job.id)


async def test_a_running_async_job_is_stopped_where_it_awaits(deck: Deck) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    @deck.task(max_retries=5)
    async def hang() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(deck):
        job = await hang.enqueue()
        await began.wait()
        assert await deck.cancel(job.id) == "requested"
        done = await finished(deck, job)
        assert done.state is State.CANCELLED
        assert ended.is_set()
        assert done.attempt == 1


async def test_a_running_thread_job_sees_that_it_is_to_stop(deck: Deck) -> None:
    began = threading.Event()

    @deck.task(max_retries=5)
    def work(ctx: Context, obey: bool) -> str:
        began.set()
        tick = threading.Event()
        while not ctx.cancelled:
            tick.wait(0.01)
        if obey:
            raise RuntimeError("stopped")
        return "done all the same"

    async with serving(deck):
        for obey, state in ((True, State.CANCELLED), (False, State.COMPLETED)):
            began.clear()
            job = await work.enqueue(obey)
            await asyncio.to_thread(began.wait)
            assert await deck.cancel(job.id) == "requested"
            assert (await finished(deck, job)).state is state


async def test_a_success_that_settles_first_stays_completed(deck: Deck) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    @deck.task
    async def stubborn() -> str:
        began.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                go.set()
        return "done"

    async with serving(deck):
        job = await stubborn.enqueue()
        await began.wait()
        assert await deck.cancel(job.id) == "requested"
        assert await deck.result(job.id, timeout=30) == "done"
        assert await deck.cancel(job.id) == "finished"


async def test_a_cancel_before_the_first_step_of_a_run_frees_its_slot(deck: Deck) -> None:
    ran = []

    @deck.task
    async def note(word: str) -> None:
        ran.append(word)
        await asyncio.sleep(0)

    jobs = await deck.enqueue_many(note.call(f"a{n}") for n in range(50))
    async with serving(deck, concurrency=1):
        for job in reversed(jobs):
            await deck.cancel(job.id)
        for job in jobs:
            await finished(deck, job)
        last = await note.enqueue("last")
        await finished(deck, last)
    assert ran[-1] == "last"


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_a_child_that_is_stopped_is_really_gone(deck: Deck, tmp_path: Path, how: str) -> None:
    for name in ("hang", "double"):
        deck.registry.add(crunch.deck.registry.get(name))
    said = tmp_path / "pid"
    async with serving(deck, concurrency=1):
        options = {"timeout": 10.0} if how == "timeout" else {}
        job = await deck.enqueue("hang", {"path": str(said)}, **options)
        pid = int(await eventually(lambda: said.exists() and said.read_text()))
        child = psutil.Process(pid)
        if how == "cancel":
            assert await deck.cancel(job.id) == "requested"
        done = await finished(deck, job)
        assert done.state is (State.CANCELLED if how == "cancel" else State.DEAD)
        if how == "timeout":
            assert done.error is not None
            assert done.error.type == "TimeoutError"
        await eventually(lambda: not child.is_running())
        again = await deck.enqueue("double", {"n": 1})
        assert await deck.result(again.id, timeout=60) == 2


async def test_a_cancel_of_many_running_jobs_stops_them_all(deck: Deck) -> None:
    running = []

    @deck.task
    async def hang(n: int) -> None:
        running.append(n)
        await asyncio.Event().wait()

    async with serving(deck, concurrency=40):
        jobs = await deck.enqueue_many(hang.call(n) for n in range(40))
        await eventually(lambda: len(running) == 40)
        answers = await asyncio.gather(*(deck.cancel(job.id) for job in jobs))
        assert set(answers) == {"requested"}
        for job in jobs:
            assert (await finished(deck, job)).state is State.CANCELLED
