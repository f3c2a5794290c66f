"""Workers and logs as an operator sees them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.core.desk import Desk
from tests.servers import Server

import qdeck
from qdeck import queue as verbs
from qdeck.admin import Denied, JobRef, LogTrail, Verdict, Window
from qdeck.crew import whoami
from qdeck.record import Settle


async def publish(desk: Desk, worker: str, **fields: Any) -> None:
    """Registers a worker as its heart does."""
    user, host = whoami()
    known = {"host": host, "user": user, "pid": 7, "state": "running", "queues": "q",
             "concurrency": 4, "running": 0, "held": "", "lease": 15_000}  # fmt: skip
    flat = [part for pair in (known | fields).items() for part in pair]
    await desk.deck.execute(verbs.register(desk.deck.shared, worker, True, flat))


async def age(desk: Desk, worker: str, seconds: float) -> None:
    """Makes a worker's last beat older."""
    key = desk.deck.shared.worker(worker)
    beat = int(await desk.call("HGET", key, "beat")) - int(seconds * 1000)
    await desk.call("HSET", key, "beat", beat)
    await desk.call("ZADD", desk.deck.shared.workers, beat, worker)


async def write(desk: Desk, job_id: str, *lines: str, level: str = "info") -> None:
    """Appends lines to a job's log as its worker does."""
    flat = [part for line in lines for part in (level, 0, line)]
    part = msgspec.msgpack.encode([job_id, 1, flat])
    await desk.deck.execute(verbs.append_logs(desk.deck.keys("q"), [part]))


async def test_workers_are_shown_with_what_they_hold(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        started = int(time.time() * 1000) - 60_000
        await publish(desk, "w1", queues="a,b", running=2, held="a/one b/two", memory=5_000_000,
                      done=9, started=started)  # fmt: skip
        await publish(desk, "w2", host="elsewhere", state="quiet")
        first, second = sorted(await desk.operator.workers(), key=lambda row: row.id)
        assert first.queues == ("a", "b")
        assert first.holds == (JobRef("one", "a"), JobRef("two", "b"))
        assert (first.concurrency, first.running, first.done) == (4, 2, 9)
        assert first.memory_bytes == 5_000_000
        assert first.started_at is not None
        assert first.local
        assert first.state == "running"
        assert first.beat_age_s is not None
        assert (second.local, second.state, second.memory_bytes) == (False, "quiet", None)


async def test_a_worker_is_lost_after_two_of_its_leases(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await publish(desk, "short", lease=1000, held="q/x")
        await publish(desk, "long", lease=60_000)
        await publish(desk, "busy", state="stuck")
        for worker in ("short", "long"):
            await age(desk, worker, 20)
        found = {row.id: row for row in await desk.operator.workers()}
        assert {name: row.state for name, row in found.items()} == {
            "short": "lost",
            "long": "running",
            "busy": "stuck",
        }
        assert found["short"].holds == (JobRef("x", "q"),)
        actions = desk.operator.actions(found["short"])
        assert [verb for verb, each in actions.items() if each.allowed] == ["recover"]
        verdict = (await desk.operator.snapshot()).verdict
        assert isinstance(verdict, Verdict)
        assert verdict.word == "DEGRADED"
        assert any("lost 20s ago, held 1 job" in cause for cause in verdict.causes)


async def test_a_broken_worker_record_is_still_a_row(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await publish(desk, "w1", pid="x", queues="", held="a b/ /c \xff", state="odd", lease="-")
        await desk.call("ZADD", desk.deck.shared.workers, "1", "ghost")
        found = {row.id: row for row in await desk.operator.workers()}
        assert found["w1"].pid is None
        assert found["w1"].holds == ()
        assert found["w1"].state == "running"
        assert found["ghost"].beat_age_s is None


async def test_commands_reach_a_worker_in_order(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await publish(desk, "w1")
        assert (await desk.operator.quiet("w1")).changed == 1
        await desk.operator.unquiet("w1")
        await desk.operator.stop("w1")
        key = desk.deck.shared.control("w1")
        assert await desk.call("LRANGE", key, 0, -1) == [b"quiet", b"unquiet", b"stop"]
        assert await desk.call("TTL", key) > 0
        with pytest.raises(Denied, match="no worker 'w2'"):
            await desk.operator.quiet("w2")


async def test_a_log_is_read_in_pieces_from_its_oldest_line(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        (run,) = await desk.claim(1)
        await write(desk, run.id, *(f"line {n}" for n in range(25)))
        await write(desk, run.id, "\x1b[31m<b>odd</b>", level="error")
        ref = JobRef(run.id, "q")
        texts, cursor = [], ""
        while True:
            chunk = await desk.operator.log(ref, cursor, limit=10)
            texts += [line.text for line in chunk.lines]
            assert chunk.total == 26
            if not chunk.lines:
                break
            cursor = chunk.cursor
        assert texts == [*(f"line {n}" for n in range(25)), "\x1b[31m<b>odd</b>"]
        assert not chunk.ended
        assert chunk.cursor == cursor
        whole = await desk.operator.log(ref)
        places = [tuple(int(part) for part in each.cursor.split("-")) for each in whole.lines]
        assert places == sorted(places)
        assert (whole.lines[-1].level, whole.lines[-1].attempt) == ("error", 1)


async def test_following_wakes_with_the_first_new_line(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        (run,) = await desk.claim(1)
        ref = JobRef(run.id, "q")
        empty = await desk.operator.log(ref, follow=True)
        assert (empty.lines, empty.ended) == ((), False)
        waiting = asyncio.create_task(desk.operator.log(ref, follow=True))
        await asyncio.sleep(0.1)
        await write(desk, run.id, "now")
        chunk = await waiting
        assert [line.text for line in chunk.lines] == ["now"]
        # Who gives up waiting leaves nothing that a later read could get.
        waiting = asyncio.create_task(desk.operator.log(ref, chunk.cursor, follow=True))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        both = await asyncio.gather(
            desk.operator.log(ref, chunk.cursor, follow=True),
            desk.operator.log(ref, chunk.cursor, follow=True),
        )
        assert [each.lines for each in both] == [(), ()]


async def test_what_of_a_log_was_trimmed_is_counted(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        (run,) = await desk.claim(1)
        ref = JobRef(run.id, "q")
        assert (await desk.operator.log(ref)).trimmed is None
        trail, cursor, unread = LogTrail(), "", []
        for part in range(5):
            await write(desk, run.id, *(f"{part} {n}" for n in range(400)))
            chunk = await desk.operator.log(ref, cursor, limit=100)
            cursor = chunk.cursor
            unread.append(trail.missed(chunk))
        # 2,000 lines are kept, of which 500 are read; then 2,400 and 1,000 more come.
        assert (chunk.total, chunk.trimmed, unread) == (2000, 0, [0] * 5)
        for lines, gone in ((2400, 1900), (1000, 900)):
            for first in range(0, lines, 200):
                await write(desk, run.id, *(f"more {first + n}" for n in range(200)))
            chunk = await desk.operator.log(ref, cursor, limit=100)
            cursor = chunk.cursor
            assert (chunk.total, trail.missed(chunk)) == (2000, gone)
        assert chunk.trimmed == 3400
        assert chunk.lines[0].text == "more 1400"


async def test_the_log_of_a_finished_job_ends(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        (run,) = await desk.claim(1)
        await write(desk, run.id, "one", "two")
        await desk.settle([Settle(run.id, run.fence, "c", "job")])
        ref = JobRef(run.id, "q")
        first = await desk.operator.log(ref, limit=2)
        assert not first.ended
        assert (await desk.operator.log(ref, first.cursor, follow=True)).ended
        assert (await desk.operator.log(JobRef("nothing", "q"), follow=True)).ended


@asynccontextmanager
async def working(deck: qdeck.Deck) -> AsyncIterator[None]:
    worker = deck.worker(["real"], concurrency=4)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await worker.stop()
        await running


async def test_a_real_worker_its_jobs_and_their_logs_are_seen(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        release = asyncio.Event()

        @desk.deck.task(queue="real")
        async def slow(ctx: qdeck.Context, n: int) -> int:
            ctx.log.info("begin %d", n)
            ctx.progress(50, "half")
            await release.wait()
            return n

        @desk.deck.task(queue="real", max_retries=0)
        async def bad() -> None:
            raise ValueError("bad luck")

        job, failed = await slow.enqueue(3), await bad.enqueue()
        async with working(desk.deck):
            with pytest.raises(qdeck.JobDead):
                await desk.deck.result(failed.id, timeout=30)
            ref = JobRef(job.id, "real")
            chunk = await desk.operator.log(ref, follow=True)
            while not chunk.lines:
                chunk = await desk.operator.log(ref, follow=True)
            assert chunk.lines[0].text == "begin 3"
            page = await desk.operator.running(Window())
            while not page.rows or page.rows[0].progress is None:
                page = await desk.operator.running(Window())
            assert (page.rows[0].progress, page.rows[0].message) == (50.0, "half")
            rows = await desk.operator.workers()
            while not rows or not rows[0].holds:
                rows = await desk.operator.workers()
            assert (rows[0].holds, rows[0].queues, rows[0].local) == ((ref,), ("real",), True)
            verdict = (await desk.operator.snapshot()).verdict
            assert isinstance(verdict, Verdict)
            assert verdict.word == "WATCH"
            assert (await desk.operator.cancel([ref])).text == "asked 1 job to stop"
            with pytest.raises(qdeck.JobCancelled):
                await desk.deck.result(job.id, timeout=30)
        (group,) = (await desk.operator.errors()).groups
        assert (group.task, group.type, group.message) == ("bad", "ValueError", "bad luck")
        detail = await desk.operator.job(JobRef(failed.id, "real"))
        assert detail is not None
        assert detail.error is not None
        assert 'raise ValueError("bad luck")' in detail.error.traceback
