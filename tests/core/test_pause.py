"""A pause of a task that fills its queue: what is ready and what is held change places at once."""

from __future__ import annotations

from tests.core.desk import Desk
from tests.servers import Server

from qdeck import queue as verbs
from qdeck.admin import Selection
from qdeck.job import new_id
from qdeck.record import Body, encode_body

MANY = 700


async def fill(desk: Desk, count: int = MANY, task: str = "big") -> list[str]:
    """Enqueue many jobs of one task; return their ids."""
    keys = desk.deck.keys("q")
    await desk.call("SADD", desk.deck.shared.queues, "q")
    ids = [new_id() for _ in range(count)]
    body = encode_body(Body(task, '{"n":1}'))
    for at in range(0, count, verbs.CHUNK):
        parts = [part for job_id in ids[at : at + verbs.CHUNK] for part in (job_id, body)]
        await desk.deck.execute(verbs.enqueue(keys, 0, parts))
    return ids


async def places(desk: Desk, task: str = "big") -> tuple[int, int, int]:
    """Return how many jobs are ready, held, and held as the queue counts them."""
    keys = desk.deck.keys("q")
    held = await desk.call("HGET", keys.meta, "held")
    return (
        await desk.call("ZCARD", keys.ready),
        await desk.call("ZCARD", keys.held(task)),
        int(held or 0),
    )


async def claim_all(desk: Desk) -> list[str]:
    """Claim until nothing comes, and make room as a worker does; return the ids in order."""
    found: list[str] = []
    while True:
        claimed = [job.id for job in await desk.claim(verbs.BATCH)]
        found += claimed
        if not claimed and (await desk.deck.execute(verbs.park(desk.deck.keys("q"))))[1] == 0:
            return found


async def test_others_start_at_once_when_the_task_that_fills_a_queue_is_paused(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        jobs = await fill(desk)
        (urgent,) = await desk.put(1, task="other", priority="critical")
        last = await desk.put(3, task="other")
        await desk.operator.pause("q", "big")
        assert await places(desk) == (4, MANY, MANY)
        assert [job.id for job in await desk.claim(10)] == [urgent, *last]
        assert await desk.call("EXISTS", desk.deck.keys("q").wake) == 0
        # What comes meanwhile is held behind them, and they come back before all others.
        more = await fill(desk, 5)
        (behind,) = await desk.put(1, task="other")
        await desk.operator.resume("q", "big")
        assert await places(desk) == (MANY + 6, 0, 0)
        assert await claim_all(desk) == [*jobs, *more, behind]


async def test_a_task_among_others_is_held_in_steps(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await fill(desk)
        middle = await desk.put(2, task="other")
        await fill(desk)
        await desk.operator.pause("q", "big")
        assert await places(desk) == (2 * MANY + 2, 0, 0)
        assert await claim_all(desk) == middle
        assert await places(desk) == (0, 2 * MANY, 2 * MANY)


async def test_counts_that_are_wrong_hold_no_job_of_another_task(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await fill(desk)
        others = await fill(desk, 10, "other")
        keys = desk.deck.keys("q")
        for wrong in (10, -20, 30, 5000):
            await desk.call("HINCRBY", keys.tasks, "pending:big", wrong)
            await desk.operator.pause("q", "big")
            assert await desk.call("ZMSCORE", keys.held("big"), *others) == [None] * 10
            await desk.operator.resume("q", "big")
            while (await places(desk))[1]:
                await desk.tend()
        assert await places(desk) == (MANY + 10, 0, 0)


async def test_what_was_held_before_keeps_its_place(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        first = await fill(desk, 20)
        await desk.operator.pause("q", "big")
        assert await claim_all(desk) == []
        await desk.operator.resume("q", "big")
        # They go back in steps, which nobody has begun.
        assert await places(desk) == (0, 20, 20)
        second = await fill(desk)
        await desk.operator.pause("q", "big")
        assert await places(desk) == (0, MANY + 20, MANY + 20)
        await desk.operator.resume("q", "big")
        assert await claim_all(desk) == first + second


async def test_jobs_that_are_held_for_a_key_come_back_in_steps(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await fill(desk)
        await desk.operator.pause("q", "big")
        assert await places(desk) == (0, MANY, MANY)
        await desk.call("HSET", desk.deck.keys("q").meta, "keyed", "\nbig")
        await desk.operator.resume("q", "big")
        assert await places(desk) == (0, MANY, MANY)
        while (await places(desk))[1]:
            await desk.tend()
        assert await places(desk) == (MANY, 0, 0)


async def test_the_first_job_of_a_canary_is_not_held(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        ids = await desk.put(3)
        await desk.fail(3)
        await desk.operator.pause("q", "job")
        draft = await desk.operator.retry(Selection("dead"))
        operation = await desk.operator.start(draft, canary=True)
        operation = await desk.operator.advance(operation.id, operation.queue)
        assert operation.done == 1
        assert await desk.deck.execute(verbs.park(desk.deck.keys("q"))) == [0, 0]
        assert [job.id for job in await desk.claim(1)] == ids[:1]
