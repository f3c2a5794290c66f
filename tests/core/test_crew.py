"""The operator's verbs about workers: slots, stacks, and the return of what a lost one held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck import queue as verbs
from qdeck.admin import Denied, JobRef, WorkerRow
from qdeck.worker import Worker


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds, which may be a coroutine function."""
    while True:
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(desk: Desk, concurrency: int) -> AsyncIterator[Worker]:
    """A worker of this process, on the loop of the test."""
    worker = desk.deck.worker("q", concurrency)
    task = asyncio.create_task(worker.run())
    await until(lambda: worker.serving)
    yield worker
    await worker.stop(force=True)
    await task


async def row_of(desk: Desk, worker: str) -> WorkerRow:
    """Return one worker as the operator sees it."""
    return next(row for row in await desk.operator.workers() if row.id == worker)


async def lose(desk: Desk, worker: str, ids: list[str], *, ended: bool = True) -> None:
    """Make a worker one that vanished with these jobs, for longer than their leases or not."""
    held = " ".join(f"q/{job_id}" for job_id in ids)
    fields = ["host", "h", "pid", 7, "state", "running", "lease", 15_000, "held", held]
    shared = desk.deck.shared
    await desk.deck.execute(verbs.register(shared, worker, True, fields))
    beat = int(await desk.call("HGET", shared.worker(worker), "beat")) - 60_000
    await desk.call("HSET", shared.worker(worker), "beat", beat)
    for job_id in ids if ended else []:
        await desk.call("ZADD", desk.deck.keys("q").lease, "XX", 5000, job_id)


async def test_a_worker_gets_more_and_fewer_slots_while_it_runs(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        running, most, gate = 0, 0, asyncio.Event()

        @desk.deck.task(queue="q")
        async def wait() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await gate.wait()
            running -= 1

        async with serving(desk, 2) as worker:
            for _ in range(12):
                await wait.enqueue()
            await until(lambda: running == 2)
            outcome = await desk.operator.slots(worker.id, 5)
            assert outcome.text == f"asked {worker.id} to run up to 5 jobs at a time"
            await until(lambda: running == 5)

            async def shown() -> bool:
                return (await row_of(desk, worker.id)).concurrency == 5

            await until(shown)
            await desk.operator.undo(outcome.entry)
            await until(lambda: worker.concurrency == 2)
            gate.set()
            await until(lambda: worker.done == 12)
            assert most == 5
            rows = await desk.operator.audit()
            assert [(row.verb, row.target, row.queue) for row in rows] == [
                ("slots", f"worker {worker.id}", ""),
                ("slots", f"worker {worker.id}", ""),
            ]
        with pytest.raises(Denied, match="not usable"):
            await desk.operator.slots(worker.id, 0)


async def test_threads_grow_with_the_slots(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        import threading

        meet = threading.Barrier(3, timeout=30)

        @desk.deck.task(queue="q")
        def wait() -> None:
            meet.wait()

        async with serving(desk, 1) as worker:
            await desk.operator.slots(worker.id, 3)
            for _ in range(3):
                await wait.enqueue()
            await until(lambda: worker.done == 3)


async def test_a_worker_says_where_it_stands(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        gate = asyncio.Event()

        @desk.deck.task(queue="q")
        async def lingering() -> None:
            await gate.wait()

        async with serving(desk, 1) as worker:
            assert await desk.operator.stack_of(worker.id) == (None, "")
            await lingering.enqueue()
            await until(lambda: worker.active == 1)
            await desk.operator.stack(worker.id)

            async def said() -> bool:
                return bool((await desk.operator.stack_of(worker.id))[1])

            await until(said)
            at, text = await desk.operator.stack_of(worker.id)
            assert at is not None
            assert "in lingering" in text
            assert "thread MainThread" in text
            gate.set()


async def test_a_quiet_is_taken_back(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        async with serving(desk, 1) as worker:
            quiet = await desk.operator.quiet(worker.id)
            await until(lambda: worker.state == "quiet")
            row = await desk.operator.last_undoable()
            assert row is not None
            assert (row.id, row.verb) == (quiet.entry, "quiet")
            await desk.operator.undo(quiet.entry)
            await until(lambda: worker.state == "running")
            again = await desk.operator.quiet(worker.id)
            await desk.operator.unquiet(worker.id)
            with pytest.raises(Denied, match="since"):
                await desk.operator.undo(again.entry)
        with pytest.raises(Denied, match="no worker"):
            await desk.operator.quiet("nobody")
        with pytest.raises(Denied, match="no worker"):
            await desk.operator.stop("nobody", dry_run=True)


async def test_the_jobs_of_a_lost_worker_come_back_once(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix, lease=1) as desk:
        ids = await desk.put(3)
        await desk.claim(3, worker="gone")
        await lose(desk, "gone", ids)
        held = await desk.operator.job(JobRef(ids[0], "q"))
        assert held is not None
        assert held.lease_ends_at is not None
        assert held.lease_ends_at.timestamp() == 5
        dry = await desk.operator.recover("gone", dry_run=True)
        assert dry.changed == 3
        assert await desk.call("ZCARD", desk.deck.keys("q").lease) == 3
        outcome = await desk.operator.recover("gone")
        assert (outcome.changed, outcome.text) == (3, "returned 3 jobs of gone")
        again = await desk.operator.recover("gone")
        assert again.changed == 0
        assert {each.reason for each in again.skipped} == {"it does not run any more"}
        back = await desk.operator.job(JobRef(ids[0], "q"))
        assert back is not None
        assert (back.lease_ends_at, back.attempts[-1].outcome) == (None, "lost")
        assert (back.attempts[-1].worker, back.attempts[-1].ended_at is None) == ("gone", False)
        claimed = await desk.claim(9)
        assert [job.id for job in claimed] == ids
        assert {job.attempt for job in claimed} == {2}
        (row,) = await desk.operator.audit()
        assert (row.verb, row.target, row.count) == ("recover", "worker gone", 3)


async def test_a_job_whose_lease_lives_is_not_recovered(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix, lease=1) as desk:
        ids = await desk.put(2)
        await desk.claim(2, worker="gone")
        await lose(desk, "gone", ids, ended=False)
        outcome = await desk.operator.recover("gone")
        assert outcome.changed == 0
        assert len(outcome.skipped) == 2
        assert all(each.reason.startswith("its lease lives for") for each in outcome.skipped)
        assert await desk.claim(9) == []
        assert await desk.operator.audit() == ()


async def test_only_what_the_lost_worker_itself_runs_comes_back(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix, lease=1) as desk:
        ids = await desk.put(2)
        await desk.claim(1, worker="gone")
        await desk.claim(1, worker="other")
        await lose(desk, "gone", ids)
        outcome = await desk.operator.recover("gone")
        assert outcome.changed == 1
        assert [(each.ref, each.reason) for each in outcome.skipped] == [
            (JobRef(ids[1], "q"), "it runs at other")
        ]
        assert await desk.call("ZCARD", desk.deck.keys("q").lease) == 1


async def test_named_jobs_of_lost_workers_come_back(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix, lease=1) as desk:
        ids = await desk.put(4)
        await desk.claim(2, worker="gone")
        await desk.claim(1, worker="here")
        await lose(desk, "gone", ids[:3])
        await desk.deck.execute(verbs.register(desk.deck.shared, "here", True, ["lease", 15_000]))
        refs = [JobRef(each, "q") for each in ids[1:]]
        assert (await desk.operator.recover(refs, dry_run=True)).text == "would return 1 job"
        outcome = await desk.operator.recover(refs)
        assert (outcome.changed, outcome.text) == (1, "returned 1 job")
        assert [(each.ref.id, each.reason) for each in outcome.skipped] == [
            (ids[2], "its worker here is alive"),
            (ids[3], "it does not run"),
        ]
        assert {job.id for job in await desk.claim(9)} == {ids[1], ids[3]}
        (row,) = await desk.operator.audit()
        assert (row.verb, row.target, row.count) == ("recover", "3 jobs", 1)


async def test_a_worker_that_lives_is_not_recovered(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.deck.execute(verbs.register(desk.deck.shared, "here", True, ["lease", 15_000]))
        with pytest.raises(Denied, match="was heard of"):
            await desk.operator.recover("here")
        with pytest.raises(Denied, match="no worker"):
            await desk.operator.recover("nobody")


async def test_nothing_is_recovered_right_after_an_outage(prefix: str) -> None:
    with Server() as own:
        async with Desk(own.url, prefix, lease=3600) as desk:
            ids = await desk.put(1)
            await desk.claim(1, worker="gone")
            await lose(desk, "gone", ids)
            with pytest.raises(Denied, match="has been up for"):
                await desk.operator.recover("gone")
