"""Clearing a queue with a copy, and bringing the same jobs back in the same order."""

from __future__ import annotations

from typing import Any

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck import ledger
from qdeck.admin import Denied, JobRef, QueueRow, Selection, Window
from qdeck.errors import JobCancelled
from qdeck.job import State
from qdeck.operator import Operator


async def ids(desk: Desk, state: Any = "pending", queue: str = "q") -> list[str]:
    """Return the ids of a state in their order."""
    page = await desk.operator.jobs(queue, state, Window(0, 1000))
    return [row.ref.id for row in page.rows]


async def row_of(desk: Desk, queue: str = "q") -> QueueRow:
    """Return a queue as the snapshot has it."""
    snapshot = await desk.operator.snapshot()
    assert isinstance(snapshot.queues, tuple)
    return next(row for row in snapshot.queues if row.name == queue)


async def counts(desk: Desk, queue: str = "q") -> dict[str, int]:
    """Return the counts of tasks that are not 0."""
    flat = await desk.call("HGETALL", desk.deck.keys(queue).tasks)
    pairs = zip(flat[::2], flat[1::2], strict=True) if isinstance(flat, list) else flat.items()
    found = {key.decode(): int(value) for key, value in pairs}
    return {key: n for key, n in found.items() if n and not key.startswith("index:")}


async def copy_of(desk: Desk) -> str:
    """Return the id of the one copy."""
    (copy,) = await desk.operator.cleared()
    return copy.id


async def test_a_cleared_queue_is_empty_and_comes_back_in_the_same_order(
    deck_url: str, prefix: str
) -> None:
    async with Desk(deck_url, prefix) as desk:
        await desk.put(3)
        await desk.put(2, priority="high")
        await desk.put(2, task="other", priority=0)
        before, counted = await ids(desk), await counts(desk)
        outcome = await desk.operator.clear("q")
        assert outcome.changed == 7
        assert outcome.text == "cleared 7 pending jobs of q; kept for 24 h"
        assert (await row_of(desk)).pending == 0
        assert await counts(desk) == {}
        assert await desk.claim(5) == []
        (copy,) = await desk.operator.cleared()
        assert (copy.queue, copy.state, copy.count, copy.actor) == ("q", "pending", 7, "ana@here")
        assert copy.at is not None
        assert copy.until is not None
        assert (copy.until - copy.at).total_seconds() == 86400
        restored = await desk.operator.restore(copy.id)
        assert (restored.changed, restored.text) == (7, "restored 7 pending jobs of q")
        assert await ids(desk) == before
        assert await counts(desk) == counted
        assert await desk.operator.cleared() == ()
        assert [job.id for job in await desk.claim(9)] == before


@pytest.mark.parametrize("state", ["scheduled", "retrying", "completed", "cancelled", "dead"])
async def test_every_state_but_running_can_be_cleared(
    valkey: Server, prefix: str, state: Any
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        if state == "scheduled":
            await desk.put(4, delay=3600)
        else:
            made = await desk.put(4)
            if state == "completed":
                await desk.complete(4)
            elif state == "dead":
                await desk.fail(4)
            elif state == "cancelled":
                await desk.operator.cancel([JobRef(each, "q") for each in made])
            else:
                await desk.fail(4, final=False, delay_ms=3_600_000)
        before, counted = await ids(desk, state), await counts(desk)
        groups = await desk.operator.errors()
        assert len(before) == 4
        assert (await desk.operator.clear("q", state)).changed == 4
        assert await ids(desk, state) == []
        assert (await desk.operator.errors()).groups == ()
        await desk.operator.restore(await copy_of(desk))
        assert await ids(desk, state) == before
        assert await counts(desk) == counted
        assert await desk.operator.errors() == groups


async def test_running_jobs_are_not_cleared(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.claim(1)
        with pytest.raises(Denied, match="running"):
            await desk.operator.clear("q", "running")
        assert (await desk.operator.clear("q")).changed == 0
        assert (await row_of(desk)).running == 1
        assert await desk.operator.cleared() == ()


async def test_a_cleared_job_reads_as_cancelled_with_that_reason(
    deck_url: str, prefix: str
) -> None:
    async with Desk(deck_url, prefix) as desk:
        (job_id,) = await desk.put(1)
        await desk.operator.clear("q")
        job = await desk.deck.job(job_id)
        assert job is not None
        assert (job.state, job.message) == (State.CANCELLED, "cleared")
        assert job.finished_at is not None
        with pytest.raises(JobCancelled, match="cleared"):
            await desk.deck.result(job_id, timeout=5)
        ref = await desk.operator.find(job_id)
        assert ref is not None
        detail = await desk.operator.job(ref)
        assert detail is not None
        assert (detail.row.state, detail.reason, detail.payload) == (
            "cancelled",
            "cleared",
            '{"n":0}',
        )
        assert await desk.deck.cancel(job_id) == "finished"
        await desk.operator.restore(await copy_of(desk))
        job = await desk.deck.job(job_id)
        assert job is not None
        assert job.state is State.PENDING


async def test_held_jobs_are_cleared_and_held_again(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2, task="other")
        await desk.put(1)
        await desk.operator.pause("q", "job")
        await desk.put(3)
        await desk.claim(3)
        before = await row_of(desk)
        assert before.held is not None
        assert (await desk.operator.clear("q")).changed == before.pending
        assert (await row_of(desk)).held == 0
        await desk.operator.restore(await copy_of(desk))
        after = await row_of(desk)
        assert (after.pending, after.held) == (before.pending, before.held)


async def test_held_jobs_of_a_task_that_was_resumed_meanwhile_come_out(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.operator.pause("q", "job")
        await desk.put(3)
        await desk.operator.clear("q")
        await desk.operator.resume("q", "job")
        await desk.tend()
        await desk.operator.restore(await copy_of(desk))
        await desk.tend()
        assert len(await desk.claim(9)) == 4


@pytest.mark.parametrize("newer", [3, 450])
async def test_jobs_that_came_meanwhile_stay_behind_the_restored_ones(
    valkey: Server, prefix: str, newer: int
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(500)
        before = await ids(desk)
        await desk.operator.clear("q")
        await desk.put(newer, task="later")
        later = await ids(desk)
        await desk.operator.restore(await copy_of(desk))
        assert await ids(desk) == before + later
        assert await counts(desk) == {"pending:job": 500, "pending:later": newer}
        assert await desk.operator.cleared() == ()


async def test_a_restore_that_stopped_half_way_is_carried_on(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(300)
        before = await ids(desk)
        await desk.operator.clear("q")
        await desk.put(250)
        later = await ids(desk)
        copy, keys = await copy_of(desk), desk.deck.keys("q")
        command = ledger.restore(keys, keys.ready, copy, ledger.Act("bob"))
        step = ledger.read_restored(await desk.deck.execute(command))
        assert (step.moved, step.left, step.entry) == (100, 200, "")
        assert await ids(desk) == before[:100] + later
        await desk.operator.restore(copy)
        assert await ids(desk) == before + later
        assert await counts(desk) == {"pending:job": 550}


async def test_dead_jobs_that_died_meanwhile_keep_their_groups(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(250)
        await desk.fail(250)
        await desk.operator.clear("q", "dead")
        await desk.put(231)
        await desk.fail(230)
        await desk.fail(1, fingerprint="f2")
        await desk.operator.restore(await copy_of(desk))
        found = await desk.operator.errors()
        assert [group.count for group in found.groups] == [480, 1]
        assert len(await ids(desk, "dead")) == 481
        draft = await desk.operator.retry(Selection("dead"))
        assert (await desk.finish(await desk.operator.start(draft))).ok == 481


async def test_a_unique_key_of_a_cleared_job_is_free(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        first = await desk.deck.enqueue("job", {"n": 1}, queue="q", unique="k")
        await desk.operator.clear("q")
        second = await desk.deck.enqueue("job", {"n": 1}, queue="q", unique="k")
        assert second.created
        assert second.id != first.id
        await desk.operator.restore(await copy_of(desk))
        third = await desk.deck.enqueue("job", {"n": 1}, queue="q", unique="k")
        assert (third.created, third.id) == (False, second.id)


async def test_a_unique_key_is_held_again_after_a_restore(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        first = await desk.deck.enqueue("job", {"n": 1}, queue="q", unique="k")
        await desk.operator.clear("q")
        await desk.operator.restore(await copy_of(desk))
        second = await desk.deck.enqueue("job", {"n": 1}, queue="q", unique="k")
        assert (second.created, second.id) == (False, first.id)


async def test_what_was_cleared_is_gone_once_its_time_is_over(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        keys = desk.deck.keys("q")
        before = set(await desk.call("KEYS", f"{{{prefix}:q}}*"))
        await desk.put(450, unique=False)
        await desk.deck.enqueue("job", {"n": 1}, queue="q", unique="k")
        await desk.operator.clear("q")
        copy = await copy_of(desk)
        assert await desk.deck.execute(ledger.sweep(keys)) == [0, 0]
        await desk.call("ZADD", keys.cleared, 1, copy)
        swept = [await desk.deck.execute(ledger.sweep(keys)) for _ in range(6)]
        assert swept == [[100, 0]] * 4 + [[51, 1], [0, 0]]
        left = set(await desk.call("KEYS", f"{{{prefix}:q}}*")) - before
        names = {key.decode().partition("}:")[2].partition(":")[0] for key in left}
        assert names <= {"meta", "tasks", "totals", "audit", "m", "h"}
        with pytest.raises(Denied, match="no copy"):
            await desk.operator.restore(copy)


async def test_a_worker_sweeps_what_was_cleared_long_ago(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        (job_id,) = await desk.put(1)
        await desk.operator.clear("q")
        await desk.call("ZADD", desk.deck.keys("q").cleared, 1, await copy_of(desk))
        await desk.deck.worker("q", burst=True).run()
        assert await desk.deck.job(job_id) is None


async def test_a_dry_run_clears_and_restores_nothing(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(3)
        assert (await desk.operator.clear("q", dry_run=True)).changed == 3
        assert len(await ids(desk)) == 3
        await desk.operator.clear("q")
        assert (await desk.operator.restore(await copy_of(desk), dry_run=True)).changed == 3
        assert await ids(desk) == []
        door: Operator = desk.deck.admin(read_only=True)
        for write in (door.clear("q"), door.restore(await copy_of(desk))):
            with pytest.raises(Denied, match="read-only"):
                await write
        await door.close()


async def test_a_queue_that_nobody_knows_is_not_cleared(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        with pytest.raises(Denied, match="no queue 'k'"):
            await desk.operator.clear("k")


async def test_the_hundredth_copy_is_the_last(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        for number in range(100):
            await desk.call("ZADD", desk.deck.keys("q").cleared, 9e15, f"old{number}")
        with pytest.raises(Denied, match="100 copies"):
            await desk.operator.clear("q")
        assert len(await ids(desk)) == 1
